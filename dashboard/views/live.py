"""How a page shows something live: who looks at it, a component, and a ticket with which that asks for pictures."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from dashboard.access import User, local_user, user_of
from dashboard.components import live_component
from dashboard.shared import Shared

NO_LOGIN = "no login: everyone at this machine may do everything"


def current_user(shared: Shared) -> User | None:
    """Who looks at this page; None where nobody has logged in. To be called by script code only."""
    if not shared.login:
        return local_user()
    return user_of(st.user.to_dict(), shared.config.dashboard, time.time())


def show_live(
    shared: Shared,
    component: str,
    stream: str,
    parameters: Mapping[str, str] | None = None,
    handlers: Mapping[str, Callable[[Any], None]] | None = None,
    extra: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Mount `static/<component>.js` once; it is then fed by the live route and asks for a new ticket in time.

    `handlers` are called with what the component says by `trigger(name, value)`, as script code: what comes from a
    browser is a wish of somebody whose role has to be checked. What `extra` returns goes to the component too.
    """
    mounted = live_component(component)
    address = f"live/{stream}?{urlencode({name: value for name, value in (parameters or {}).items() if value})}"
    callbacks = {f"on_{name}_change": nothing for name in ("renew", "log_out", *(handlers or {}))}

    user = current_user(shared)
    if user is None or user.role is None:
        st.rerun()
        return
    data = {
        "address": address,
        "ticket": shared.tickets.issue(user.name, user.role, time.time()),
        "lasts_s": shared.tickets.lasts_s,
        "user": user.name,
        "role": user.role,
        "login": user.login,
        **extra(),
    }
    # Not a fragment: a page that finds its server restarted would ask that for a fragment that it does not know.
    result = mounted(key=f"{component}/{address}", data=data, **callbacks)
    if result["log_out"]:
        st.logout()
    for name, handle in (handlers or {}).items():
        if (said := result[name]) is not None:
            handle(said)


def nothing() -> None:
    """Streamlit names a component's events by their callbacks; those with this one are read from the result."""
