"""The asset page: what its channels did and what the model expected, the score, the incidents and why."""

import time

import streamlit as st

from dashboard.components import live_component
from dashboard.fleet import tiles
from dashboard.payload import SPARK_POINTS, Sent, asset_payload
from dashboard.views.shared import UPDATE_S, Shared

SENT = "asset_sent"
CHOICE = "asset_choice"


def asset_page(shared: Shared) -> None:
    """Mount the charts of the asset in the address once; then only new points travel, once a second."""
    asset = _chosen_asset(shared)
    if asset is None:
        _wait_for_assets(shared)
        return
    detector = _chosen_detector(shared, asset)
    st.session_state[SENT] = Sent()
    charts = live_component("asset")

    @st.fragment(run_every=UPDATE_S)
    def live() -> None:
        sent: Sent = st.session_state[SENT]
        if detector is None and shared.plant.detectors_of(asset):
            st.rerun()
        data = asset_payload(shared.plant, shared.names, shared.feed.status, sent, asset, detector or "", time.time())
        charts(key=f"charts/{asset}/{detector}", data=data, on_resync_change=sent.forget)

    live()


def _chosen_asset(shared: Shared) -> str | None:
    """The asset in the address, else the worst one; a list beside it changes the address."""
    ordered = tiles(shared.plant.fleet(SPARK_POINTS), shared.plant.incidents(), shared.plant.newest_ns)
    known = list(dict.fromkeys(tile.asset for tile in ordered))
    asset = st.query_params.get("asset") or (known[0] if known else None)
    if asset is None:
        return None
    options = known if asset in known else [asset, *known]
    st.session_state[CHOICE] = asset
    st.selectbox("Asset", options, key=CHOICE, on_change=_follow_choice, label_visibility="collapsed", width=320)
    return asset


def _follow_choice() -> None:
    st.query_params["asset"] = st.session_state[CHOICE]


def _chosen_detector(shared: Shared, asset: str) -> str | None:
    """The detector to show; a choice only where several watch the asset."""
    detectors = shared.plant.detectors_of(asset)
    if len(detectors) < 2:
        return detectors[0] if detectors else None
    chosen = st.segmented_control("Detector", detectors, default=detectors[0], key=f"detector/{asset}")
    return str(chosen or detectors[0])


def _wait_for_assets(shared: Shared) -> None:
    """Say what is waited for, and draw the page again once there is an asset."""
    waiting = live_component("asset")

    @st.fragment(run_every=UPDATE_S)
    def live() -> None:
        if shared.plant.windows:
            st.rerun()
        data = asset_payload(shared.plant, shared.names, shared.feed.status, Sent(), "", "", time.time())
        waiting(key="charts/none", data=data)

    live()
