"""The performance page: the standard's figures of the alarm system, each with what is recommended."""

import streamlit as st

from dashboard.payload_performance import MOST_OPERATORS, PERIODS, whole_number
from dashboard.shared import Shared
from dashboard.views.live import show_live


def performance_page(shared: Shared) -> None:
    """Mount the figures of the period and the number of operators in the address."""
    days = whole_number(st.query_params.get("days", ""), tuple(PERIODS), 1)
    operators = whole_number(st.query_params.get("operators", ""), range(1, MOST_OPERATORS + 1), 0)

    def choose(choice: object) -> None:
        if isinstance(choice, dict):
            st.query_params.from_dict({name: str(choice.get(name, "")) for name in ("days", "operators")})
            st.rerun()

    parameters = {"days": str(days), "operators": str(operators or "")}
    show_live(shared, "performance", "performance", parameters, {"choose": choose})
