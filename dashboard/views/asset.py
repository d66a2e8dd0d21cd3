"""The asset page: what its channels did and what the model expected, the score, the incidents and why."""

import time

import streamlit as st

from dashboard.fleet_stream import FleetStream
from dashboard.shared import Shared
from dashboard.views.live import show_live


def asset_page(shared: Shared) -> None:
    """Mount the charts of the asset in the address once; only new points travel, by the live route."""
    asset = st.query_params.get("asset") or worst_asset(shared)
    detector = st.query_params.get("detector", "")
    incident = st.query_params.get("incident", "")
    parameters = {"asset": asset, "detector": detector}

    def go_to(other: object) -> None:
        st.query_params.from_dict({"asset": str(other)})
        st.rerun()

    def choose(other: object) -> None:
        st.query_params.from_dict({"asset": asset, "detector": str(other)})
        st.rerun()

    handlers = {"open": go_to, "detector": choose}
    show_live(shared, "asset", "asset", parameters, handlers, {"incident": incident})


def worst_asset(shared: Shared) -> str:
    """The asset that stands first on the fleet page; empty while there is none."""
    fleet = FleetStream(shared.plant, shared.labels)
    fleet.step(time.time())
    whole = fleet.whole()
    first = next(iter(whole["order"]), None)
    return next((str(tile["asset"]) for tile in whole["tiles"] if tile["i"] == first), "")
