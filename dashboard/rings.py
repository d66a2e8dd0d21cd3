"""Bounded columns of scored windows: one `Series` for each asset and detector.

Shapes: B windows that arrive together, C channels.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_ROWS = 64
FLOATS = ("score", "p_value", "limit")
MATRICES = ("channel_scores", "seen", "expected")
COLUMNS = ("window_end", *FLOATS, *MATRICES)


@dataclass(slots=True)
class Points:
    """Windows of one asset in order of time; matrices are (B, C), `seen` and `expected` None where not published."""

    window_end: NDArray[np.int64]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    limit: NDArray[np.float32]
    channel_scores: NDArray[np.float32]
    seen: NDArray[np.float32] | None = None
    expected: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.window_end)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "Points":
        """Some of the windows, chosen as numpy chooses rows."""
        published = {name: column for name in COLUMNS if (column := getattr(self, name)) is not None}
        return Points(**{name: column[rows] for name, column in published.items()})


@dataclass(slots=True)
class Series:
    """Rings of one asset and detector, and the facts that belong to their newest window.

    `total` counts windows ever taken and never falls: it is the cursor of readers. `epoch` counts restarts
    of the rings, which happen when a model with other channels takes over: a cursor is good in its epoch.
    """

    asset: str
    detector: str
    model_version: str = ""
    total: int = 0
    epoch: int = 0
    held: int = 0
    arrived_s: float = 0.0
    partition: int = 0
    repeats: int = 0
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Windows that the rings have room for now."""
        return len(self.columns["window_end"]) if self.columns else 0

    @property
    def nbytes(self) -> int:
        """Memory of the rings."""
        return sum(column.nbytes for column in self.columns.values())

    @property
    def newest_ns(self) -> int:
        """End of the newest window, 0 where there is none."""
        return int(self.columns["window_end"][(self.total - 1) % self.rows]) if self.held else 0

    def append(self, points: Points, limit_rows: int) -> int:
        """Take the windows after the newest one held; the others are repeats. Returns how many were taken."""
        fresh = points.window_end > self.newest_ns if self.held else np.ones(len(points), bool)
        self.repeats += int(len(points) - fresh.sum())
        points = points.take(fresh) if not fresh.all() else points
        if not len(points):
            return 0
        if self._has_other_columns(points):
            self.columns, self.held, self.epoch = {}, 0, self.epoch + 1
        self._make_room(points, limit_rows)
        taken = points.take(slice(-self.rows, None))
        self.total += len(points) - len(taken)
        slots = np.arange(self.total, self.total + len(taken)) % self.rows
        for name, ring in self.columns.items():
            ring[slots] = getattr(taken, name)
        self.total += len(taken)
        self.held = min(self.held + len(taken), self.rows)
        return len(points)

    def since(self, cursor: int, most: int | None = None) -> Points:
        """Windows that came after `cursor` and are still held, at most the newest `most`."""
        first = max(cursor, self.total - self.held, 0 if most is None else self.total - most)
        slots = np.arange(first, self.total) % max(self.rows, 1)
        if not self.columns:
            empty = np.empty(0, np.float32)
            return Points(np.empty(0, np.int64), empty, empty, empty, np.empty((0, 0), np.float32))
        return Points(**{name: ring[slots] for name, ring in self.columns.items()})

    def resize(self, rows: int) -> None:
        """Give the rings another length; the newest windows stay."""
        kept = self.since(0, most=rows)
        slots = np.arange(self.total - len(kept), self.total) % rows
        for name, ring in self.columns.items():
            moved = np.empty((rows, *ring.shape[1:]), ring.dtype)
            moved[slots] = getattr(kept, name)
            self.columns[name] = moved
        self.held = len(kept)

    def _has_other_columns(self, points: Points) -> bool:
        if not self.columns:
            return False
        published = {name for name in MATRICES if getattr(points, name) is not None}
        width = points.channel_scores.shape[1]
        return published != self.columns.keys() & set(MATRICES) or width != self.columns["channel_scores"].shape[1]

    def _make_room(self, points: Points, limit_rows: int) -> None:
        """Double the rings until the windows fit or the limit is reached: most series stay short for long."""
        rows = max(self.rows, min(SMALLEST_ROWS, limit_rows))
        while rows < min(self.held + len(points), limit_rows):
            rows = min(rows * 2, limit_rows)
        if not self.columns:
            width = points.channel_scores.shape[1]
            self.columns = {"window_end": np.zeros(rows, np.int64)}
            self.columns |= {name: np.zeros(rows, np.float32) for name in FLOATS}
            names = [name for name in MATRICES if getattr(points, name) is not None]
            self.columns |= {name: np.zeros((rows, width), np.float32) for name in names}
        elif rows != self.rows:
            self.resize(rows)
