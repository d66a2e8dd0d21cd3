"""Incidents against labelled segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import InvalidData
from training.measures.events import Incidents, event_figures


def incidents(*rows: tuple[int, int, int]) -> Incidents:
    """From (start, raised, end)."""
    starts, raised, ends = np.array(rows, np.int64).reshape(-1, 3).T
    return Incidents(starts, ends, raised)


def test_segments_found_missed_and_incidents_for_nothing_are_counted() -> None:
    figures = event_figures(incidents((12, 15, 18), (40, 41, 45), (105, 109, 130)), [(10, 20), (60, 70), (100, 120)])
    assert figures.detected.tolist() == [True, False, True]
    assert figures.delays_ns[[0, 2]].tolist() == [5, 9]
    assert np.isnan(figures.delays_ns[1])
    assert figures.median_delay_ns == 7
    assert figures.recall == pytest.approx(2 / 3)
    assert figures.precision == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(2 / 3)
    assert (figures.incidents, figures.false_incidents, figures.already_open) == (3, 1, 0)


def test_two_incidents_in_one_segment_detect_it_once_and_the_first_gives_the_delay() -> None:
    figures = event_figures(incidents((14, 15, 16), (11, 12, 13)), [(10, 20)])
    assert figures.delays_ns.tolist() == [2]
    assert (figures.recall, figures.precision) == (1, 1)


def test_an_alarm_that_never_clears_is_shown_as_open_before() -> None:
    figures = event_figures(incidents((0, 1, 1000)), [(10, 20), (60, 70)])
    assert figures.recall == 1
    assert figures.delays_ns.tolist() == [-9, -59]
    assert figures.already_open == 2


def test_a_raise_in_the_segment_gives_the_delay_though_another_was_open() -> None:
    figures = event_figures(incidents((0, 1, 12), (13, 14, 18)), [(10, 20)])
    assert figures.delays_ns.tolist() == [4]
    assert figures.already_open == 0


def test_spans_that_only_touch_do_not_overlap() -> None:
    figures = event_figures(incidents((5, 6, 10), (20, 21, 22)), [(10, 20)])
    assert not figures.detected.any()
    assert figures.false_incidents == 2


def test_an_incident_raised_after_the_segment_for_rows_in_it_detects_it_late() -> None:
    figures = event_figures(incidents((18, 25, 30)), [(10, 20)])
    assert figures.delays_ns.tolist() == [15]


def test_nothing_raised_or_nothing_labelled_has_no_ratio() -> None:
    silent = event_figures(incidents(), [(10, 20)])
    assert silent.recall == 0
    assert np.isnan([silent.precision, silent.median_delay_ns, silent.delays_ns[0]]).all()
    unlabelled = event_figures(incidents((1, 2, 3)), [])
    assert unlabelled.precision == 0
    assert np.isnan(unlabelled.recall)


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidData, match="ends before it begins"):
        event_figures(incidents(), [(20, 10)])


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 10)), max_size=8)


@given(spans, spans)
def test_overlaps_are_those_of_instants_that_both_cover(
    raised: list[tuple[int, int]], told: list[tuple[int, int]]
) -> None:
    figures = event_figures(
        incidents(*[(start, start, start + length) for start, length in raised]),
        [(start, start + length) for start, length in told],
    )
    covered = [set(range(start, start + length)) for start, length in raised]
    anomalous = [set(range(start, start + length)) for start, length in told]
    assert figures.detected.tolist() == [any(segment & span for span in covered) for segment in anomalous]
    assert figures.false_incidents == sum(not any(segment & span for segment in anomalous) for span in covered)
