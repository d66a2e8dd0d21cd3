"""What a notification says of an incident or a group, whoever it goes to; pure."""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct

from monitor.events import ANNUNCIATED, Contribution, IncidentEvent, Priority, State
from monitor.grouping import Cluster, origin, priority

Kind = Literal["raise", "update", "acknowledge", "resolve", "summary", "event"]
MOST_CHANNELS = 5
MOST_NAMES = 20
SUMMARY = "TocsinSummary"
NO_BODY = Raw(b"null")


class Together(Struct, frozen=True, omit_defaults=True):
    """The group that an incident is in: how many incidents, how many ring, what they share, and who rang first."""

    group_id: str
    incidents: int
    ringing: int
    shared: dict[str, str]
    origin: str
    assets: tuple[str, ...]


class Alert(Struct, frozen=True, omit_defaults=True):
    """An incident as it is told; `key` and `identity` are what an endpoint knows it by, from raise to resolve.

    Of a group, they are those of the incident that the endpoint heard of first.
    """

    key: str
    incident_id: str
    event_id: str
    asset: str
    detector: str
    priority: Priority
    state: str
    start: datetime
    detected: datetime
    score: float
    limit: float
    peak: float
    peak_p_value: float
    model_version: str = ""
    channels: tuple[Contribution, ...] = ()
    labels: dict[str, str] = {}
    runbook: str = ""
    action: str = ""
    reason: str = ""
    actor: str = ""
    together: Together | None = None
    identity: dict[str, str] = {}


class Summary(Struct, frozen=True, omit_defaults=True):
    """What came too fast, or while too much was waiting: how many, of which priority, where, and since when (ns)."""

    count: int = 0
    priorities: dict[str, int] = {}
    assets: tuple[str, ...] = ()
    since: int = 0


class Item(Struct, frozen=True, omit_defaults=True):
    """One notification on its way; `number` orders an endpoint's, `at` is when it was decided (ns, wall clock).

    `previous` is what the endpoint was told before under this key; `body` is a whole CloudEvent, for who takes these.
    """

    number: int
    kind: Kind
    at: int
    key: str = ""
    alert: Alert | None = None
    previous: Alert | None = None
    summary: Summary | None = None
    body: Raw = NO_BODY


def alert_of(event: IncidentEvent, cluster: Cluster | None = None) -> Alert:
    """What is told of an incident; as part of a group its priority is the group's, and its key that of the first."""
    together = _together(cluster) if cluster is not None else None
    ringing = (cluster.ringing or cluster.members) if cluster is not None else []
    return Alert(
        key=cluster.lead if cluster is not None else event.incident_id,
        incident_id=event.incident_id,
        event_id=event.event_id,
        asset=event.asset,
        detector=event.detector,
        priority=priority(ringing) if ringing else event.priority,
        state=event.state,
        start=event.start,
        detected=event.detected,
        score=event.score,
        limit=event.limit,
        peak=event.peak,
        peak_p_value=event.peak_p_value,
        model_version=event.model_version,
        channels=event.channels[:MOST_CHANNELS],
        labels=event.labels,
        runbook=event.runbook,
        action=event.action,
        reason=event.reason,
        actor=event.actor,
        together=together,
        identity={**event.labels, "asset": event.asset, "detector": event.detector},
    )


def _together(cluster: Cluster) -> Together:
    assets = tuple(dict.fromkeys(member.asset for member in cluster.members))
    first = origin(cluster.members)
    counts = len(cluster.members), len(cluster.ringing)
    return Together(cluster.group_id, *counts, cluster.labels, first.asset, assets[:MOST_NAMES])


def place(labels: dict[str, str]) -> str:
    """Labels as a person reads them."""
    return ", ".join(f"{name} {value}" for name, value in labels.items())


def title(alert: Alert, kind: Kind) -> str:
    """One line: what, where, how grave."""
    verb = {"acknowledge": "acknowledged", "resolve": _over(alert.state)}.get(kind, "abnormal")
    if alert.together is not None:
        many = alert.together
        where = f"{many.incidents} incidents on {place(many.shared)}, first {many.origin}"
        return f"[{alert.priority}] {where}: {verb}"
    where = f" ({place(alert.labels)})" if alert.labels else ""
    return f"[{alert.priority}] {alert.asset}{where}: {verb}"


def _over(state: str) -> str:
    hidden: dict[str, str] = {"shelved": "shelved", "suppressed": "suppressed", "out_of_service": "out of service"}
    return hidden.get(state, "normal again")


def lines(alert: Alert) -> list[str]:
    """What a person needs to act, a fact a line."""
    told = [
        f"Detector {alert.detector}, since {moment(alert.start)}, seen {moment(alert.detected)}.",
        f"Score {alert.score:.3g} with a limit of {alert.limit:.3g}; peak {alert.peak:.3g}.",
    ]
    if alert.channels:
        told.append("Channels: " + ", ".join(map(_channel, alert.channels)) + ".")
    if alert.together is not None:
        told.append("Assets: " + ", ".join(alert.together.assets) + ".")
    told += [f"{word}: {text}" for word, text in _words(alert) if text]
    return told


def _words(alert: Alert) -> list[tuple[str, str]]:
    who = f"{alert.reason} ({alert.actor})" if alert.reason and alert.actor else alert.reason or alert.actor
    return [("What to do", alert.action), ("Runbook", alert.runbook), ("Because", who)]


def _channel(channel: Contribution) -> str:
    values = ""
    if channel.seen is not None and channel.expected is not None:
        values = f", {channel.seen:.4g} instead of {channel.expected:.4g} {channel.unit}".rstrip()
    return f"{channel.channel} ({channel.share:.0%}{values})"


def summary_title(summary: Summary) -> str:
    """One line of what was gathered."""
    parts = ", ".join(f"{count} {name}" for name, count in summary.priorities.items())
    return f"{summary.count} more incidents came faster than they can be told one by one ({parts})"


def summary_lines(summary: Summary) -> list[str]:
    """Where they are."""
    more = " and others" if len(summary.assets) == MOST_NAMES else ""
    return [f"Assets: {', '.join(summary.assets)}{more}.", "The alarm list has them all."]


def moment(at: datetime) -> str:
    """A time as RFC 3339 with a Z."""
    return at.isoformat().replace("+00:00", "Z")


def firing(state: State | str) -> bool:
    """Whether an alarm in this state is to be told as one that stands."""
    return state in ANNUNCIATED and state != "returned"
