"""Windows on their way to a model: gathered over assets and partitions into one buffer, a full one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from monitor.arrays import Ints
from monitor.lines import Copy, Floats
from monitor.partition import PartitionState
from monitor.windows import Sink


@dataclass(slots=True)
class Part:
    """Where some windows of a batch come from: rows of assets (b,) and last buckets (b,) of one partition."""

    partition: PartitionState
    row: Ints
    bucket: Ints


class Gather:
    """One detector's closed windows of a step; `score` takes each full buffer (B, W, C), and then the rest."""

    def __init__(self, buffer: Callable[[], Floats], score: Callable[[list[Part], Floats], None]) -> None:
        self._buffer = buffer
        self._score = score
        self._parts: list[Part] = []
        self._filled = 0

    def sink(self, partition: PartitionState) -> Sink:
        """What takes the windows that a partition closes."""
        return partial(self._take, partition)

    def _take(self, partition: PartitionState, rows: Ints, buckets: Ints, copy: Copy) -> None:
        buffer = self._buffer()
        start = 0
        while start < len(rows):
            stop = min(start + len(buffer) - self._filled, len(rows))
            copy(slice(start, stop), buffer[self._filled : self._filled + stop - start])
            self._parts.append(Part(partition, rows[start:stop], buckets[start:stop]))
            self._filled += stop - start
            start = stop
            if self._filled == len(buffer):
                self.flush()

    def flush(self) -> None:
        """Score what is there."""
        if self._parts:
            parts, filled = self._parts, self._filled
            self._parts, self._filled = [], 0
            self._score(parts, self._buffer()[:filled])
