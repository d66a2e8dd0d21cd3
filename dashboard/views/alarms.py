"""The alarm page: the list as operators know it, and what may be done about an alarm."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.asks import Ask, read_ask
from dashboard.payload_alarms import permissions
from dashboard.shared import Shared
from dashboard.views.live import current_user, show_live
from monitor.errors import InvalidCommand, TocsinError

PROBLEM = "alarms_problem"


def alarms_page(shared: Shared, asset_page: StreamlitPage, similar_page: StreamlitPage) -> None:
    """Mount the list once; what is new comes by the live route, and what is asked goes through `publish`."""
    user = current_user(shared)
    may = permissions(user.role) if user is not None and user.role is not None else {}

    def act(wish: object) -> None:
        st.session_state[PROBLEM] = {"number": time.time_ns(), "text": publish_all(shared, wish)}
        st.rerun()

    def go_to(place: object) -> None:
        if isinstance(place, dict):
            st.switch_page(asset_page, query_params={name: str(value) for name, value in place.items() if value})

    def compare(incident: object) -> None:
        st.switch_page(similar_page, query_params={"incident": str(incident)})

    def given() -> dict[str, Any]:
        return {"may": may, "problem": st.session_state.get(PROBLEM)}

    show_live(shared, "alarms", "alarms", handlers={"act": act, "open": go_to, "similar": compare}, extra=given)


def publish_all(shared: Shared, wish: object) -> str:
    """Send a command for each alarm that was chosen, as the person who is logged in; returns what went wrong."""
    user = current_user(shared)
    if user is None:
        return "Log in again: this login is over."
    try:
        ask = read_ask(wish)
    except InvalidCommand as error:
        return f"Nothing was sent: {error}."
    done = 0
    try:
        for target in ask.targets:
            fields = {"detector": target.detector, "reason": ask.reason, "until": until(ask)}
            incident = {"incident_id": target.incident, "label": ask.label} if ask.about_incident else {}
            shared.commands.publish(user, ask.action, target.asset, **fields, **incident)
            done += 1
    except TocsinError as error:
        sent = f"{done} of {len(ask.targets)} were sent" if done else "Nothing was sent"
        return f"{sent}: {error}"
    return ""


def until(ask: Ask) -> datetime | None:
    """When a shelving ends: a time that a person gave, or so many minutes from now by the server's clock."""
    if ask.until:
        return datetime.fromtimestamp(ask.until, UTC)
    return datetime.now(UTC) + timedelta(minutes=ask.minutes) if ask.minutes else None
