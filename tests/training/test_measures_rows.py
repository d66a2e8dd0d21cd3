"""Figures of row-wise decisions and of the alarms they make."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import InvalidData
from training.measures.rows import DAY_NS, alarm_figures, row_figures
from training.measures.segments import segments

HOUR_NS = DAY_NS // 24


def bits(text: str) -> np.ndarray:
    return np.array([character == "#" for character in text])


def test_each_row_counts_once_and_none_is_adjusted() -> None:
    figures = row_figures(bits(".#..###..."), bits("....####.."))
    assert (figures.true_positives, figures.false_positives) == (3, 1)
    assert (figures.false_negatives, figures.true_negatives) == (1, 5)
    assert figures.precision == 0.75
    assert figures.recall == 0.75
    assert figures.f1 == 0.75
    assert figures.false_alarm_rate == pytest.approx(1 / 6)
    assert figures.missed_rate == 0.25


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_counts_add_up_and_f1_is_the_harmonic_mean(rows: list[tuple[bool, bool]]) -> None:
    figures = row_figures([flagged for flagged, _ in rows], [label for _, label in rows])
    assert figures.true_positives == rows.count((True, True))
    assert figures.false_positives == rows.count((True, False))
    assert figures.false_negatives == rows.count((False, True))
    assert figures.true_negatives == rows.count((False, False))
    if figures.true_positives:
        assert figures.f1 == pytest.approx(2 / (1 / figures.precision + 1 / figures.recall))
        assert figures.missed_rate == pytest.approx(1 - figures.recall)


def test_a_ratio_of_nothing_is_not_a_number() -> None:
    quiet = row_figures(bits("...."), bits("...."))
    assert np.isnan([quiet.precision, quiet.recall, quiet.f1, quiet.missed_rate]).all()
    assert quiet.false_alarm_rate == 0
    assert np.isnan(row_figures(bits("####"), bits("####")).false_alarm_rate)


def test_alarms_are_runs_and_false_ones_meet_no_anomaly() -> None:
    flagged = bits("##..##..#.......####....")
    figures = alarm_figures(flagged, bits(".....####..............#"), HOUR_NS)
    assert (figures.alarms, figures.false_alarms) == (4, 2)
    assert figures.alarms_a_day == 4.0
    assert figures.false_alarms_a_day == pytest.approx(2 * 24 / 19)


def test_a_day_without_normal_rows_has_no_rate_of_false_alarms() -> None:
    figures = alarm_figures(bits("##.."), bits("####"), HOUR_NS)
    assert figures.alarms_a_day == 6.0
    assert np.isnan(figures.false_alarms_a_day)


def test_rows_without_a_period_or_of_another_number_are_refused() -> None:
    with pytest.raises(InvalidData, match="period"):
        alarm_figures(bits("##"), bits("##"), 0)
    with pytest.raises(InvalidData, match="2 rows of decisions and 3 labels"):
        row_figures(bits("##"), bits("###"))


@given(st.lists(st.booleans(), max_size=30))
def test_segments_cover_the_labelled_rows_and_never_touch(labels: list[bool]) -> None:
    runs = segments(labels).tolist()
    assert [row for first, stop in runs for row in range(first, stop)] == [
        i for i, label in enumerate(labels) if label
    ]
    assert all(first < stop for first, stop in runs)
    assert all(before[1] < after[0] for before, after in pairwise(runs))
