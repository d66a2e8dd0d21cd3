"""Windows on their way to a model: gathered over assets and partitions into one buffer, a full one at a time."""

from collections.abc import Callable
from functools import partial

import numpy as np

from monitor.arrays import Ints
from monitor.lines import Copy, Floats
from monitor.windows import Sink

# What scores a batch: number of the partition (B,), row of the asset there (B,), last bucket (B,), windows (B, W, C).
ScoreBatch = Callable[[Ints, Ints, Ints, Floats], None]


class Gather:
    """One detector's closed windows of a step; `score` takes each full buffer, and then the rest."""

    def __init__(self, buffer: Callable[[], Floats], score: ScoreBatch) -> None:
        self._buffer = buffer
        self._score = score
        self._parts: list[tuple[Ints, Ints, Ints]] = []
        self._filled = 0

    def sink(self, partition: int) -> Sink:
        """What takes the windows that this partition closes."""
        return partial(self._take, partition)

    def _take(self, partition: int, rows: Ints, buckets: Ints, copy: Copy) -> None:
        buffer, start = self._buffer(), 0
        while start < len(rows):
            stop = min(start + len(buffer) - self._filled, len(rows))
            copy(slice(start, stop), buffer[self._filled : self._filled + stop - start])
            self._parts.append((np.full(stop - start, partition), rows[start:stop], buckets[start:stop]))
            self._filled += stop - start
            start = stop
            if self._filled == len(buffer):
                self.flush()

    def flush(self) -> None:
        """Score what is there."""
        if self._parts:
            partition, row, bucket = map(np.concatenate, zip(*self._parts, strict=True))
            self._score(partition, row, bucket, self._buffer()[: self._filled])
            self._parts, self._filled = [], 0
