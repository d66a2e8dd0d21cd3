"""What a row-wise decision is worth: each row counts once, and no row is adjusted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monitor.errors import InvalidData
from training.measures.segments import ratio, same_rows, segments

DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class RowFigures:
    """Shares of rows, 0 to 1, NaN where there is nothing to share; the counts that they come from."""

    precision: float  # TP / (TP + FP)
    recall: float  # TP / (TP + FN)
    f1: float
    false_alarm_rate: float  # FP / (FP + TN)
    missed_rate: float  # FN / (FN + TP)
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


@dataclass(frozen=True, slots=True)
class AlarmFigures:
    """Alarms as an operator counts them: each from raise to clear is one."""

    alarms: int
    false_alarms: int  # those that met no anomalous row
    alarms_a_day: float  # of all time
    false_alarms_a_day: float  # of normal time, the only time in which one can be raised


def row_figures(flagged: ArrayLike, labels: ArrayLike) -> RowFigures:
    """Figures of one decision: flagged (N,), labels (N,). Those of several series are pooled by joining the rows."""
    flagged, labels = same_rows("decisions", flagged, labels)
    flagged = flagged.astype(bool)
    tp, fp = int((flagged & labels).sum()), int((flagged & ~labels).sum())
    fn, tn = int((~flagged & labels).sum()), int((~flagged & ~labels).sum())
    return RowFigures(
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
        f1=ratio(2 * tp, 2 * tp + fp + fn),
        false_alarm_rate=ratio(fp, fp + tn),
        missed_rate=ratio(fn, fn + tp),
        true_positives=tp,
        false_positives=fp,
        true_negatives=tn,
        false_negatives=fn,
    )


def alarm_figures(flagged: ArrayLike, labels: ArrayLike, period_ns: int) -> AlarmFigures:
    """Alarms of one series: flagged (N,) while an alarm is open, labels (N,), rows `period_ns` apart.

    An alarm is a maximal run of flagged rows, and is false if none of them is labelled. Time is rows times
    period, so that a gap in the recording is not counted as watched; raises InvalidData for no period.
    """
    if period_ns <= 0:
        raise InvalidData(f"a period of {period_ns} ns gives no time in which to count alarms: give the rows' period")
    flagged, labels = same_rows("decisions", flagged, labels)
    runs = segments(flagged)
    seen = np.concatenate([[0], np.cumsum(labels)])
    false = int((seen[runs[:, 0]] == seen[runs[:, 1]]).sum())
    days = len(labels) * period_ns / DAY_NS
    normal_days = float((~labels).sum()) * period_ns / DAY_NS
    return AlarmFigures(len(runs), false, ratio(len(runs), days), ratio(false, normal_days))
