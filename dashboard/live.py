"""The live picture of the plant: what the topics said last, bounded in memory, safe to read from many threads.

Nothing here reads a clock or a broker: `feed` puts decoded messages in, the pages read them out.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dashboard.rings import Points, Series
from monitor.events import IncidentEvent, to_ns

MOST_ROWS = 5000
FEWEST_ROWS = 120
OPEN_STATES = frozenset({"unacknowledged", "acknowledged"})


class BrokenMessage(Exception):
    """A message of `tocsin.scores` that is no table of scores; it is counted and skipped."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the picture may hold; past `memory_bytes` every asset keeps a shorter past."""

    rows: int = MOST_ROWS
    memory_bytes: int = 256 * 2**20
    assets: int = 20_000
    incidents: int = 5000


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
class Plant:
    """All assets and incidents. Every method takes the lock for itself and hands out copies."""

    bounds: Bounds = field(default_factory=Bounds)
    newest_ns: int = 0
    revision: int = 0
    windows: int = 0
    _series: dict[tuple[str, str], Series] = field(default_factory=dict)
    _incidents: dict[str, IncidentEvent] = field(default_factory=dict)
    _rows: int = MOST_ROWS
    _nbytes: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._rows = self.bounds.rows

    def add_scores(self, table: pa.Table, arrived_s: float) -> int:
        """Take a decoded message of `tocsin.scores`; returns the new windows in it. Raises BrokenMessage."""
        parts = list(split_scores(table))
        with self._lock:
            taken = sum(self._append(*part, arrived_s) for part in parts)
            self.windows += taken
            self._keep_in_memory()
        return taken

    def add_event(self, event: IncidentEvent) -> bool:
        """Take an incident event; False where this or a later one of the same incident is already known."""
        with self._lock:
            known = self._incidents.get(event.incident_id)
            if known is not None and known.seq >= event.seq:
                return False
            self._incidents[event.incident_id] = event
            self.revision += 1
            if len(self._incidents) > self.bounds.incidents:
                self._drop_an_incident()
            return True

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

    def fleet(self, most: int, cursors: dict[tuple[str, str], int] | None = None) -> list[Glimpse]:
        """Every asset and detector with its newest `most` windows, or those after its cursor."""
        cursors = cursors or {}
        with self._lock:
            return [_glimpse(series, cursors.get(key, 0), most) for key, series in self._series.items()]

    def incidents(self, asset: str | None = None) -> list[IncidentEvent]:
        """Latest event of every incident, of one asset or of all, newest start first."""
        with self._lock:
            found = [e for e in self._incidents.values() if asset is None or e.asset == asset]
        return sorted(found, key=lambda event: event.start, reverse=True)

    def nbytes(self) -> int:
        """Memory of all rings."""
        with self._lock:
            return self._nbytes

    def _append(self, asset: str, detector: str, version: str, points: Points, arrived_s: float) -> int:
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
            series.model_version, series.arrived_s = version, arrived_s
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

    def _drop_an_incident(self) -> None:
        """Forget the oldest incident that has ended, else the oldest: an open one is worth more than a past one."""
        oldest = min(self._incidents.values(), key=lambda event: (is_open(event), to_ns(event.start)))
        del self._incidents[oldest.incident_id]


def is_open(event: IncidentEvent) -> bool:
    """Whether the last known event of an incident leaves it open."""
    return event.state in OPEN_STATES


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
