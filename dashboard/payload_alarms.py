"""What the alarm page shows, as JSON-able rows: the list as operators know it, and what is hidden from it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.audit import Asked, audit_rows, last_asked, said_true_or_false, who_acknowledged, who_hid
from dashboard.jsonable import link, number, seconds
from monitor.commands import ALLOWED, NEEDS_REASON, Command, Role
from monitor.events import ANNUNCIATED, WAITING, GroupEvent, IncidentEvent, SensorEvent

MOST_ROWS = 1000
PAST_ROWS = 200
CHANNELS_SHOWN = 3

WORDS = {
    "unacknowledged": "Unacknowledged",
    "acknowledged": "Acknowledged",
    "returned": "Returned",
    "latched": "Latched",
    "latched_acknowledged": "Latched, acknowledged",
    "shelved": "Shelved",
    "suppressed": "Suppressed",
    "out_of_service": "Out of service",
    "normal": "Normal",
}
# What waits for an acknowledgement comes first, and of that what is still wrong.
ORDER = ("unacknowledged", "returned", "latched", "acknowledged", "latched_acknowledged")
PRIORITIES = ("high", "medium", "low")
SENSOR_WORDS = {
    "stale": "Stale",
    "dead": "Dead",
    "flat": "Flat",
    "stuck": "Stuck",
    "out_of_range": "Out of range",
    "dropping_out": "Dropping out",
    "clock": "Clock wrong",
    "too_little": "Too little left to watch",
    "ok": "Healthy",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the topics said last: the newest event of each alarm, incident, sensor and group, and the audit trail.

    `decisions` are events with an actor or a command, oldest first, as `commands` are.
    """

    alarms: Sequence[IncidentEvent] = ()
    incidents: Sequence[IncidentEvent] = ()
    sensors: Sequence[SensorEvent] = ()
    groups: Sequence[GroupEvent] = ()
    decisions: Sequence[IncidentEvent] = ()
    commands: Sequence[Command] = ()


def alarm_sections(facts: Facts, now_s: float) -> dict[str, Any]:
    """All sections of the page that are the same for every viewer: lists of rows, and the audit trail."""
    asked = last_asked(facts.commands, facts.decisions, now_s)
    acknowledged = who_acknowledged(facts.decisions)
    labels = said_true_or_false(facts.decisions)
    in_groups = _members(facts.groups)
    hid = who_hid(facts.decisions)
    now = {event.alarm_id: event.state for event in facts.alarms}

    def rows(events: Iterable[IncidentEvent]) -> list[dict[str, Any]]:
        return [alarm_row(event, in_groups, acknowledged, labels, asked) for event in events]

    def hidden(event: IncidentEvent) -> dict[str, Any]:
        made = alarm_row(event, in_groups, acknowledged, labels, asked)
        return made | decided_by(hid.get(event.alarm_id, event))

    ended = sorted((e for e in facts.incidents if e.end is not None), key=lambda e: e.start, reverse=True)
    newest = {event.alarm_id: event.incident_id for event in reversed(ended)}
    of_incidents = {key: each for key, each in asked.items() if key[2]}

    def ended_row(event: IncidentEvent) -> dict[str, Any]:
        state = now.get(event.alarm_id, event.state)
        is_newest = newest[event.alarm_id] == event.incident_id
        told = asked if is_newest else of_incidents  # what is asked of an alarm stands at its newest incident
        return alarm_row(event, in_groups, acknowledged, labels, told) | {
            "id": incident_of(event),
            "state": state,
            "word": WORDS.get(state, state),
            "waits": False,
        }

    by_state: dict[str, list[IncidentEvent]] = {"shelved": [], "suppressed": [], "out_of_service": []}
    for event in facts.alarms:
        if event.state in by_state:
            by_state[event.state].append(event)
    ringing = sorted((e for e in facts.alarms if e.state in ANNUNCIATED), key=first_first)
    return {
        "alarms": rows(ringing[:MOST_ROWS]),
        "left_out": max(len(ringing) - MOST_ROWS, 0),
        "shelved": sorted(map(hidden, by_state["shelved"]), key=_comes_back)[:MOST_ROWS],
        "suppressed": [hidden(e) for e in sorted(by_state["suppressed"], key=first_first)[:MOST_ROWS]],
        "out_of_service": [hidden(e) for e in sorted(by_state["out_of_service"], key=first_first)[:MOST_ROWS]],
        "past": [ended_row(e) for e in ended[:PAST_ROWS]],
        "sensors": sensor_rows(facts.sensors),
        "groups": group_rows(facts.groups),
        "audit": audit_rows(facts.commands, facts.decisions, now_s)[:MOST_ROWS],
    }


def first_first(event: IncidentEvent) -> tuple[int, int, float, str, str]:
    """Sort key of the list: what waits for an acknowledgement, then by priority, then the newest."""
    rank = ORDER.index(event.state) if event.state in ORDER else len(ORDER)
    return (rank, PRIORITIES.index(event.priority), -event.start.timestamp(), event.asset, event.detector)


