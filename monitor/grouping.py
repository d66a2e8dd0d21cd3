"""Grouping: incidents of different assets that ring together where they share labels are one group; a pure step.

An incident *rings* while its alarm is annunciated and not merely returned. What is shelved, suppressed or out of
service does not ring, and joins nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from monitor.annunciations import QUIET, SECOND, annunciates
from monitor.events import GroupEvent, IncidentEvent, Member, Priority, State, identity, to_datetime, to_ns

RINGS: frozenset[State] = frozenset({"unacknowledged", "acknowledged", "latched", "latched_acknowledged"})
RANK: dict[Priority, int] = {"low": 0, "medium": 1, "high": 2}
MAX_MEMBERS = 200  # of a group; what rings beyond that begins another


Link = tuple[int, tuple[str | None, ...]]  # how specific (0: most), and the labels' values from there on


class Rules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which incidents are one group."""

    window_s: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)],
        Meta(description="Incidents raised within so long of the first, in event time, may be one group; 0: none."),
    ] = 300.0
    by: Annotated[
        tuple[str, ...],
        Meta(
            description="Labels that link incidents of different assets, the most specific one first. Assets that "
            "share one must share those after it too, as far as they have them: a line 2 of another site is another."
        ),
    ] = ("line", "site")


class Cluster(Struct):
    """Incidents that may become a group, and are one once it was told (`seq` counts what was told of it).

    `members` are in the order in which they rang; `labels`, of those that link, are what all have in common; `began`
    is the event that was first, at `first` (ns).
    """

    members: list[Member]
    labels: dict[str, str]
    began: str
    first: int
    acknowledged: list[str] = []
    seq: int = 0

    @property
    def lead(self) -> str:
        """The incident under whose id the whole is known to those who were told of it first."""
        return self.members[0].incident_id

    @property
    def group_id(self) -> str:
        """Stable id of the group, from the event that began it."""
        return identity("group", self.began)

    @property
    def ringing(self) -> list[Member]:
        """Members that ring."""
        return [member for member in self.members if member.active]

    @property
    def told(self) -> bool:
        """Whether it is a group."""
        return self.seq > 0


