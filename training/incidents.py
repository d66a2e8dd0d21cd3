"""How often a raise limit would have rung on normal data: incidents counted as the daemon raises and clears them.

N scores of one asset, one a window, in order of time; NaN where a window was not scored.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.modelfile import Incidents

Scores = NDArray[np.float64]

LIFT = 1.5  # times a raise lifts the limit, which then comes down at the budget's rate
CLEAR = 0.99  # quantile of normal scores below which a window is back to normal
LOWEST = 0.5  # quantile of normal scores below which no limit is
RATES = 16  # points between the rarest rate that the data can show and the most
MOST = 1 / 20  # incidents a window
STEPS, HALVINGS = 40, 8


def incident_rates(assets: Sequence[Scores], windows_per_day: float, lift: float = LIFT) -> Incidents:
    """Raise limits and what they ring a day on normal scores, of one or more assets, that no model has learnt from.

    The rarest rate is one in all of the data, since nothing rarer can be told from it.
    """
    known = np.concatenate([scores[~np.isnan(scores)] for scores in assets])
    clear = float(np.quantile(known, CLEAR))
    days = max(len(known) / windows_per_day, 1e-9)
    most = max(MOST * windows_per_day, 2.0 / days)
    rates = np.geomspace(most, 1 / days, RATES)
    points: list[tuple[float, float]] = []
    for rate in rates.tolist():
        wanted = rate * days * (1 + 1e-9)  # one incident in all may be rounded to less than one
        decay = rate / windows_per_day
        score = limit_for(assets, known, wanted, clear, decay, lift)
        if wanted < 2:  # all rests on one incident: the limit is half-way to where there is none
            score = math.sqrt(score * limit_for(assets, known, 0.0, clear, decay, lift))
        if points and score <= points[-1][1] * (1 + 1e-9):
            score = points[-1][1] * (1 + 1e-6)  # rising, however coarse the scores
        points.append((rate, score))
    return Incidents(days=days, rates=tuple(points), clear=clear, lift=lift)


def limit_for(
    assets: Sequence[Scores], known: Scores, wanted: float, clear: float, decay: float, lift: float = LIFT
) -> float:
    """Score that as raise limit gives at most so many incidents in all, and a little below it more.

    Found from above, for far below the incidents run into each other and are few again.
    """

    def too_many(logarithm: float) -> bool:
        limit = math.exp(logarithm)
        return sum(len(incidents(scores, limit, clear, decay, lift)) for scores in assets) > wanted

    floor, top = (math.log(max(float(one), 1e-9)) for one in (np.quantile(known, LOWEST), known.max()))
    steps = np.linspace(top + 1e-6, floor, STEPS).tolist()
    place = next((place for place, step in enumerate(steps) if too_many(step)), 0)
    if not place:
        return math.exp(steps[-1])
    low, high = steps[place], steps[place - 1]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_many(middle) else (low, middle)
    return math.exp(high)


def incidents(scores: Scores, limit: float, clear: float, decay: float, lift: float = LIFT) -> list[tuple[int, int]]:
    """Windows at which incidents are raised and cleared, the last perhaps not: [(raised, cleared)].

    An incident is raised at `limit * lift ** risen` or more and cleared by the first window below `clear`, or below
    the limit where that is lower; each raise lets `risen` rise by one, and a window lets it fall by `decay`.
    """
    over = np.flatnonzero(scores >= limit)
    back = np.flatnonzero(scores < min(clear, limit))
    found: list[tuple[int, int]] = []
    risen, since, free = 0.0, 0, 0
    for place in over.tolist():
        if place < free:
            continue
        now = max(risen - decay * (place - since), 0.0)
        if scores[place] < limit * lift**now:
            continue
        risen, since = now + 1.0, place
        after = np.searchsorted(back, place)
        free = int(back[after]) + 1 if after < len(back) else len(scores)
        found.append((place, free - 1))
    return found
