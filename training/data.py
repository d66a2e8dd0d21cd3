"""Recorded data in, one history per asset out. N readings, C channels.

The files are those of `monitor.datafiles`: Parquet or CSV, wide or narrow, with labels that are no channels.
"""

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.datafiles import LABELS, merge_recordings, read_recording
from monitor.errors import InvalidData

# A column of one of these names tells about the data and is not measured.
NOT_CHANNELS = (*LABELS, "label")
MOST_NAMED = 5  # channels in one sentence


@dataclass(frozen=True, slots=True)
class History:
    """All readings of one asset, sorted by event time: ts (N,) int64 ns, values (N, C) float32 with NaN."""

    asset: str
    ts: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Histories with the same channels, in the order of the assets' names, and the digest of the files.

    `backwards` and `overwritten` tell of the files what sorting and gathering hid; see `monitor.recording`.
    """

    channels: tuple[str, ...]
    histories: tuple[History, ...]
    sha256: str
    backwards: int = 0
    overwritten: int = 0

    @property
    def rows(self) -> int:
        """Readings in all."""
        return sum(len(history.ts) for history in self.histories)


def load(paths: Sequence[Path], asset: str = "", assets: Collection[str] = ()) -> DataSet:
    """Read files into one data set; raises InvalidData with the file and the column.

    `asset` names the asset of files that have no such column (else the path does), and picks one asset out of
    files that have it; `assets` are those to keep, all by default, with the channels that they have. A channel
    that a file lacks is missing there; so is an infinite value, which says nothing of a sensor.
    """
    check_files(paths)
    recording = merge_recordings([read_recording(path, asset or None, NOT_CHANNELS) for path in paths])
    if asset and asset not in recording.assets:
        raise InvalidData(f"there is no asset '{asset}', only {', '.join(sorted(recording.assets))}")
    values = np.where(np.isfinite(recording.values), recording.values, np.float32(np.nan))
    histories = []
    for name in [asset] if asset else sorted(set(assets or recording.assets) & set(recording.assets)):
        mine = recording.asset == recording.assets.index(name)
        histories.append(History(name, recording.ts[mine], values[mine]))
    data = DataSet(
        tuple(recording.channels), tuple(histories), digest(paths), recording.backwards, recording.overwritten
    )
    return _with_values(data) if assets else data


def check_files(paths: Sequence[Path]) -> None:
    """Refuse no file, and files that are not there."""
    if not paths:
        raise InvalidData("no data file was given")
    for path in paths:
        if not path.is_file():
            raise InvalidData(f"{path}: no such file")


def _with_values(data: DataSet) -> DataSet:
    """The data without the channels that have no value; as it is where none has any."""
    known = [
        name
        for number, name in enumerate(data.channels)
        if any((~np.isnan(history.values[:, number])).any() for history in data.histories)
    ]
    return with_channels(data, known, "the data") if known else data


def with_channels(data: DataSet, wanted: Sequence[str], model: str) -> DataSet:
    """The data with a model's channels, in its order; raises InvalidData with those that it lacks.

    The daemon takes a channel that does not come as missing. Figures of a test on fewer channels would be of
    another model, though: they are refused. Channels that the model does not know are left out.
    """
    missing = [name for name in wanted if name not in data.channels]
    if missing:
        named = ", ".join(missing[:MOST_NAMED]) + (" ..." if len(missing) > MOST_NAMED else "")
        raise InvalidData(
            f"the data lacks {len(missing)} of the {len(wanted)} channels of {model}: {named}; give data with all of "
            "them, or fit a model on the channels that there are"
        )
    column = [data.channels.index(name) for name in wanted]
    histories = tuple(History(one.asset, one.ts, one.values[:, column]) for one in data.histories)
    return dataclasses.replace(data, channels=tuple(wanted), histories=histories)


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
        raise InvalidData(
            "every asset's readings all have one time, so that no period can be inferred: check the column 'ts', "
            "which must rise from reading to reading"
        )
    return max(round(float(np.median(steps)) / 1e6), 1)


def rfc3339(ns: int, timespec: str = "seconds") -> str:
    """Nanoseconds since 1970 as text, cut to whole `timespec`, as `isoformat` has it."""
    return datetime.fromtimestamp(ns // 1_000_000 / 1000, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
