"""The fleet page: a tile for each asset, worst first."""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.shared import Shared
from dashboard.views.live import show_live


def fleet_page(shared: Shared, asset_page: StreamlitPage) -> None:
    """Mount the tiles once; what is new comes by the live route."""

    def go_to(asset: object) -> None:
        st.switch_page(asset_page, query_params={"asset": str(asset)})

    show_live(shared, "fleet", "fleet", handlers={"open": go_to})
