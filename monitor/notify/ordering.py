"""Puts events of several partitions in the order of their times, as far as waiting for a stated time can; pure.

Within a partition the order is the log's own, so that an alarm's events stay in order and a position is one number:
an event counts as no earlier than those before it on its partition.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from monitor.events import IncidentEvent

MOST_WAIT = 30 * 1_000_000_000  # ns for what is unread: behind a transaction that stays open it may be for long
MOST_HELD = 50_000  # events; with more the oldest go, in whatever order


@dataclass(frozen=True, slots=True)
class Held:
    """A message that waits: its place, its time for ordering, when it was told, when it came (ns, wall clock).

    Without an event it is a message that needs nothing done, and holds its place.
    """

    partition: int
    offset: int
    time: int
    told: int
    came: int
    event: IncidentEvent | None


@dataclass(slots=True)
class Ordering:
    """Messages that wait, by partition, and each partition's newest time and next offset."""

    held: dict[int, deque[Held]] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)
    next_offset: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def start(self, partition: int, offset: int) -> None:
        """A partition is read from here."""
        self.held[partition], self.next_offset[partition] = deque(), offset

    def add(self, partition: int, offset: int, time: int, told: int, came: int, event: IncidentEvent | None) -> None:
        """A message was read."""
        time = self.newest[partition] = max(time, self.newest.get(partition, time))
        self.held[partition].append(Held(partition, offset, time, told, came, event))
        self.count += 1

    def read_to(self, partition: int, next_offset: int) -> None:
        """Everything before this offset was read."""
        self.next_offset[partition] = next_offset

    def ready(self, wait: int, now: int, unread: Callable[[int], bool]) -> list[Held]:
        """Messages whose turn it is at `now`, in order; `unread` tells whether a partition has more to be read.

        While it has, nothing newer than what was read of it goes, within reason: that would overtake.
        """
        if not self.count:
            return []
        newest = max(self.newest.values())
        behind: dict[int, bool] = {}
        found: list[Held] = []
        while self.count:
            first = min((queue[0] for queue in self.held.values() if queue), key=lambda each: each.time)
            waits = newest - first.time < wait and now - first.came < wait
            for partition, queue in self.held.items():
                if not queue and partition not in behind:
                    behind[partition] = unread(partition)
            overtakes = now - first.came < MOST_WAIT and any(self._overtakes(first, p, behind) for p in self.held)
            if self.count <= MOST_HELD and (waits or overtakes):
                break
            found.append(self.held[first.partition].popleft())
            self.count -= 1
        return found

    def _overtakes(self, first: Held, partition: int, behind: dict[int, bool]) -> bool:
        """Whether an unread message of this partition may be earlier."""
        return (
            not self.held[partition] and behind.get(partition, False) and self.newest.get(partition, 0) < first.time
        )

    def position(self, partition: int) -> int:
        """The first offset that was not handled."""
        queue = self.held[partition]
        return queue[0].offset if queue else self.next_offset[partition]
