"""The live picture of the plant: what the topics said last, bounded in memory, safe to read from many threads.

Nothing here reads a clock or a broker: `feed` puts decoded messages in, the pages read them out.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dashboard.book import Book, Limits, is_open
from dashboard.ledger import Ledger
from dashboard.rings import Points, Series
from monitor.events import Event, IncidentEvent

__all__ = ["Bounds", "BrokenMessage", "Glimpse", "Plant", "Trace", "is_open", "split_scores"]

MOST_ROWS = 5000
FEWEST_ROWS = 120


class BrokenMessage(Exception):
    """A message of `tocsin.scores` that is no table of scores; it is counted and skipped."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the picture may hold; past `memory_bytes` every asset keeps a shorter past."""

    rows: int = MOST_ROWS
    memory_bytes: int = 256 * 2**20
    assets: int = 20_000
    book: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Glimpse:
    """One asset and detector at a moment: its newest window, and the windows after a reader's cursor."""

    asset: str
    detector: str
    model_version: str
    total: int
    epoch: int
    newest_ns: int
    arrived_s: float
    points: Points


@dataclass(slots=True)
class Trace:
    """What a tile needs of an asset and detector: its newest windows without their channels."""

    asset: str
    detector: str
    total: int
    newest_ns: int
    arrived_s: float
    window_end: NDArray[np.int64]
    score: NDArray[np.float32]
    limit: NDArray[np.float32]
    p_value: NDArray[np.float32]