@dataclass(slots=True)
class Groups:
    """Clusters by their lead, and each incident's; `changed` names leads that steps touched, until it is cleared.

    To find them in a flood: `linked` has leads by what links them, `waiting` those that are no group yet, by age.
    Both follow from the clusters, once `indexed`.
    """

    clusters: dict[str, Cluster] = field(default_factory=dict)
    lead_of: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    linked: dict[Link, dict[str, None]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    indexed: bool = False


def step(rules: Rules, groups: Groups, event: IncidentEvent) -> list[GroupEvent]:
    """Take an event into account; what it tells of groups."""
    if not groups.indexed:
        _index(rules, groups)
    _forget(rules, groups, to_ns(event.detected))
    if event.transition in QUIET:
        return []
    lead = groups.lead_of.get(event.incident_id)
    if lead is None:
        links = _links(rules, event.labels)
        if not links or not annunciates(event) or not event.of_incident or not rules.window_s:
            return []
        return _join(rules, groups, event)
    return _update(rules, groups, groups.clusters[lead], event)


def cluster_of(groups: Groups, incident_id: str) -> Cluster | None:
    """The cluster that an incident is in; None where it is in none."""
    lead = groups.lead_of.get(incident_id)
    return None if lead is None else groups.clusters[lead]


def origin(members: Sequence[Member]) -> Member:
    """The suspected origin: whose incident began first; of equal ones the first that rang."""
    return min(members, key=lambda member: member.start)


def priority(members: Sequence[Member]) -> Priority:
    """The highest priority."""
    return max((member.priority for member in members), key=RANK.__getitem__)


def _join(rules: Rules, groups: Groups, event: IncidentEvent) -> list[GroupEvent]:
    member = Member(event.incident_id, event.asset, event.detector, event.start, event.priority)
    at, known = to_ns(event.detected), _match(rules, groups, event)
    if known is None:
        known = Cluster([member], {}, event.event_id, at)
        known.labels = {name: event.labels[name] for name in rules.by if name in event.labels}
        groups.clusters[known.lead] = known
        groups.waiting[known.lead] = at
    else:
        _unlink(rules, groups, known)
        known.members.append(member)
        known.labels = {name: value for name, value in known.labels.items() if event.labels.get(name) == value}
    _link(rules, groups, known)
    groups.lead_of[event.incident_id] = known.lead
    groups.changed.add(known.lead)
    if len({each.asset for each in known.members}) < 2:
        return []
    groups.waiting.pop(known.lead, None)
    return [_told(known, "joined" if known.told else "opened", at)]


def _match(rules: Rules, groups: Groups, event: IncidentEvent) -> Cluster | None:
    """The cluster to join: by the most specific label that links it, and of equal ones the newest."""
    at = to_ns(event.detected)
    for link in _links(rules, event.labels):
        linked = [groups.clusters[lead] for lead in groups.linked.get(link, ())]
        near = [each for each in linked if abs(at - each.first) <= rules.window_s * SECOND]
        open_ = [each for each in near if len(each.members) < MAX_MEMBERS]
        if open_:
            return max(open_, key=lambda each: each.first)
    return None


def _links(rules: Rules, labels: dict[str, str]) -> list[Link]:
    """What may link to others: each label that is there, with those after it, the most specific first."""
    return [
        (level, tuple(labels.get(each) for each in rules.by[level:]))
        for level, name in enumerate(rules.by)
        if name in labels
    ]


def _index(rules: Rules, groups: Groups) -> None:
    """Make what follows from the clusters."""
    groups.linked, groups.indexed = {}, True
    oldest_first = sorted(groups.clusters.values(), key=lambda each: each.first)
    groups.waiting = {each.lead: each.first for each in oldest_first if not each.told}
    for known in oldest_first:
        _link(rules, groups, known)


def _link(rules: Rules, groups: Groups, known: Cluster) -> None:
    for link in _links(rules, known.labels):
        groups.linked.setdefault(link, {})[known.lead] = None


def _unlink(rules: Rules, groups: Groups, known: Cluster) -> None:
    linked = groups.linked
    for link in _links(rules, known.labels):
        linked[link].pop(known.lead, None)
        if not linked[link]:
            del linked[link]


def _update(rules: Rules, groups: Groups, known: Cluster, event: IncidentEvent) -> list[GroupEvent]:
    place = next(i for i, member in enumerate(known.members) if member.incident_id == event.incident_id)
    was = known.members[place]
    member = known.members[place] = replace(was, active=event.state in RINGS, priority=event.priority)
    acknowledged = event.state in ("acknowledged", "latched_acknowledged")
    others = [each for each in known.acknowledged if each != event.incident_id]
    known.acknowledged = [*others, event.incident_id] if acknowledged else others
    groups.changed.add(known.lead)
    if not known.told or known.ringing or not was.active or member.active:
        return []
    _drop(rules, groups, known)
    return [_told(known, "closed", to_ns(event.detected))]


def _told(known: Cluster, transition: Literal["opened", "joined", "closed"], at: int) -> GroupEvent:
    known.seq += 1
    members = tuple(known.members)
    return GroupEvent(
        group_id=known.group_id,
        seq=known.seq,
        transition=transition,
        shared=known.labels,
        origin=origin(members),
        members=members,
        start=min(member.start for member in members),
        end=to_datetime(at) if transition == "closed" else None,
        detected=to_datetime(at),
        priority=priority(members),
    )


def _forget(rules: Rules, groups: Groups, at: int) -> None:
    """Drop single incidents that none can join any more: they rang alone."""
    while groups.waiting and at - next(iter(groups.waiting.values())) > rules.window_s * SECOND:
        _drop(rules, groups, groups.clusters[next(iter(groups.waiting))])


def _drop(rules: Rules, groups: Groups, known: Cluster) -> None:
    _unlink(rules, groups, known)
    del groups.clusters[known.lead]
    groups.waiting.pop(known.lead, None)
    groups.changed.add(known.lead)
    for member in known.members:
        groups.lead_of.pop(member.incident_id, None)
