"""What a model must pass before it takes over from another: the same windows, finite scores, and soon enough."""

import time
from collections.abc import Callable

import numpy as np

from monitor.errors import InvalidModel
from monitor.scoring import Floats, Model
from monitor.serving import RECENT_VALUES, refuse_other_windows

# Windows that a model is tried on, the recent ones over and over, so that the cost of a call weighs little.
FEWEST = 64


def try_out(
    candidate: Model,
    serves: Model,
    recent: Floats,
    outputs: tuple[str, ...],
    slowest_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Raise InvalidModel with the clause that a candidate breaks beside the model in service.

    `recent` are windows (B, W, C) that this one was given; `slowest_s` is the most that one may take on average.
    """
    if (version := serves.metadata.version) == candidate.metadata.version:
        raise InvalidModel(f"version '{version}' serves already, with other content: give this file its own")
    refuse_other_windows(serves.metadata, candidate.metadata)
    windows = _sample(recent, serves)
    most_s = slowest_s * len(windows)  # all of them take no less than some
    for count in _doubling(len(windows)):
        took = _tried(candidate, windows[:count], outputs, clock)
        if took > most_s:  # a call of a new size may have cost what no later one will
            took = min(took, _tried(candidate, windows[:count], outputs, clock))
        if took > most_s:
            raise InvalidModel(
                f"it takes {1000 * took / count:.3g} ms a window, scoring.slowest_ms allows {1000 * slowest_s:.3g}"
            )


def _tried(candidate: Model, windows: Floats, outputs: tuple[str, ...], clock: Callable[[], float]) -> float:
    """Seconds that a call takes; raises InvalidModel where it fails or a score is not finite."""
    begun = clock()
    try:
        score, channel_score, *_ = candidate.score(windows, outputs)
    except Exception as error:
        raise InvalidModel(f"the graph does not run on recent windows: {str(error)[:300]}") from None
    took = clock() - begun
    unsound = len(windows) - int((np.isfinite(score) & np.isfinite(channel_score).all(axis=1)).sum())
    if unsound:
        raise InvalidModel(f"no finite score for {unsound} of {len(windows)} windows: recent ones, zeros and empty")
    return took


def _sample(recent: Floats, serves: Model) -> Floats:
    """Windows to try a model on: one without a value, one of zeros, and recent ones."""
    shape = serves.metadata.window, len(serves.metadata.channels)
    made = np.stack([np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)])
    windows = np.concatenate([made, recent])
    fewest = min(FEWEST, RECENT_VALUES // (shape[0] * shape[1]))
    return windows if len(windows) >= fewest else np.resize(windows, (fewest, *shape))


def _doubling(most: int) -> list[int]:
    """1, 2, 4 and so on up to `most`: a model that is far too slow is known by the first few."""
    counts = [1]
    while 2 * counts[-1] < most:
        counts.append(2 * counts[-1])
    return [*counts, most]