@dataclass(slots=True)
class Plant:
    """All assets, and the book of events. Every method takes the lock for itself and hands out copies."""

    bounds: Bounds = field(default_factory=Bounds)
    newest_ns: int = 0
    windows: int = 0
    book: Book = field(default_factory=Book)
    ledger: Ledger = field(default_factory=Ledger)
    _series: dict[tuple[str, str], Series] = field(default_factory=dict)
    _rows: int = MOST_ROWS
    _nbytes: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._rows = self.bounds.rows
        self.book.limits = self.bounds.book

    @property
    def revision(self) -> int:
        """How often an event or a command changed anything."""
        return self.book.revision

    def add_scores(self, table: pa.Table, arrived_s: float, partition: int = 0) -> int:
        """Take a decoded message of `tocsin.scores`; returns the new windows in it. Raises BrokenMessage."""
        parts = list(split_scores(table))
        with self._lock:
            taken = sum(self._append(*part, arrived_s, partition) for part in parts)
            self.windows += taken
            self._keep_in_memory()
        return taken

    def add_event(self, event: Event, told_ns: int = 0) -> bool:
        """Take an event, told at `told_ns` (wall clock); False where it or a later one of the same is known."""
        if isinstance(event, IncidentEvent):
            self.ledger.add(event, told_ns)
        return self.book.add(event)

    def assets(self) -> list[str]:
        """Names of all watched assets."""
        with self._lock:
            return list({asset for asset, _detector in self._series})

    def detectors_of(self, asset: str) -> list[str]:
        """Detectors that have scored an asset, by name."""
        with self._lock:
            return sorted(detector for name, detector in self._series if name == asset)

    def since(self, asset: str, detector: str, cursor: int = 0, epoch: int = 0) -> Glimpse | None:
        """Windows of an asset after a cursor; all that are held where the cursor is of another epoch."""
        with self._lock:
            series = self._series.get((asset, detector))
            return None if series is None else _glimpse(series, cursor if series.epoch == epoch else 0, None)

    def traces(self, most: int, totals: Mapping[tuple[str, str], int]) -> list[Trace]:
        """The newest `most` windows of every asset and detector that has more of them than `totals` says."""
        with self._lock:
            return [_trace(series, most) for key, series in self._series.items() if series.total != totals.get(key)]

    def keys(self) -> set[tuple[str, str]]:
        """Every asset and detector."""
        with self._lock:
            return set(self._series)

    def partition_of(self, asset: str, detector: str) -> int | None:
        """The partition of `tocsin.scores` that an asset's windows come from."""
        with self._lock:
            series = self._series.get((asset, detector))
            return None if series is None else series.partition

    def versions(self) -> dict[str, dict[str, int]]:
        """How many assets each model version has scored last, by detector."""
        counts: dict[str, dict[str, int]] = {}
        with self._lock:
            for series in self._series.values():
                of = counts.setdefault(series.detector, {})
                of[series.model_version] = of.get(series.model_version, 0) + 1
        return counts

    def incidents(self, asset: str | None = None) -> list[IncidentEvent]:
        """Latest event of every incident, of one asset or of all, newest start first."""
        return self.book.incidents(asset)

    def nbytes(self) -> int:
        """Memory of all rings."""
        with self._lock:
            return self._nbytes

    def _append(
        self, asset: str, detector: str, version: str, points: Points, arrived_s: float, partition: int
    ) -> int:
        key = (asset, detector)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self.bounds.assets:
                silent = min(self._series, key=lambda k: self._series[k].arrived_s)
                self._nbytes -= self._series.pop(silent).nbytes
            series = self._series[key] = Series(asset, detector)
        before = series.nbytes
        taken = series.append(points, self._rows)
        self._nbytes += series.nbytes - before
        if taken:
            series.model_version, series.arrived_s, series.partition = version, arrived_s, partition
            self.newest_ns = max(self.newest_ns, series.newest_ns)
        return taken

    def _keep_in_memory(self) -> None:
        """Halve the longest past that an asset may have, until all rings together are within their bound."""
        while self._rows > FEWEST_ROWS and self._nbytes > self.bounds.memory_bytes:
            self._rows = max(self._rows // 2, FEWEST_ROWS)
            for series in self._series.values():
                if series.rows > self._rows:
                    series.resize(self._rows)
            self._nbytes = sum(series.nbytes for series in self._series.values())


def split_scores(table: pa.Table) -> Iterator[tuple[str, str, str, Points]]:
    """Cut a score table into (asset, detector, model_version, points), in order of time within an asset."""
    try:
        whole = _columns(table)
        asset = table["asset"].combine_chunks().dictionary_encode()
        codes = asset.indices.to_numpy(zero_copy_only=False)
        names = asset.dictionary.to_pylist()
        detector, version = (str(table[name][0]) if len(table) else "" for name in ("detector", "model_version"))
    except (KeyError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise BrokenMessage(str(error)) from None
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code) if len(names) > 1 else np.arange(len(table))
        yield str(name), detector, version, whole.take(rows[np.argsort(whole.window_end[rows], kind="stable")])


def _columns(table: pa.Table) -> Points:
    numbers = {name: table[name].to_numpy().astype(np.float32) for name in ("score", "p_value", "limit")}
    matrices = {name: _matrix(table, name) for name in ("seen", "expected") if name in table.column_names}
    ends = table["window_end"].cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64()).to_numpy()
    return Points(ends, **numbers, channel_scores=_matrix(table, "channel_scores"), **matrices)


def _matrix(table: pa.Table, name: str) -> NDArray[np.float32]:
    """A list column as (B, C); raises ValueError where its rows have several lengths."""
    flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(table), -1) if len(table) else np.empty((0, 0), np.float32)


def _glimpse(series: Series, cursor: int, most: int | None) -> Glimpse:
    return Glimpse(
        series.asset,
        series.detector,
        series.model_version,
        series.total,
        series.epoch,
        series.newest_ns,
        series.arrived_s,
        series.since(cursor, most),
    )


def _trace(series: Series, most: int) -> Trace:
    first = max(series.total - min(series.held, most), 0)
    slots = np.arange(first, series.total) % max(series.rows, 1)
    columns = (series.columns[name][slots] for name in ("window_end", "score", "limit", "p_value"))
    return Trace(series.asset, series.detector, series.total, series.newest_ns, series.arrived_s, *columns)
