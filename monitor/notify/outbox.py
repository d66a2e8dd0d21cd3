"""What one endpoint is to be told, in order, and what it knows: a pure step; the sending is done elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from monitor.annunciations import MINUTE, QUIET, annunciates
from monitor.events import EVENT_TYPE, GroupEvent, IncidentEvent, event_headers, headers_dict
from monitor.grouping import RANK, Cluster
from monitor.notify.alert import MOST_NAMES, NO_BODY, Alert, Item, Kind, Summary, alert_of, firing
from monitor.notify.settings import Endpoint

NO_LIMIT = 1e12  # a minute; a number, since it is multiplied by no time
BODY_CHANNELS = (50, 5, 0)  # of an event that goes out whole; fewer where names make it too long to be kept
MOST_BODY_BYTES = 256 * 1024


@dataclass(slots=True)
class Outbox:
    """An endpoint's items by number, and by key what it was told and is not over.

    `tokens` as of `filled_at` (ns, wall clock) are the new notifications that may go at once; `gathered` waits for
    one. `changed` names the items and keys that steps touched, until it is cleared.
    """

    number: int = 0
    items: dict[int, Item] = field(default_factory=dict)
    open: dict[str, Alert] = field(default_factory=dict)
    tokens: float = 0.0
    filled_at: int = 0
    gathered: Summary = field(default_factory=Summary)
    changed_items: set[int] = field(default_factory=set)
    changed_open: set[str] = field(default_factory=set)
    changed: bool = False


def wants(endpoint: Endpoint, event: IncidentEvent, alert: Alert) -> bool:
    """Whether an endpoint is to hear of an incident."""
    labels = {**event.labels, "asset": event.asset, "detector": event.detector}
    matches = all(fnmatchcase(labels.get(name, ""), glob) for name, glob in endpoint.match.items())
    return matches and RANK[alert.priority] >= RANK[endpoint.min_priority]


def step(
    endpoint: Endpoint, box: Outbox, event: IncidentEvent, cluster: Cluster | None, told: Sequence[GroupEvent],
    now: int,
) -> None:  # fmt: skip
    """Take an event into account. `cluster` is its group's, if it is in one, and `told` what changed about that."""
    together = cluster is not None and cluster.told and endpoint.group
    alert = alert_of(event, cluster if together else None)
    known = box.open.get(alert.key)
    if known is not None:
        alert = replace(alert, identity=known.identity)
    if event.transition in QUIET or not event.of_incident:
        return
    if firing(event.state):
        _stands(endpoint, box, event, alert, known, cluster if together else None, told, now)
    elif known is not None:
        if together and cluster is not None and cluster.ringing:
            box.open[alert.key] = replace(known, together=alert.together)
            box.changed_open.add(alert.key)
            return
        del box.open[alert.key]
        box.changed_open.add(alert.key)
        if endpoint.send_resolved:
            _put(endpoint, box, "resolve", alert, known, event, told, now)


def _stands(
    endpoint: Endpoint, box: Outbox, event: IncidentEvent, alert: Alert, known: Alert | None, cluster: Cluster | None,
    told: Sequence[GroupEvent], now: int,
) -> None:  # fmt: skip
    """An incident that stands: new to the endpoint, told again because more is known, or acknowledged."""
    if known is None:
        news = annunciates(event) or event.transition == "escalated"  # which may be what makes it grave enough
        if news and wants(endpoint, event, alert) and _may(endpoint, box, alert, now):
            _open(box, alert)
            _put(endpoint, box, "raise", alert, None, event, told, now)
        return
    if event.transition == "acknowledged":
        if cluster is not None and {each.incident_id for each in cluster.ringing} - set(cluster.acknowledged):
            return  # of a group, others wait for an answer
        kind: Kind = "acknowledge"
    else:
        kind = "update"
    _open(box, alert)
    if kind == "update" and endpoint.kind == "apprise" and not _is_news(alert, known):
        return
    if len(box.items) < endpoint.max_pending:  # what waits says enough, and the next one says more
        _put(endpoint, box, kind, alert, known, event, told, now)


def _is_news(alert: Alert, known: Alert) -> bool:
    """Whether a person who reads messages wants another one: it is graver now, or more than one asset's."""
    together = alert.together is not None and known.together is None
    return together or RANK[alert.priority] > RANK[known.priority]


def _open(box: Outbox, alert: Alert) -> None:
    box.open[alert.key] = alert
    box.changed_open.add(alert.key)


