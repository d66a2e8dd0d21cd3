"""Readings that were recorded, as columns sorted by event time; N readings, C channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.errors import InvalidData


@dataclass(slots=True)
class Recording:
    """Readings of several assets, sorted by event time.

    assets: names; asset: (N,) int32 index into them; ts: (N,) int64 ns; channels: C names;
    values: (N, C) float32, NaN for none; labels: (N,) int8, 1 in an anomaly, or None where nobody labelled.
    backwards: readings that stood after a later one of their asset, before they were sorted; overwritten: values
    that lost to another of the same asset, channel and time, where each row holds one value.
    """

    assets: list[str]
    asset: NDArray[np.int32]
    ts: NDArray[np.int64]
    channels: list[str]
    values: NDArray[np.float32]
    labels: NDArray[np.int8] | None = None
    backwards: int = 0
    overwritten: int = 0

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: Any) -> "Recording":
        """The readings that a slice, mask or index of rows names, with all assets and channels."""
        labels = None if self.labels is None else self.labels[rows]
        return Recording(self.assets, self.asset[rows], self.ts[rows], self.channels, self.values[rows], labels)


def merge_recordings(recordings: Sequence[Recording]) -> Recording:
    """One recording with all assets and channels; equal event times keep the order of the arguments."""
    if not recordings:
        raise InvalidData("There is nothing to merge.")
    if len(recordings) == 1:
        return recordings[0]
    assets = list(dict.fromkeys(name for part in recordings for name in part.assets))
    channels = list(dict.fromkeys(name for part in recordings for name in part.channels))
    values = np.full((sum(map(len, recordings)), len(channels)), np.nan, np.float32)
    begin = 0
    for part in recordings:
        values[begin : begin + len(part), [channels.index(name) for name in part.channels]] = part.values
        begin += len(part)
    codes = [np.array([assets.index(name) for name in part.assets], np.int32)[part.asset] for part in recordings]
    labels = [np.zeros(len(part), np.int8) if part.labels is None else part.labels for part in recordings]
    nobody_labelled = all(part.labels is None for part in recordings)
    merged = Recording(
        assets=assets,
        asset=np.concatenate(codes),
        ts=np.concatenate([part.ts for part in recordings]),
        channels=channels,
        values=values,
        labels=None if nobody_labelled else np.concatenate(labels),
    )
    merged = merged.take(np.argsort(merged.ts, kind="stable"))
    merged.backwards = sum(part.backwards for part in recordings)
    merged.overwritten = sum(part.overwritten for part in recordings)
    return merged


def labelled_intervals(recording: Recording) -> list[tuple[str, int, int]]:
    """(asset, start, end) in ns of every unbroken run of labelled readings; the end is exclusive.

    It lies one typical step (the asset's median) after the run's last reading.
    """
    if recording.labels is None:
        return []
    intervals: list[tuple[str, int, int]] = []
    for code, name in enumerate(recording.assets):
        mine = recording.asset == code
        ts, edges = recording.ts[mine], np.diff(recording.labels[mine] != 0, prepend=False, append=False)
        steps = np.diff(ts)
        step = int(np.median(steps[steps > 0])) if np.any(steps > 0) else 1
        first_and_next = np.flatnonzero(edges).reshape(-1, 2)
        intervals += [(name, int(ts[first]), int(ts[after - 1]) + step) for first, after in first_and_next]
    return sorted(intervals, key=lambda interval: interval[1])
