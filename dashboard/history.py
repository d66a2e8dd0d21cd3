"""What an asset did before the time that is held: read from its one partition of `tocsin.scores`, within bounds.

Records are found by the event time that they carry, by halving the range of offsets, and not by the time at which
they were written: a replay writes weeks in a minute.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from kafka import KafkaConsumer, TopicPartition

from dashboard.feed import client_settings
from dashboard.live import BrokenMessage, split_scores
from dashboard.rings import COLUMNS, Points
from monitor.config import Config
from monitor.errors import RetriableError
from monitor.wire import decode_scores

POLL_MS = 500
ANSWER_MS = 5000
BACK = 20  # messages before the first that is late enough: assets of a partition are not in step
BROKEN = (BrokenMessage, pa.ArrowException, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Windows of an asset and detector from `begin_ns` to `end_ns` (event time), at most `rows` of them."""

    asset: str
    detector: str
    begin_ns: int
    end_ns: int
    rows: int = 5000


@dataclass(frozen=True, slots=True)
class Effort:
    """How much may be read for one question."""

    messages: int = 20_000
    seconds: float = 8.0


@dataclass(slots=True)
class Past:
    """What was found. `cut` tells that the effort ended first; `begins_ns` is where the partition begins."""

    points: Points | None = None
    model_version: str = ""
    cut: bool = False
    begins_ns: int | None = None


def read_past(config: Config, partition: int, wanted: Wanted, effort: Effort | None = None) -> Past:
    """Ask the broker; raises RetriableError or kafka.errors.KafkaError where it does not answer."""
    where = TopicPartition(config.topics.scores, partition)
    consumer = KafkaConsumer(**client_settings(config.kafka) | {"max_poll_records": 200})
    try:
        consumer.assign([where])
        first = consumer.beginning_offsets([where], timeout_ms=ANSWER_MS)[where]
        end = consumer.end_offsets([where], timeout_ms=ANSWER_MS)[where]
        return _Reader(consumer, where, first, end, wanted, effort or Effort()).read()
    finally:
        consumer.close(autocommit=False, timeout_ms=1000)


@dataclass(slots=True)
class _Reader:
    """One question to one partition, whose offsets go from `first` to before `end`."""

    consumer: Any
    where: TopicPartition
    first: int
    end: int
    wanted: Wanted
    effort: Effort
    clock: Callable[[], float] = time.monotonic
    began_s: float = 0.0
    found: list[tuple[str, Points]] = field(default_factory=list)

    def read(self) -> Past:
        """Find the first record that is late enough, and read on from a little before it."""
        self.began_s = self.clock()
        if self.first >= self.end:
            return Past()
        begins = self._times_at(self.first)
        start = max(self._first_at_or_after(self.wanted.begin_ns) - BACK, self.first)
        cut = self._collect(start)
        version, points = joined(self.found, self.wanted.rows)
        return Past(points, version, cut, begins[0] if begins else None)

    def _first_at_or_after(self, moment_ns: int) -> int:
        """Offset of the first record whose windows end at or after a moment, by halving."""
        low, high = self.first, self.end
        while low < high:
            middle = (low + high) // 2
            found = self._times_at(middle)
            if found is None or found[1] >= moment_ns:
                high = middle
            else:
                low = middle + 1
        return low

    def _times_at(self, offset: int) -> tuple[int, int] | None:
        """The oldest and newest window end of the record at or after an offset; None where there is none any more."""
        self.consumer.seek(self.where, offset)
        while self.clock() - self.began_s < self.effort.seconds:
            records = self.consumer.poll(timeout_ms=POLL_MS).get(self.where, [])
            for record in records:
                try:
                    ends = decode_scores(record.value)["window_end"].cast(pa.int64()).to_numpy()
                    return int(ends.min()), int(ends.max())
                except BROKEN:
                    continue
            if self.consumer.position(self.where) >= self.end:
                return None
        raise RetriableError("The broker takes too long to find that time; try again.")

    def _collect(self, start: int) -> bool:
        """Take the asset's windows until records are later than wanted; whether the effort ended first."""
        self.consumer.seek(self.where, start)
        seen, late = 0, 0
        while self.consumer.position(self.where) < self.end and late < BACK:
            if seen >= self.effort.messages or self.clock() - self.began_s > self.effort.seconds:
                return True
            for record in self.consumer.poll(timeout_ms=POLL_MS).get(self.where, []):
                seen += 1
                late = late + 1 if self._take(record.value) else 0
        return False

    def _take(self, value: bytes | None) -> bool:
        """Keep what is wanted of a record; whether all of it is later than that."""
        wanted = self.wanted
        try:
            table = decode_scores(value or b"")
            ends = table["window_end"].cast(pa.int64()).to_numpy()
            if len(ends) == 0 or ends.min() > wanted.end_ns:
                return len(ends) > 0
            parts = split_scores(table.filter(pc.equal(table["asset"], wanted.asset)))
            for _asset, detector, version, points in parts:
                if detector == wanted.detector:
                    inside = (points.window_end >= wanted.begin_ns) & (points.window_end <= wanted.end_ns)
                    self.found.append((version, points.take(inside)))
        except BROKEN:
            pass
        return False


def joined(found: list[tuple[str, Points]], rows: int) -> tuple[str, Points | None]:
    """Pieces as one, in order of time and without repeats, and their model's version; the newest `rows` of it.

    Where the channels changed within the time, the latest model's stay: others have no place in its charts.
    """
    pieces = [(version, points) for version, points in found if len(points)]
    if not pieces:
        return "", None
    version, newest = max(pieces, key=lambda piece: int(piece[1].window_end[-1]))
    alike = [points for _version, points in pieces if _shape(points) == _shape(newest)]
    columns = {
        name: np.concatenate([getattr(points, name) for points in alike])
        for name in COLUMNS
        if getattr(newest, name) is not None
    }
    _ends, order = np.unique(columns["window_end"], return_index=True)
    return version, Points(**{name: column[order[-rows:]] for name, column in columns.items()})


def _shape(points: Points) -> tuple[int, bool]:
    return points.channel_scores.shape[1], points.seen is not None