def _may(endpoint: Endpoint, box: Outbox, alert: Alert, now: int) -> bool:
    """Take a token for a new notification; where there is none, or too much waits, gather it for the summary."""
    _fill(endpoint, box, now)
    enough = box.tokens >= 1 or rate(endpoint) >= NO_LIMIT
    if enough and not box.gathered.count and len(box.items) < endpoint.max_pending:
        box.tokens = max(box.tokens - 1, 0.0)
        return True
    known = box.gathered
    names = known.assets if alert.asset in known.assets else (*known.assets, alert.asset)[:MOST_NAMES]
    counts = {**known.priorities, alert.priority: known.priorities.get(alert.priority, 0) + 1}
    box.gathered = Summary(known.count + 1, counts, names, known.since or now)
    box.changed = True
    return False


def rate(endpoint: Endpoint) -> float:
    """New notifications a minute: people are called by some kinds, and machines told by the others."""
    if endpoint.rate_per_minute is not None:
        return endpoint.rate_per_minute
    return 60.0 if endpoint.kind in ("pagerduty", "apprise") else NO_LIMIT


def _fill(endpoint: Endpoint, box: Outbox, now: int) -> None:
    if not box.filled_at:
        box.tokens = float(endpoint.burst)
    grown = max(now - box.filled_at, 0) / MINUTE * rate(endpoint) if box.filled_at else 0.0
    box.tokens, box.filled_at = min(box.tokens + grown, float(endpoint.burst)), now
    box.changed = True


def tick(endpoint: Endpoint, box: Outbox, now: int) -> None:
    """Let time pass: what was gathered becomes one message as soon as one may go."""
    if not box.gathered.count or len(box.items) > endpoint.max_pending // 2:
        return  # an endpoint that falls behind gets one long summary, not a short one for each place that is free
    if box.tokens + max(now - box.filled_at, 0) / MINUTE * rate(endpoint) < 1:
        return
    _fill(endpoint, box, now)
    box.tokens = max(box.tokens - 1, 0.0)
    gathered, box.gathered = box.gathered, Summary()
    key = f"summary-{endpoint.name}-{box.number + 1}"
    _add(
        box, Item(box.number + 1, "summary", now, key, summary=gathered, body=_summary_body(endpoint, gathered, key))
    )


def settle(box: Outbox) -> None:
    """Forget what is over of what nobody was told: of the rest only the newest of each key is left, as a new one.

    For events of a time before there was anybody to tell: what still stands at their end is news, and nothing else.
    """
    newest = {item.key: item for item in box.items.values() if item.key in box.open}
    kept = {item.number: replace(item, kind="raise", previous=None) for item in newest.values()}
    box.changed_items |= {number for number, item in box.items.items() if kept.get(number) != item}
    box.items = dict(sorted(kept.items()))


def done(box: Outbox, number: int) -> None:
    """An item was taken by the endpoint, or refused for good."""
    if box.items.pop(number, None) is not None:
        box.changed_items.add(number)


def _put(
    endpoint: Endpoint, box: Outbox, kind: Kind, alert: Alert, previous: Alert | None, event: IncidentEvent,
    told: Sequence[GroupEvent], now: int,
) -> None:  # fmt: skip
    body = NO_BODY
    if endpoint.kind == "webhook":
        body = cloud_event(told[-1] if told and endpoint.group else event)
    _add(box, Item(box.number + 1, kind, now, alert.key, alert, previous, body=body))


def _add(box: Outbox, item: Item) -> None:
    box.number = item.number
    box.items[item.number] = item
    box.changed_items.add(item.number)
    box.changed = True


def cloud_event(event: IncidentEvent | GroupEvent) -> Raw:
    """An event as a CloudEvent in structured mode (JSON Event Format 1.0.2, section 3)."""
    attributes = headers_dict(event_headers(event))
    envelope = {name.removeprefix("ce_"): value for name, value in attributes.items() if name.startswith("ce_")}
    envelope["datacontenttype"] = attributes["content-type"]
    body = b""
    for most in BODY_CHANNELS:
        cut = replace(event, channels=event.channels[:most]) if isinstance(event, IncidentEvent) else event
        body = msgspec.json.encode({**envelope, "data": cut})
        if len(body) <= MOST_BODY_BYTES:
            break
    return Raw(body)


def _summary_body(endpoint: Endpoint, summary: Summary, key: str) -> Raw:
    if endpoint.kind != "webhook":
        return NO_BODY
    envelope = {
        "specversion": "1.0",
        "id": key,
        "source": "/tocsin/notify",
        "type": EVENT_TYPE.format("notify", "summary"),
        "datacontenttype": "application/json",
        "data": summary,
    }
    return Raw(msgspec.json.encode(envelope))
