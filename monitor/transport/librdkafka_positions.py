"""Where each partition is read by librdkafka, and whether it leapt: it goes on at a log's first offset in silence."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from monitor.transport import TopicPartition


class Positions:
    """The next offset of each started partition, and the gaps before what was read.

    A gap may be the end of a transaction, or readings that retention deleted before they were read: then librdkafka
    went on at the log's first offset. (With its `auto.offset.reset = error` it never reads that partition again.)
    """

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, int] = {}  # where each begins, the first since it was last asked
        self._back: set[TopicPartition] = set()
        self._fresh: dict[TopicPartition, int] = {}  # started there, and nothing was read since

    def start(self, where: TopicPartition, offset: int) -> None:
        """This is read next."""
        self.leave(where)
        self._next[where] = self._fresh[where] = offset

    def leave(self, where: TopicPartition) -> None:
        """Nothing is read of this partition."""
        self._next.pop(where, None)
        self._gaps.pop(where, None)
        self._fresh.pop(where, None)
        self._back.discard(where)

    def next(self, where: TopicPartition) -> int | None:
        """The next offset, None where it is not started."""
        return self._next.get(where)

    def read(self, where: TopicPartition, offsets: Sequence[int]) -> None:
        """Messages of these growing offsets were read."""
        expected = self._next.get(where)
        if expected is None:
            return
        if offsets[0] < expected:
            self._back.add(where)
            return
        self._fresh.pop(where, None)
        if offsets[0] > expected:
            self._gaps.setdefault(where, expected)
        elif offsets[-1] - offsets[0] != len(offsets) - 1:
            self._gaps.setdefault(where, next(a + 1 for a, b in pairwise(offsets) if b != a + 1))
        self._next[where] = offsets[-1] + 1

    def ended(self, where: TopicPartition, offset: int, before: int | None) -> None:
        """The log's end was met here, among messages before which `before` was the next offset."""
        if before is None:
            return
        if offset < before:
            self._back.add(where)
        elif offset > self._next[where]:
            self._gaps.setdefault(where, self._next[where])
            self._next[where] = offset

    def leapt(self, bounds: Callable[[TopicPartition], tuple[int, int]]) -> dict[TopicPartition, int | None]:
        """Partitions not read where they had to be, with the offset to begin at again, None where the log has it not.

        bounds: of a log. The answer to what was asked before a start may set the position after it: nothing is gone.
        """
        back, self._back = self._back, set()
        gaps, self._gaps = self._gaps, {}
        found: dict[TopicPartition, int | None] = {}
        for where in back:
            begin = self._fresh.get(where)
            first, end = bounds(where)
            found[where] = begin if begin is not None and first <= begin <= end else None
        return found | {where: None for where, gap in gaps.items() if where not in back and bounds(where)[0] > gap}
