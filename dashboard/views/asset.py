"""The asset page: what its channels did and what the model expected, the score, the incidents and why."""

import time

import streamlit as st

from dashboard.components import live_component
from dashboard.fleet import tiles
from dashboard.payload import SPARK_POINTS, Sent, asset_payload
from dashboard.views.shared import UPDATE_S, Shared, nothing

SENT = "asset_sent"


def asset_page(shared: Shared) -> None:
    """Mount the charts of the asset in the address once; then only new points travel, once a second."""
    asset = _chosen_asset(shared)
    if asset is None:
        _wait_for_assets(shared)
        return
    detector = _chosen_detector(shared, asset)
    st.session_state[SENT] = Sent()
    charts = live_component("asset")

    def live() -> None:
        sent: Sent = st.session_state[SENT]
        if detector is None and shared.plant.detectors_of(asset):
            st.rerun()
        data = asset_payload(shared.plant, shared.names, shared.feed.status, sent, asset, detector or "", time.time())
        key = f"charts/{asset}/{detector}"
        result = charts(key=key, data=data, on_open_change=nothing, on_resync_change=sent.forget)
        if result.open:
            _open(str(result.open))

    st.fragment(live, run_every=UPDATE_S)()


def _chosen_asset(shared: Shared) -> str | None:
    """The asset in the address, else the worst one; None while there is none."""
    if asset := st.query_params.get("asset"):
        return str(asset)
    plant = shared.plant
    ordered = tiles(plant.fleet(SPARK_POINTS), plant.incidents(), plant.newest_ns, time.time())
    return ordered[0].asset if ordered else None


def _open(asset: str) -> None:
    """Go to another asset: its name in the address, and the page from the top."""
    st.query_params["asset"] = asset
    st.rerun()


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

    def live() -> None:
        if shared.plant.windows:
            st.rerun()
        data = asset_payload(shared.plant, shared.names, shared.feed.status, Sent(), "", "", time.time())
        waiting(key="charts/none", data=data)

    st.fragment(live, run_every=UPDATE_S)()
