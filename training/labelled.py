"""Two files to evaluate on, one to fit and one to test: read, checked, put on one time line.

N rows, C channels, S labelled segments.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.datafiles import asset_name, read_recording
from monitor.errors import InvalidData
from monitor.recording import Recording, merge_recordings
from training.data import MOST_NAMED, NOT_CHANNELS
from training.measures.events import Incidents
from training.measures.segments import segments
from training.watched import Watched

SAME = 0.5  # of the rows at equal times; two files with made-up times may agree in some by chance
NO_GAP = 4  # periods that may lie between the two files for the first to lead into the second


@dataclass(frozen=True, slots=True)
class Details:
    """The test rows (N,) asset by asset, each in order of time, and what was said of them; see `Watched`.

    score has no NaN: rows without one have the lowest. `incidents` and `spans` (S, 2), the labelled segments, are
    in ns of a clock that runs on from asset to asset, so that none of two assets overlap.
    """

    asset: NDArray[np.int64]
    ts: NDArray[np.int64]
    labels: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    score: NDArray[np.float64]
    channel_score: NDArray[np.float32]
    flagged: NDArray[np.bool_]
    incidents: Incidents
    spans: NDArray[np.int64]
    channels: tuple[str, ...]


def read(path: Path, label: str) -> Recording:
    """A file's rows with the labels of that column, if it has it; infinite values are missing."""
    others = [name for name in NOT_CHANNELS if name != label]
    found = read_recording(path, None, (label,))
    kept = [number for number, name in enumerate(found.channels) if name not in others]
    values = found.values[:, kept]
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    return dataclasses.replace(found, channels=[found.channels[number] for number in kept], values=values)


def check(train: Recording, test: Recording, paths: tuple[Path, Path], label: str) -> tuple[str, ...]:
    """Notes on how the two belong together; raises InvalidData where no figure of them would mean anything."""
    before, after = paths
    if test.labels is None:
        there = ", ".join(["ts", *test.channels[:20]]) + (", ..." if len(test.channels) > 20 else "")
        raise InvalidData(
            f"{after}: there is no column '{label}' with labels, only {there}: name another one by --label"
        )
    if not test.labels.any():
        raise InvalidData(f"{after}: no row is labelled in '{label}', so that nothing could be found in it")
    if not set(train.channels) & set(test.channels):
        here, there = (", ".join(each.channels[:MOST_NAMED]) for each in (train, test))
        raise InvalidData(f"{before} and {after} have no channel in common: {here} there, {there} here")
    return _check_times(train, test, before, after)


def _check_times(train: Recording, test: Recording, before: Path, after: Path) -> tuple[str, ...]:
    """Refuse test rows that were learnt from, or that lie before all that was; note those that overlap in time."""
    notes = []
    for name in sorted(set(train.assets) & set(test.assets)):
        known, tested = (part.take(part.asset == part.assets.index(name)) for part in (train, test))
        if not (len(known) and len(tested)) or tested.ts[0] > known.ts[-1]:
            continue
        if tested.ts[-1] < known.ts[0]:
            raise InvalidData(
                f"{after} is older than {before}: a model may not know what came after what it is tested on; "
                "fit on the older file and test on the newer one"
            )
        same_time, same_values = _shared(known, tested)
        if same_values > SAME * same_time:
            raise InvalidData(
                f"{same_values} rows of {after} are in {before} too: a model may not be tested on what it was "
                "fitted on"
            )
        notes.append(f"the times of {before} and {after} overlap, with other values: they are taken as they stand")
    return tuple(notes)


def _shared(known: Recording, tested: Recording) -> tuple[int, int]:
    """How many rows have the same time; and of these, the same values in all channels of both."""
    channels = [name for name in known.channels if name in tested.channels]
    a, b = (part.values[:, [part.channels.index(name) for name in channels]] for part in (known, tested))
    _, at, where = np.intersect1d(known.ts, tested.ts, return_indices=True)
    equal = (a[at] == b[where]) | (np.isnan(a[at]) & np.isnan(b[where]))
    return len(at), int((equal.all(axis=1) & ~np.isnan(b[where]).all(axis=1)).sum())


def of_one_asset(train: Recording, test: Recording, paths: tuple[Path, Path]) -> Recording:
    """The test rows, of the asset of the training rows where neither file says of which they are."""
    unnamed = [[asset_name(path)] == part.assets for path, part in zip(paths, (train, test), strict=True)]
    return dataclasses.replace(test, assets=train.assets) if all(unnamed) else test


def lead(train: Recording, test: Recording, period_ns: int, periods: int) -> Recording:
    """The newest training rows of each asset whose test rows follow without a gap: they fill its first windows."""
    wanted = np.zeros(len(train), np.bool_)
    for code, name in enumerate(train.assets):
        known = train.asset == code
        tested = test.ts[test.asset == test.assets.index(name)] if name in test.assets else train.ts[:0]
        if known.any() and len(tested) and 0 < tested[0] - train.ts[known][-1] <= NO_GAP * period_ns:
            wanted |= known & (train.ts >= tested[0] - periods * period_ns)
    return dataclasses.replace(train.take(wanted), labels=None)


def after(first: Recording, test: Recording) -> tuple[Recording, NDArray[np.int64]]:
    """Both as one, in order of time, and the places (N,) of the test rows in it."""
    order = np.argsort(np.concatenate([first.ts, test.ts]), kind="stable")  # as merging does
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return (merge_recordings([first, test]) if len(first) else test), place[len(first) :]


def details(test: Recording, watched: Watched, place: NDArray[np.int64], assets: list[str]) -> Details:
    """What was said of the test rows; `assets` are the names that the incidents' numbers stand for."""
    order = np.argsort(test.asset, kind="stable")
    test, place = test.take(order), place[order]
    score = watched.score[place]
    scored = ~np.isnan(score)
    lowest = float(score[scored].min()) if scored.any() else 0.0
    incidents, spans = _on_one_clock(test, watched, assets)
    return Details(
        asset=test.asset.astype(np.int64),
        ts=test.ts,
        labels=np.asarray(test.labels, np.bool_),
        scored=scored,
        score=np.where(scored, score, lowest),
        channel_score=watched.channel_score[place],
        flagged=watched.flagged[place] & scored,
        incidents=incidents,
        spans=spans,
        channels=watched.metadata.channel_names,
    )


def _on_one_clock(test: Recording, watched: Watched, assets: list[str]) -> tuple[Incidents, NDArray[np.int64]]:
    """Incidents cut to the test rows, and labelled segments (S, 2), of one asset after the other."""
    period = watched.metadata.period_ms * 1_000_000
    found, spans, clock = [], [np.empty((0, 2), np.int64)], 0
    starts, ends, raised = watched.incidents.starts, watched.incidents.ends, watched.incidents.raised
    for code, name in enumerate(test.assets):
        rows = test.take(test.asset == code)
        if not len(rows):
            continue
        begin, end = int(rows.ts[0]), int(rows.ts[-1]) + period
        runs = segments(np.asarray(rows.labels))
        spans.append(np.column_stack([rows.ts[runs[:, 0]], rows.ts[runs[:, 1] - 1] + period]) - begin + clock)
        mine = (watched.asset == assets.index(name)) & (ends > begin) & (starts < end)
        times = np.clip(starts[mine], begin, None), np.clip(ends[mine], None, end), raised[mine]
        found.append(np.stack(times) - begin + clock)
        clock += end - begin + period
    return Incidents(*np.concatenate(found, axis=1)), np.concatenate(spans)
