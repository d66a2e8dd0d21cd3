"""Incident events by hand, as the daemon's alarms tell them."""

from datetime import timedelta
from typing import Any

from monitor.events import Contribution, IncidentEvent, alarm_id, incident_id, to_datetime

T0 = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, ns
SECOND = 1_000_000_000


def event(
    asset: str = "pump-1",
    at_s: float = 0.0,
    transition: str = "raised",
    state: str = "unacknowledged",
    previous: str = "normal",
    start_s: float | None = None,
    seq: int = 1,
    **facts: Any,
) -> IncidentEvent:
    """One transition of an alarm, `at_s` after the start of time; its incident began at `start_s`."""
    at = T0 + round(at_s * SECOND)
    start = at if start_s is None else T0 + round(start_s * SECOND)
    facts.setdefault("active", state in ("unacknowledged", "acknowledged"))
    facts.setdefault("labels", {"line": "2", "site": "north"})
    identity = incident_id("tocsin.readings", 0, asset, "pumps", start)
    return IncidentEvent(
        incident_id=identity, occurrence_id=identity, alarm_id=alarm_id("tocsin.readings", 0, asset, "pumps"),
        seq=seq, transition=transition, state=state, previous_state=previous, asset=asset, detector="pumps",
        model_version="7", topic="tocsin.readings", partition=0, start=to_datetime(start),
        end=None if facts["active"] else to_datetime(at), detected=to_datetime(at), score=2.4, limit=0.6,
        p_value=1e-7, peak=2.4, peak_time=to_datetime(at), peak_p_value=1e-8,
        channels=(Contribution("vibration", 0.7, 4.81, 2.94, "mm/s"), Contribution("pressure", 0.3)), **facts,
    )  # fmt: skip


def acknowledged(asset: str = "pump-1", at_s: float = 60.0, start_s: float = 0.0, **facts: Any) -> IncidentEvent:
    """A person has acknowledged an incident that stands."""
    return event(
        asset, at_s, "acknowledged", "acknowledged", "unacknowledged", start_s, 2, actor="kim",
        decided=to_datetime(T0) + timedelta(seconds=at_s), **facts,
    )  # fmt: skip


def cleared(asset: str = "pump-1", at_s: float = 120.0, start_s: float = 0.0, **facts: Any) -> IncidentEvent:
    """The condition of an incident is over."""
    facts = {"seq": 3, "state": "normal", "previous": "acknowledged"} | facts
    return event(asset, at_s, "cleared", start_s=start_s, **facts)
