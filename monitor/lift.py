"""The limit in force: each raise lifts an asset's limit, which comes down again as the alarm budget allows.

A limit that stands still spends its budget in bursts: what made normal data exceed it once does so again an hour
later. One that rises with each raise, and falls by one raise in every 1 / budget, keeps alarms near the budget over
any stretch of time: a leaky bucket (Turner 1986), with the score's logarithm as its level.

Shapes: n windows, A assets.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.calibration import Limits
from monitor.lines import resized

Numbers = NDArray[np.float64]
_HIGHEST = float(np.finfo(np.float32).max)  # of a score


def left(limits: Limits, lift: Numbers, lifted_at: Ints, ends: Ints) -> Numbers:
    """By how many raises limits are still lifted at these times (n,), ns; never by more than at `lifted_at`."""
    elapsed = np.maximum(ends - lifted_at, 0)
    remaining: Numbers = np.maximum(lift - limits.decay_per_ns * elapsed, 0.0)
    return remaining


def in_force(limits: Limits, lift: Numbers, lifted_at: Ints, ends: Ints) -> Numbers:
    """Scores (n,) that windows with these ends must reach.

    One window gives what many give: the same function decides and publishes.
    """
    if not limits.decay_per_ns:
        return np.full(len(ends), limits.score)
    with np.errstate(over="ignore"):
        lifted: Numbers = np.minimum(limits.score * limits.factor ** left(limits, lift, lifted_at, ends), _HIGHEST)
    return lifted


@dataclass(slots=True)
class Lifts:
    """What lifts the limits of a partition's assets, by row (A,); where no limit was ever lifted, nothing is held."""

    lift: Numbers = field(default_factory=lambda: np.zeros(0))
    lifted_at: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def note(self, row: int, lift: float, lifted_at: int) -> None:
        """Keep by how many raises an asset's limit was lifted at this time; by 0 while its alarm is open."""
        if row >= len(self.lift):
            if not lift:
                return
            self.lift, self.lifted_at = resized(self.lift, 2 * row + 8, 0), resized(self.lifted_at, 2 * row + 8, 0)
        self.lift[row], self.lifted_at[row] = lift, lifted_at

    def apply(self, limit: Numbers, rows: Ints, ends: Ints, before: Bools, policies: tuple[Limits, Limits]) -> None:
        """Put the limits in force in place (n,), for windows of assets whose limit is lifted.

        policies: of the model in service and of the one before it, which scored the windows `before`.
        """
        lifted = np.flatnonzero(rows < len(self.lift))
        lifted = lifted[self.lift[rows[lifted]] > 0]
        for limits, places in zip(policies, (lifted[~before[lifted]], lifted[before[lifted]]), strict=True):
            if len(places):
                row = rows[places]
                limit[places] = in_force(limits, self.lift[row], self.lifted_at[row], ends[places])
