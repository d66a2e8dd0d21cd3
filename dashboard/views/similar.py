"""The page of similar events: an incident beside those before that look like it to the model."""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.shared import Shared
from dashboard.views.live import show_live


def similar_page(shared: Shared, asset_page: StreamlitPage) -> None:
    """Mount the comparison for the incident in the address, else for the newest that can be compared."""

    def choose(incident: object) -> None:
        st.query_params.from_dict({"incident": str(incident)})
        st.rerun()

    def go_to(place: object) -> None:
        if isinstance(place, dict):
            st.switch_page(asset_page, query_params={name: str(value) for name, value in place.items() if value})

    parameters = {"incident": st.query_params.get("incident", "")}
    show_live(shared, "similar", "similar", parameters, {"choose": choose, "open": go_to})
