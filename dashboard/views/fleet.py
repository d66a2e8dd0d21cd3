"""The fleet page: a tile for each asset, worst first."""

import time

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.components import live_component
from dashboard.payload import Sent, fleet_payload
from dashboard.views.shared import UPDATE_S, Shared, nothing

KEY = "fleet"
SENT = "fleet_sent"


def fleet_page(shared: Shared, asset_page: StreamlitPage) -> None:
    """Mount the tiles once; then only what is new travels, once a second."""
    st.session_state[SENT] = Sent()
    tiles = live_component("fleet")

    def live() -> None:
        sent: Sent = st.session_state[SENT]
        data = fleet_payload(shared.plant, shared.feed.status, sent, time.time())
        result = tiles(key=KEY, data=data, on_open_change=nothing, on_resync_change=sent.forget)
        if result.open:
            st.switch_page(asset_page, query_params={"asset": str(result.open)})

    st.fragment(live, run_every=UPDATE_S)()
