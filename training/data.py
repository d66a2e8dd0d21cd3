"""Recorded data in, one history per asset out. N readings, C channels.

The files are those of `monitor.datafiles`: Parquet or CSV, wide or narrow, with labels that are no channels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.datafiles import LABELS, merge_recordings, read_recording
from monitor.errors import InvalidData

# A column of one of these names tells about the data and is not measured.
NOT_CHANNELS = (*LABELS, "label")


@dataclass(frozen=True, slots=True)
class History:
    """All readings of one asset, sorted by event time: ts (N,) int64 ns, values (N, C) float32 with NaN."""

    asset: str
    ts: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Histories with the same channels, in the order of the assets' names, and the digest of the files."""

    channels: tuple[str, ...]
    histories: tuple[History, ...]
    sha256: str

    @property
    def rows(self) -> int:
        """Readings in all."""
        return sum(len(history.ts) for history in self.histories)


def load(paths: Sequence[Path], asset: str = "") -> DataSet:
    """Read files into one data set; raises InvalidData with the file and the column.

    `asset` names the asset of files that have no such column (else the path does), and picks one asset out of
    files that have it. A channel that a file lacks is missing there; so is an infinite value, which says
    nothing of a sensor.
    """
    if not paths:
        raise InvalidData("no data file was given")
    for path in paths:
        if not path.is_file():
            raise InvalidData(f"{path}: no such file")
    recording = merge_recordings([read_recording(path, asset or None, NOT_CHANNELS) for path in paths])
    if asset and asset not in recording.assets:
        raise InvalidData(f"there is no asset '{asset}', only {', '.join(sorted(recording.assets))}")
    values = np.where(np.isfinite(recording.values), recording.values, np.float32(np.nan))
    histories = []
    for name in [asset] if asset else sorted(recording.assets):
        mine = recording.asset == recording.assets.index(name)
        histories.append(History(name, recording.ts[mine], values[mine]))
    return DataSet(tuple(recording.channels), tuple(histories), digest(paths))


def digest(paths: Sequence[Path]) -> str:
    """SHA-256 over the bytes of the files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def median_step_ms(histories: Sequence[History]) -> int:
    """Period inferred from the data: the median step between different event times, in whole milliseconds."""
    steps = np.concatenate([np.diff(np.unique(history.ts)) for history in histories])
    if not len(steps):
        raise InvalidData("all readings have the same time, so that no period can be inferred from them")
    return max(round(float(np.median(steps)) / 1e6), 1)
