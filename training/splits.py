"""Windows of all assets, split in time: the oldest to learn from, the newest to calibrate on.

Each asset's history is cut twice. A window belongs to a part only if it lies in it whole, so that no reading
is shared between parts, and nothing is shuffled across a cut. B windows, W buckets, C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.errors import InvalidData
from monitor.history import history_windows
from monitor.scored import observed_share
from training.data import DataSet, History

TRAIN, VALIDATION, CALIBRATION = "train", "validation", "calibration"
SHARES = {TRAIN: 0.7, VALIDATION: 0.1, CALIBRATION: 0.2}
LEAST_WINDOWS = {TRAIN: 32, VALIDATION: 4, CALIBRATION: 30}


@dataclass(frozen=True, slots=True)
class Part:
    """One asset's windows of one part, in the order of time: ends (B,) ns, windows (B, W, C)."""

    asset: str
    ends: NDArray[np.int64]
    windows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Splits:
    """The three parts of every asset, the channels that the training part knows, and its readings (N, C)."""

    channels: tuple[str, ...]
    dropped: tuple[str, ...]
    train: tuple[Part, ...]
    validation: tuple[Part, ...]
    calibration: tuple[Part, ...]
    readings: NDArray[np.float32]


def split(data: DataSet, period_ms: int, window: int, stride: int, min_observed: float) -> Splits:
    """Cut every asset's windows in time; raises InvalidData where a part is left with too few.

    Windows with less than `min_observed` of their cells are not scored by the daemon, and so not learnt from.
    A channel without any value in the training part is dropped from the model; a constant one stays, for it may
    begin to move, but one channel at least must change.
    """
    cuts = [_cuts(history, period_ms, window, stride) for history in data.histories]
    readings = np.concatenate(
        [history.values[history.ts < first] for history, (first, _) in zip(data.histories, cuts, strict=True)]
    )
    known = ~np.isnan(readings).all(axis=0)
    check_content(data, readings)
    parts: dict[str, list[Part]] = {name: [] for name in SHARES}
    for history, cut in zip(data.histories, cuts, strict=True):
        ends, windows = history_windows(history.ts, history.values[:, known], period_ms, window, stride)
        seen = enough_observed(windows, min_observed)
        ends, windows = ends[seen], windows[seen]
        for name, chosen in _parts(ends, window * period_ms * 1_000_000, *cut).items():
            parts[name].append(Part(history.asset, ends[chosen], windows[chosen]))
    _check_enough(parts, enough_readings(window, stride, len(data.histories)), period_ms, min_observed)
    check_moving(readings[:, known])
    names = np.array(data.channels, object)
    return Splits(
        channels=tuple(names[known]),
        dropped=tuple(names[~known]),
        train=tuple(parts[TRAIN]),
        validation=tuple(parts[VALIDATION]),
        calibration=tuple(parts[CALIBRATION]),
        readings=readings[:, known],
    )


def enough_observed(windows: NDArray[np.float32], min_observed: float) -> NDArray[np.bool_]:
    """Which windows (B, W, C) the daemon would score, less those in which there is nothing."""
    return observed_share(windows) >= max(min_observed, 1e-9)


def stacked(parts: Sequence[Part]) -> NDArray[np.float32]:
    """Windows of all assets, one asset after the other: (B, W, C)."""
    return np.concatenate([part.windows for part in parts])


def _cuts(history: History, period_ms: int, window: int, stride: int) -> tuple[int, int]:
    """Times, ns, at which the training part ends and the calibration part begins.

    They are counted in windows and not in hours, so that a gap of a week does not empty a part.
    """
    presence = np.zeros((len(history.ts), 1), np.float32)
    ends, _ = history_windows(history.ts, presence, period_ms, window, stride)
    first = int(len(ends) * SHARES[TRAIN])
    second = int(len(ends) * (SHARES[TRAIN] + SHARES[VALIDATION]))
    return int(ends[min(first, len(ends) - 1)]), int(ends[min(second, len(ends) - 1)])


def _parts(ends: NDArray[np.int64], length: int, first: int, second: int) -> dict[str, NDArray[np.bool_]]:
    """Which windows (B,) of this length, ns, lie whole in which part."""
    starts = ends - length
    return {
        TRAIN: ends <= first,
        VALIDATION: (starts >= first) & (ends <= second),
        CALIBRATION: starts >= second,
    }


def enough_readings(window: int, stride: int, assets: int) -> int:
    """Readings, one a period and without a gap, from which every part gets its least number of windows.

    Of T windows of all assets a part gets its share, less those that lie across its first cut.
    """
    across = {TRAIN: 0, VALIDATION: assets * -(-window // stride), CALIBRATION: assets * -(-window // stride)}
    windows = max((LEAST_WINDOWS[name] + assets + across[name]) / share for name, share in SHARES.items())
    return math.ceil(windows) * stride + window


def check_content(data: DataSet, readings: NDArray[np.float32]) -> None:
    """Refuse data whose training part, readings (N, C), holds nothing that could be learnt."""
    if all(np.isnan(history.values).all() for history in data.histories):
        raise InvalidData(
            f"none of the {len(data.channels)} channels has any value: check the export; at least one channel must "
            "hold numbers"
        )
    if np.isnan(readings).all():
        raise InvalidData(
            f"no channel has any value in the oldest {SHARES[TRAIN]:.0%} of the data, which is the part to learn "
            "from: leave the empty beginning out"
        )


def _check_enough(parts: dict[str, list[Part]], enough: int, period_ms: int, min_observed: float) -> None:
    """Refuse data that leaves a part with too few windows; `enough` readings would do."""
    for name, least in LEAST_WINDOWS.items():
        count = sum(len(part.ends) for part in parts[name])
        if count < least:
            raise InvalidData(
                f"only {count} windows with at least {min_observed:.0%} of their values are left for {name}, "
                f"and {least} are needed: give more data ({enough} readings are enough if they are "
                f"{period_ms / 1000:g} s apart and without gaps), a shorter window, a smaller stride "
                "or another period"
            )


def check_moving(readings: NDArray[np.float32]) -> None:
    """Refuse a training part, readings (N, C), in which nothing moves."""
    if not (np.fmax.reduce(readings) > np.fmin.reduce(readings)).any():
        raise InvalidData(
            f"no channel ever changes in the oldest {SHARES[TRAIN]:.0%} of the data, which is the part to learn "
            "from: give data of a time in which the asset ran; one channel that moves is enough"
        )
