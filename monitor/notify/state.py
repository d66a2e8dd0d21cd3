"""What `tocsin notify` keeps on the state topic: small entries under keys of its own, and how they are read back.

A key is the JSON array ["tocsin.notify", group, part]; parts are `head`, `day/N`, `alarm/DETECTOR/ASSET`,
`cluster/INCIDENT`, `box/ENDPOINT`, `item/ENDPOINT/N` and `open/ENDPOINT/INCIDENT`. An entry without a value is over.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from monitor.annunciations import Day, Standing, at_rest
from monitor.grouping import Cluster
from monitor.notify.alert import Alert, Item, Summary
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Outbox
from monitor.state import StateKey, encode_key
from monitor.topics import NOTIFY

Change = tuple[str, Any]  # part, and its value; None: it is over


class Entry(Struct, frozen=True):
    """Value under a key of `tocsin notify`: format version, and what the part keeps."""

    v: Literal[1]
    value: Raw


class Head(Struct, frozen=True):
    """What there is one of: times, the last hour, and positions by partition."""

    began: int
    newest: int
    minutes: list[int]
    flooding: bool
    ahead: int
    done: dict[int, int]
    history: dict[int, int]


class BoxHead(Struct, frozen=True):
    """What there is one of for an endpoint."""

    number: int
    tokens: float
    filled_at: int
    gathered: Summary


def changes(state: Notifier) -> list[Change]:
    """What has changed since it was asked last; positions are in it, and always last."""
    found: list[Change] = []
    performance, groups = state.performance, state.groups
    found += [(f"day/{number}", performance.days.get(number)) for number in sorted(performance.changed_days)]
    found += [(f"alarm/{name}", performance.alarms.get(name)) for name in sorted(performance.changed_alarms)]
    found += [(f"cluster/{lead}", groups.clusters.get(lead)) for lead in sorted(groups.changed)]
    for name, box in state.boxes.items():
        found += _box_changes(name, box)
    for touched in (performance.changed_days, performance.changed_alarms, groups.changed):
        touched.clear()
    found.append(("head", _head(state)))
    return found


def _head(state: Notifier) -> Head:
    known = state.performance
    return Head(known.began, known.newest, known.minutes, known.flooding, state.ahead, state.done, state.history)


def _box_changes(name: str, box: Outbox) -> Iterator[Change]:
    for number in sorted(box.changed_items):
        yield f"item/{name}/{number}", box.items.get(number)
    for key in sorted(box.changed_open):
        yield f"open/{name}/{key}", box.open.get(key)
    if box.changed:
        yield f"box/{name}", BoxHead(box.number, box.tokens, box.filled_at, box.gathered)
    box.changed_items.clear()
    box.changed_open.clear()
    box.changed = False


def key_of(group: str, part: str) -> bytes:
    """Key of a part on the state topic."""
    return encode_key(StateKey(NOTIFY, group, part))


def encode(value: Any) -> bytes | None:
    """Value of an entry on the state topic."""
    return None if value is None else msgspec.json.encode({"v": 1, "value": value})


def restored(entries: Iterable[tuple[str, bytes]], endpoints: Iterable[str]) -> tuple[Notifier, list[str], list[str]]:
    """The state from (part, value); parts that cannot be read, and parts of endpoints that are no more."""
    state, unreadable, strangers, names = Notifier(), [], [], set(endpoints)
    for part, data in entries:
        kind, _, name = part.partition("/")
        if kind in ("box", "item", "open") and name.partition("/")[0] not in names:
            strangers.append(part)
            continue
        try:
            _take(state, kind, name, msgspec.json.decode(data, type=Entry).value)
        except (msgspec.DecodeError, ValueError, RecursionError, KeyError):
            unreadable.append(part)
    for box in state.boxes.values():
        box.items = dict(sorted(box.items.items()))
    known = state.performance
    known.lingering = {name for name, standing in known.alarms.items() if at_rest(standing)}
    for lead, cluster in state.groups.clusters.items():
        state.groups.lead_of.update({member.incident_id: lead for member in cluster.members})
    return state, unreadable, strangers


def _take(state: Notifier, kind: str, name: str, value: Raw) -> None:
    known = state.performance
    match kind:
        case "head":
            head = msgspec.json.decode(value, type=Head)
            known.began, known.newest, known.flooding = head.began, head.newest, head.flooding
            known.minutes = [*[0] * 60, *head.minutes][-60:]
            state.ahead, state.done, state.history = head.ahead, head.done, head.history
        case "day":
            known.days[int(name)] = msgspec.json.decode(value, type=Day)
        case "alarm":
            known.alarms[name] = msgspec.json.decode(value, type=Standing)
        case "cluster":
            state.groups.clusters[name] = msgspec.json.decode(value, type=Cluster)
        case "box":
            box, told = _box(state, name), msgspec.json.decode(value, type=BoxHead)
            box.number, box.tokens, box.filled_at = max(box.number, told.number), told.tokens, told.filled_at
            box.gathered = told.gathered
        case "item":
            endpoint, _, number = name.partition("/")
            item = msgspec.json.decode(value, type=Item)
            box = _box(state, endpoint)
            box.items[int(number)], box.number = item, max(box.number, item.number)
        case "open":
            endpoint, _, key = name.partition("/")
            _box(state, endpoint).open[key] = msgspec.json.decode(value, type=Alert)
        case _:
            raise KeyError(kind)


def _box(state: Notifier, name: str) -> Outbox:
    return state.boxes.setdefault(name, Outbox())
