"""NAB realKnownCause: seven series, each by what its own past taught, beside the benchmark's Windowed Gaussian.

Nothing is scored before the first 15 %. The model is fitted on these, and again on all of the past at later cuts;
each scores only the rows after it. One detection is one incident, at the row that raises it.
"""

import bisect

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from monitor.errors import InvalidData
from monitor.recording import Recording
from tests.bench.quality_recipe import Figures, Settings, alarms_on, days, fitted, read, recipe
from training.measures import baselines
from training.measures.nab import nab_score

CUTS = 0.15, 0.25, 0.4, 0.6, 0.8
WINDOW, STEP = 6400, 100  # of the Windowed Gaussian
QUANTILE, CLEAR_QUANTILE = 0.995, 0.99  # of a score's own past, for the detectors without a model


def cases(settings: Settings) -> list[str]:
    """The series."""
    return sorted(path.stem for path in (settings.data / "nab" / "realKnownCause").glob("*.parquet"))


def run(case: str, settings: Settings) -> Figures:
    """One series."""
    rows = read(settings.data / "nab" / "realKnownCause" / f"{case}.parquet")
    start = int(CUTS[0] * len(rows))
    detections, refused = walk(rows, settings)
    gaussian = raised(windowed_gaussian(rows.values[:, 0]), start)
    labels = np.asarray(rows.labels)
    steps = baselines.last_value(rows.values[:start], rows.values)
    pca = baselines.windowed_pca(rows.values[:start], rows.values)
    return {
        "score": nab_score(detections, labels, start),
        "detections": int(detections.sum()),
        "windowed_gaussian": nab_score(gaussian, labels, start),
        "windowed_gaussian_detections": int(gaussian.sum()),
        "flag_everything": nab_score(np.arange(len(rows)) == start, labels, start),
        "last_value": nab_score(raised(steps, start), labels, start),
        "windowed_pca": nab_score(raised(pca, start), labels, start),
        "refused": refused,
    }


def walk(rows: Recording, settings: Settings) -> tuple[NDArray[np.bool_], list[str]]:
    """Rows (N,) at which an incident is raised, and why a part of the past taught no model.

    The budget is one false alarm in as much time as the first model is learnt from. Where a fit is refused the model
    before it goes on; without any there is silence.
    """
    cuts = [int(share * len(rows)) for share in CUTS]
    budget = 1 / days(rows.take(slice(0, cuts[0])))
    detections, model, refused = np.zeros(len(rows), np.bool_), None, []
    for cut, stop in zip(cuts, [*cuts[1:], len(rows)], strict=True):
        past, ahead = rows.take(slice(0, cut)), rows.take(slice(cut, stop))
        try:
            model = fitted(past, recipe(settings))
        except InvalidData as error:
            refused.append(str(error))
        if model is not None:
            incidents = alarms_on(model, past, ahead, budget).incidents
            at = np.searchsorted(ahead.ts - ahead.ts[0], incidents.raised) - 1  # the newest row of the window
            detections[cut + at[at >= 0]] = True
    return detections, refused


def windowed_gaussian(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Minus the log of the tail beyond each value (N,), by mean and deviation of the rows before it.

    The benchmark's detector: the newest 6,400 rows, moved on by 100 at a time; until there are as many, all of them.
    """
    values = np.asarray(values, np.float64)
    score = np.zeros(len(values))
    known = values[:0]
    for row, value in enumerate(values):
        if row <= WINDOW or (row - WINDOW) % STEP == 0:
            first = max(row - WINDOW, 0)
            known = values[first:row]
            mean, deviation = (known.mean(), known.std() or 1e-6) if row else (0.0, 1.0)
        score[row] = -log_ndtr(-abs(value - mean) / deviation) if row else 0.0
    return score


def raised(score: NDArray[np.float64], start: int) -> NDArray[np.bool_]:
    """Rows (N,) from `start` on at which an incident is raised, by quantiles of the score's own past.

    It is open until the score is back below a limit twice as likely: the daemon's rule and its default deadband.
    """
    past: list[float] = []
    result, is_open = np.zeros(len(score), np.bool_), False
    for row, value in enumerate(score.tolist()):
        if row >= start and past:
            raise_at, clear_at = (past[int(share * len(past))] for share in (QUANTILE, CLEAR_QUANTILE))
            result[row] = not is_open and value > raise_at
            is_open = bool(result[row]) or (is_open and value > clear_at)
        bisect.insort(past, value)
    return result


def figures(results: dict[str, Figures]) -> dict[str, float]:
    """Mean over the series, and on how many the model is above the Windowed Gaussian."""
    return {
        "nab_score": float(np.mean([one["score"] for one in results.values()])),
        "nab_windowed_gaussian": float(np.mean([one["windowed_gaussian"] for one in results.values()])),
        "nab_above_windowed_gaussian": sum(one["score"] > one["windowed_gaussian"] for one in results.values()),
    }
