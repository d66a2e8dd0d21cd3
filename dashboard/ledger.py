"""The transitions of alarms in order of event time, bounded, and the standard's figures of them.

Topics are read partition by partition, so that a day of one may come before the first hour of another: events are
held in their order, and the figures are counted again from the first that came out of it. Every method takes the
lock for itself.
"""

import threading
from bisect import insort
from collections import Counter
from dataclasses import dataclass, field

from msgspec.structs import replace

from monitor.annunciations import DAY, SECOND, Norms, Performance, annunciates, step
from monitor.events import IncidentEvent, to_ns
from monitor.performance import Figures, figures

MOST_EVENTS = 50_000
MOST_COUNTS = 8
BIN_S = 600


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """An event without what the figures do not need; `told` is when the daemon wrote it (ns)."""

    detected: int
    event_id: str
    told: int = field(compare=False)
    event: IncidentEvent = field(compare=False)


@dataclass(slots=True)
class Count:
    """Figures under way: how many entries they have taken in, of which version of the order."""

    order: int
    taken: int = 0
    known: Performance = field(default_factory=Performance)


@dataclass(slots=True)
class Ledger:
    """Entries in order; `order` changes when one came late, and counts that were begun before begin anew."""

    most: int = MOST_EVENTS
    dropped: int = 0
    _entries: list[Entry] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)
    _order: int = 0
    _counts: dict[Norms, Count] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, event: IncidentEvent, told_ns: int) -> bool:
        """Take an event; False where it is already known, or is none of an alarm's course."""
        if event.transition in ("rejected", "labelled", "revised"):
            return False
        slim = replace(event, channels=(), latent=(), sensors=(), labels={}, runbook="", action="")
        entry = Entry(to_ns(event.detected), event.event_id, told_ns, slim)
        with self._lock:
            if entry.event_id in self._ids:
                return False
            if self._entries and entry < self._entries[-1]:
                self._order += 1
            insort(self._entries, entry)
            self._ids.add(entry.event_id)
            if len(self._entries) > self.most:
                self._drop()
        return True

    def figures(self, norms: Norms, now_ns: int) -> Figures | None:
        """The figures at a moment of event time; None where nothing has ever happened."""
        with self._lock:
            if not self._entries:
                return None
            count = self._counts.pop(norms, None)
            if count is None or count.order != self._order:
                count = Count(self._order)
            self._counts[norms] = count
            while len(self._counts) > MOST_COUNTS:
                del self._counts[next(iter(self._counts))]
            for entry in self._entries[count.taken :]:
                step(norms, count.known, entry.event, entry.told)
            count.taken = len(self._entries)
            count.known.changed_alarms.clear()
            count.known.changed_days.clear()
            return figures(norms, count.known, max(now_ns, self._entries[-1].detected))

    def bins(self, days: int, now_ns: int) -> list[tuple[int, dict[str, int]]]:
        """Annunciations by priority in each ten minutes of these UTC days until now: (begin in s, counts)."""
        with self._lock:
            if not self._entries:
                return []
            now = max(now_ns, self._entries[-1].detected)
            first = max((now // DAY - days + 1) * DAY, self._entries[0].detected) // SECOND // BIN_S
            found: dict[int, Counter[str]] = {}
            for entry in reversed(self._entries):
                place = entry.detected // SECOND // BIN_S
                if place < first:
                    break
                if annunciates(entry.event):
                    found.setdefault(place, Counter())[entry.event.priority] += 1
        last = now // SECOND // BIN_S
        return [(place * BIN_S, dict(found.get(place, {}))) for place in range(first, last + 1)]

    def _drop(self) -> None:
        """Forget the oldest tenth at once: figures begun before them begin anew, which should not be often."""
        gone = self._entries[: max(len(self._entries) // 10, 1)]
        del self._entries[: len(gone)]
        self._ids.difference_update(entry.event_id for entry in gone)
        self._order += 1
        self.dropped += len(gone)
