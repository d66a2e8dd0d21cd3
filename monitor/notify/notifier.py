"""All that `tocsin notify` knows, and what an event changes of it: figures, groups, outboxes. A pure step."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from monitor import grouping
from monitor.annunciations import Performance
from monitor.annunciations import step as count
from monitor.events import GroupEvent, IncidentEvent
from monitor.grouping import Groups, cluster_of
from monitor.notify.outbox import NO_LIMIT, Outbox, settle, tick
from monitor.notify.outbox import step as post
from monitor.notify.settings import Endpoint, Notify
from monitor.performance import Figures, figures

UNLIMITED = 10**9


@dataclass(slots=True)
class Notifier:
    """The state: figures, groups, an outbox for each endpoint, and the positions up to which events are in it.

    `history` is where each partition ended when this began: what is before tells figures, and people only of what
    still stands.

    `ahead` is by how much (ns) event time was ahead of the wall clock when the newest event came: a recording that
    is replayed has a time of its own.
    """

    performance: Performance = field(default_factory=Performance)
    groups: Groups = field(default_factory=Groups)
    boxes: dict[str, Outbox] = field(default_factory=dict)
    ahead: int = 0
    done: dict[int, int] = field(default_factory=dict)
    history: dict[int, int] = field(default_factory=dict)


def step(
    settings: Notify, endpoints: Iterable[Endpoint], state: Notifier, event: IncidentEvent, told: int, now: int
) -> list[GroupEvent]:
    """Take an event into account, told at `told` and handled `now` (ns, wall clock); what it makes of groups."""
    newest = state.performance.newest
    count(settings.figures, state.performance, event, told)
    if state.performance.newest > newest:
        state.ahead = state.performance.newest - told
    before = cluster_of(state.groups, event.incident_id)
    changes = grouping.step(settings.grouping, state.groups, event)
    cluster = cluster_of(state.groups, event.incident_id) or before
    for endpoint in endpoints:
        post(endpoint, state.boxes.setdefault(endpoint.name, Outbox()), event, cluster, changes, now)
    return changes


def in_history(state: Notifier) -> bool:
    """Whether some of what was there before this began is still to be read."""
    return any(state.done.get(partition, 0) < end for partition, end in state.history.items())


def unlimited(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints without any limit, for history, of which little is left."""
    return tuple(replace(each, rate_per_minute=NO_LIMIT, max_pending=UNLIMITED) for each in endpoints)


def forget_history(state: Notifier) -> None:
    """After events of history: leave of the outboxes what stands."""
    for box in state.boxes.values():
        settle(box)
        box.filled_at = 0


def let_pass(endpoints: Iterable[Endpoint], state: Notifier, now: int) -> None:
    """Let time pass without an event (ns, wall clock)."""
    for endpoint in endpoints:
        tick(endpoint, state.boxes.setdefault(endpoint.name, Outbox()), now)


def event_time(state: Notifier, now: int) -> int:
    """The event time at a moment of the wall clock (ns), as far as the newest event tells it."""
    return max(now + state.ahead, state.performance.newest)


def figures_now(settings: Notify, state: Notifier, now: int) -> Figures:
    """The figures at a moment of the wall clock (ns)."""
    return figures(settings.figures, state.performance, event_time(state, now))