def alarm_row(
    event: IncidentEvent,
    in_groups: Mapping[str, dict[str, Any]],
    acknowledged: Mapping[str, tuple[str, float]],
    labels: Mapping[str, str],
    asked: Mapping[tuple[str, str, str], Asked],
) -> dict[str, Any]:
    """One alarm, or one incident of the past; times in s, the peak in times of its limit.

    An alarm that is hidden and quiet has no incident, and then no beginning and no peak.
    """
    incident = incident_of(event)
    by, at_s = acknowledged.get(incident, ("", None))
    keys = [(event.asset, detector, about) for detector in (event.detector, "") for about in (incident, "")]
    answer = max((asked[key] for key in keys if key in asked), key=lambda each: each.at_s, default=None)
    return {
        "id": event.alarm_id or event.incident_id,
        "incident": incident,
        "state": event.state,
        "word": WORDS.get(event.state, event.state),
        "active": event.active,
        "waits": event.state in WAITING,
        "priority": event.priority,
        "asset": event.asset,
        "detector": event.detector,
        "site": event.labels.get("site", ""),
        "channels": [{"name": c.channel, "share": number(c.share)} for c in event.channels[:CHANNELS_SHOWN]],
        "since": seconds(event.start) if incident else None,
        "end": seconds(event.end),
        "peak": number(event.peak / event.limit) if incident and event.limit > 0 else None,
        "peak_time": seconds(event.peak_time),
        "model_version": event.model_version,
        "group": in_groups.get(incident),
        "acknowledged_by": by,
        "acknowledged_at": at_s,
        "label": labels.get(incident, event.label),
        "action": event.action,
        "runbook": link(event.runbook),
        "sensors": len(event.sensors),
        "similar": bool(event.latent),
        "asked": None if answer is None else answer.as_json(),
    }


def incident_of(event: IncidentEvent) -> str:
    """The incident in view; empty where there is none. Events from before alarms had ids are of incidents."""
    return event.occurrence_id if event.alarm_id else event.incident_id


def decided_by(event: IncidentEvent) -> dict[str, Any]:
    """Who or what hid an alarm, why, and until when."""
    return {
        "actor": event.actor,
        "reason": event.reason,
        "decided": seconds(event.decided or event.detected),
        "until": seconds(event.until),
    }


def sensor_rows(sensors: Iterable[SensorEvent]) -> list[dict[str, Any]]:
    """Sensors that are not to be believed now, newest first."""
    faulty = sorted((s for s in sensors if s.verdict != "ok"), key=lambda s: s.since, reverse=True)
    return [
        {
            "id": s.sensor_id,
            "asset": s.asset,
            "detector": s.detector,
            "site": s.labels.get("site", ""),
            "channel": s.channel,
            "verdict": s.verdict,
            "word": SENSOR_WORDS.get(s.verdict, s.verdict),
            "since": seconds(s.since),
            "detail": s.detail,
        }
        for s in faulty[:MOST_ROWS]
    ]


def group_rows(groups: Iterable[GroupEvent]) -> list[dict[str, Any]]:
    """Groups of incidents that rang together, open ones first, then the newest; the origin leads its members."""
    ordered = sorted(groups, key=lambda g: (g.transition == "closed", -g.start.timestamp()))
    return [
        {
            "id": g.group_id,
            "open": g.transition != "closed",
            "shared": ", ".join(f"{name} {value}" for name, value in g.shared.items()),
            "priority": g.priority,
            "start": seconds(g.start),
            "end": seconds(g.end),
            "members": [
                {
                    "incident": m.incident_id,
                    "asset": m.asset,
                    "detector": m.detector,
                    "start": seconds(m.start),
                    "priority": m.priority,
                    "active": m.active,
                    "origin": m.incident_id == g.origin.incident_id,
                }
                for m in sorted(g.members, key=lambda m: (m.incident_id != g.origin.incident_id, m.start))
            ],
        }
        for g in ordered[:PAST_ROWS]
    ]


def _members(groups: Iterable[GroupEvent]) -> dict[str, dict[str, Any]]:
    """The group of each incident, by its id."""
    return {
        member.incident_id: {
            "id": g.group_id,
            "origin": g.origin.asset,
            "first": member.incident_id == g.origin.incident_id,
            "size": len(g.members),
        }
        for g in groups
        for member in g.members
    }


def _comes_back(row: Mapping[str, Any]) -> float:
    return float("inf") if row["until"] is None else float(row["until"])


def permissions(role: Role) -> dict[str, dict[str, bool]]:
    """Commands that a role may give; whether each needs a reason."""
    return {action: {"reason": action in NEEDS_REASON} for action, roles in sorted(ALLOWED.items()) if role in roles}
