"""The asset page: what its channels did and what the model expected, the score, the incidents and why."""

import time
from typing import Any

import streamlit as st

from dashboard.fleet_stream import FleetStream
from dashboard.shared import Shared
from dashboard.views.live import current_user, show_live
from monitor.commands import allowed
from monitor.errors import TocsinError

NOTICE = "asset_notice"


def asset_page(shared: Shared) -> None:
    """Mount the charts of the asset in the address once; only new points travel, by the live route."""
    asked = {name: st.query_params.get(name, "") for name in ("asset", "detector", "incident")}
    asset = asked["asset"] or worst_asset(shared)
    user = current_user(shared)
    may = [] if user is None or user.role is None or not allowed("acknowledge", user.role) else ["acknowledge"]

    def go_to(other: Any) -> None:
        st.query_params.from_dict({"asset": str(other)})
        st.rerun()

    def choose(other: Any) -> None:
        st.query_params.from_dict({"asset": asset, "detector": str(other)})
        st.rerun()

    def acknowledge(wish: Any) -> None:
        st.session_state[NOTICE] = ask_to_acknowledge(shared, asset, asked["detector"], wish)
        st.rerun()

    handlers = {"open": go_to, "detector": choose, "acknowledge": acknowledge}
    extra = {"incident": asked["incident"], "may": may}
    show_live(shared, "asset", "asset", asked | {"asset": asset}, handlers, lambda: extra | notice())


def notice() -> dict[str, str]:
    """Why the last command was not sent, if it was not."""
    return {"notice": st.session_state.get(NOTICE, "")}


def ask_to_acknowledge(shared: Shared, asset: str, detector: str, wish: Any) -> str:
    """Send the command that a button stands for, as the user of this session; returns why it could not be."""
    user = current_user(shared)
    incident = str(wish.get("incident", "")) if isinstance(wish, dict) else ""
    if user is None:
        return "Nobody is logged in any more."
    try:
        shared.commands.publish(user, "acknowledge", asset, detector=detector, incident_id=incident)
    except TocsinError as error:
        return str(error)
    return ""


def worst_asset(shared: Shared) -> str:
    """The asset that stands first on the fleet page; empty while there is none."""
    fleet = FleetStream(shared.plant, shared.labels)
    fleet.step(time.time())
    whole = fleet.whole()
    first = next(iter(whole["order"]), None)
    return next((str(tile["asset"]) for tile in whole["tiles"] if tile["i"] == first), "")
