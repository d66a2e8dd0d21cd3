"""What the page of similar events shows: one incident, and beside it those before that look like it. Pure."""

from collections.abc import Sequence
from typing import Any

from dashboard.audit import said_true_or_false
from dashboard.jsonable import number, seconds
from dashboard.similar import Found, similar
from monitor.events import IncidentEvent

CHANNELS_SHOWN = 6
CHOICES = 100


def similar_sections(
    incident_id: str, known: Sequence[IncidentEvent], decisions: Sequence[IncidentEvent]
) -> dict[str, Any]:
    """Sections of the page; without an id it is about the newest incident that can be compared."""
    labels = said_true_or_false(decisions)
    newest_first = sorted(known, key=lambda event: event.start, reverse=True)
    chosen = _chosen(incident_id, newest_first)
    choices = [_choice(event) for event in newest_first[:CHOICES]]
    if chosen is None:
        missing = "This incident is not in the time that is held." if incident_id else "There is no incident yet."
        return {"incident": None, "matches": [], "choices": choices, "note": missing}
    found = similar(chosen, known)
    return {
        "incident": card(chosen, labels),
        "matches": [card(m.event, labels) | {"distance": number(m.distance)} for m in found.matches],
        "choices": choices,
        "note": note(chosen, found),
    }


def _chosen(incident_id: str, newest_first: Sequence[IncidentEvent]) -> IncidentEvent | None:
    if incident_id:
        return next((event for event in newest_first if event.incident_id == incident_id), None)
    with_vectors = (event for event in newest_first if event.latent)
    return next(with_vectors, newest_first[0] if newest_first else None)


def note(incident: IncidentEvent, found: Found) -> str:
    """What was compared and what could not be, in a sentence or two."""
    if not incident.latent:
        return "This incident has no latent vector: the daemon that raised it did not publish any."
    model = f"{incident.detector}, model version {incident.model_version}"
    parts = [f"Compared with {_count(found.compared, 'earlier incident')} of {model}."]
    if found.without:
        parts.append(f"{_count(found.without, 'more')} had no latent vector.")
    if found.others:
        parts.append(f"{_count(found.others, 'incident')} of other model versions cannot be compared.")
    return " ".join(parts)


def card(event: IncidentEvent, labels: dict[str, str]) -> dict[str, Any]:
    """An incident with what it was like."""
    return {
        "incident": event.incident_id,
        "asset": event.asset,
        "detector": event.detector,
        "model_version": event.model_version,
        "state": event.state,
        "priority": event.priority,
        "start": seconds(event.start),
        "lasted_s": None if event.end is None else (event.end - event.start).total_seconds(),
        "peak": number(event.peak / event.limit) if event.limit > 0 else None,
        "label": labels.get(event.incident_id, event.label),
        "channels": [
            {"name": c.channel, "share": number(c.share), "seen": number(c.seen), "expected": number(c.expected)}
            for c in event.channels[:CHANNELS_SHOWN]
        ],
    }


def _choice(event: IncidentEvent) -> dict[str, Any]:
    return {
        "incident": event.incident_id,
        "asset": event.asset,
        "detector": event.detector,
        "start": seconds(event.start),
    }


def _count(n: int, word: str) -> str:
    plural = word if n == 1 or word == "more" else f"{word}s"
    return f"{n} {plural}"
