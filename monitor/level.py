"""What an open incident's windows typically score, so that a person can accept this level as normal.

Not the kept heights: they are the highest windows only, and there are none without a revision bound. Mean and mean
absolute deviation are those of the score's logarithm, so that one spike hardly moves them, and they forget what is
older than some windows, so that the transient at the beginning of a lasting shift does not count for ever.
"""

import math

from msgspec import Struct

REMEMBERED = 64  # windows that mean and variance stand for
MARGIN, DEVIATIONS = (
    1.2,
    3.0,
)  # what is accepted lies so many times, and so many standard deviations, over the typical


class Level(Struct, frozen=True, array_like=True):
    """Mean and mean deviation of the logarithm of scores, over so many windows, all scored by one model."""

    model_version: str
    windows: int
    mean: float
    deviation: float = 0.0


def observe(known: Level | None, score: float, model_version: str) -> Level | None:
    """The level after one more window; begins anew with another model, whose scores are other numbers.

    Exponentially weighted, plain means in the beginning. A score that is not positive has no logarithm: left out.
    """
    if score <= 0:
        return known
    if known is None or known.model_version != model_version:
        return Level(model_version, 1, math.log(score))
    windows = min(known.windows + 1, REMEMBERED)
    off = math.log(score) - known.mean
    mean = known.mean + off / windows
    deviation = known.deviation + (abs(off) - known.deviation) / windows
    return Level(model_version, windows, mean, deviation)


def quiet_from(level: Level, highest: float) -> float:
    """The score up to which the level is normal: above its typical score by a margin, and by its own spread.

    Its spread counts up to the highest score that was seen: nothing higher was accepted.
    """
    spread = min(math.exp(min(level.mean + DEVIATIONS * level.deviation, 700.0)), highest)
    return max(MARGIN * math.exp(level.mean), spread)
