"""What is odd about the times of recorded data: notes for a person, or a refusal that says what would be enough.

A plant's history is seldom tidy. What has one sensible reading is put right and noted: readings out of order
are sorted, for the event time says where each belongs, and exports and logs by time of arrival often look so.
What has two is refused: many different values at equal times are usually two machines in one file, and
stretches of different sampling make a grid on which part of the data is silently never learnt from.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.errors import InvalidData
from training.data import DataSet, History

MOST_CONFLICTS = 0.05  # of the readings; an hour that comes twice when the clocks change is 1/24 of a day
STRETCH = 21  # steps in a row whose median is compared
PERIODS_APART = 2.0  # a factor between steps; up to it, windows of the slower part are still half observed
LEAST_MIXED = 0.1  # of the readings or of the time; less is an outage or a trial


def notes_on_times(data: DataSet) -> list[str]:
    """Sentences about readings out of order or at equal times; raises InvalidData where too many disagree.

    Of equal times the later reading wins, channel by channel, as in the daemon. Readings that agree, or fill each
    other's gaps, lose nothing by that.
    """
    notes = []
    if data.backwards:
        notes.append(
            f"{data.backwards} of {data.rows} readings were not in the order of their times and have been sorted, "
            "which is enough if 'ts' is when they were measured"
        )
    equal = sum(int(np.count_nonzero(np.diff(history.ts) == 0)) for history in data.histories)
    conflicts = sum(conflicting(history) for history in data.histories) + data.overwritten
    if conflicts > MOST_CONFLICTS * data.rows:
        raise InvalidData(
            f"{conflicts} of {data.rows} readings have the time of another one of their asset, and other values: "
            "give each asset its own name in a column 'asset', or one reading for each time"
        )
    if equal or data.overwritten:
        notes.append(
            f"{equal + data.overwritten} of {data.rows} readings have the time of another one of their asset, "
            f"{conflicts} of them with other values: the later one in the file counts"
        )
    return notes


def conflicting(history: History) -> int:
    """Readings with the time of the one before and another value in a channel that both have."""
    same = np.flatnonzero(np.diff(history.ts) == 0)
    before, after = history.values[same], history.values[same + 1]
    return int(np.count_nonzero((~np.isnan(before) & ~np.isnan(after) & (before != after)).any(axis=1)))


def check_periods(histories: Sequence[History], period_ms: int = 0) -> None:
    """Refuse data of mixed periods, such as half at 1 s and half at 60 s; raises InvalidData with both.

    Steps are compared by the median of every STRETCH in a row, so that neither gaps nor jitter count. A share is of
    readings or of time, whichever is more: an hour at 60 s has few readings. With a period given, only what is
    too slow for it is refused, since readings that come more often are thinned, as in the daemon.
    """
    steps = np.concatenate([_steps(history) for history in histories])
    if not len(steps):
        return
    usual = period_ms * 1e6 or float(np.median(steps))
    slow, fast = steps > PERIODS_APART * usual, usual > PERIODS_APART * steps
    odd = slow if period_ms else slow | fast
    share = max(odd.mean(), steps[odd].sum() / steps.sum())
    if share < LEAST_MIXED:
        return
    other = float(np.median(steps[odd]))
    raise InvalidData(
        f"{share:.0%} of the data has readings {other / 1e9:.4g} s apart, and not {usual / 1e9:.4g} s: fit the parts "
        f"one by one, or all on the slowest grid, --period {round(max(other, usual) / 1e6)}"
    )


def _steps(history: History) -> NDArray[np.float64]:
    """Median step, ns, between different times, of every STRETCH steps of a history."""
    steps = np.diff(np.unique(history.ts)).astype(np.float64)
    length = min(STRETCH, max(len(steps), 1))
    return np.median(steps[: len(steps) // length * length].reshape(-1, length), axis=1)
