"""AUC-PR and VUS-PR against the reference package's figures, and against what is obvious."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import InvalidData
from tests.naive import average_precision
from training.measures.ranking import auc_pr, vus_pr


def series(rows: int, runs: list[tuple[int, int]], lift: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) of pseudo-random whole numbers with `steps` values, `lift` higher in the runs, and labels (N,).

    Whole-number arithmetic, so that the stored figures do not hang on a generator.
    """
    t = np.arange(rows, dtype=np.int64)
    labels = np.zeros(rows, int)
    for first, stop in runs:
        labels[first:stop] = 1
    return ((t * 7919 + t * t * 104729) % 10007 * steps // 10007 + lift * labels).astype(float), labels


TWO = [(120, 150), (300, 340)]
MANY = [(0, 3), (10, 12), (15, 16), (40, 70), (75, 80), (200, 201), (390, 400)]
# Made with TSB-AD 1.5 under scikit-learn 1.9 on what `series` gives: AUC-PR by `basic_metricor().metric_PR(labels,
# scores)`, VUS-PR as the last of `generate_curve(labels, scores, window, "opt", thresholds)`, both in
# TSB_AD.evaluation.basic_metrics.
REFERENCE = [
    (400, TWO, 3000, 10007, 100, 250, 0.529139260263, 0.694656471216),
    (400, TWO, 300, 1000, 20, 50, 0.529172312857, 0.545181205265),
    (400, TWO, 0, 10007, 100, 250, 0.173477298131, 0.400042031230),
    (400, MANY, 40, 100, 100, 250, 0.584548293476, 0.730881929997),
    (400, MANY, 2, 5, 31, 250, 0.556337921939, 0.549779202818),
    (400, MANY, 400, 1000, 7, 30, 0.587627667870, 0.438739799198),
    (90, [(30, 35)], 500, 1000, 100, 250, 0.472020202020, 0.758424890992),
    (400, TWO, 3000, 10007, 0, 250, 0.529139260263, 0.527666218095),
]


@pytest.mark.parametrize(("rows", "runs", "lift", "steps", "window", "thresholds", "auc", "vus"), REFERENCE)
def test_both_areas_are_those_of_the_reference_package(
    rows: int, runs: list, lift: int, steps: int, window: int, thresholds: int, auc: float, vus: float
) -> None:
    scores, labels = series(rows, runs, lift, steps)
    assert auc_pr(scores, labels) == pytest.approx(auc, abs=1e-9)
    assert vus_pr(scores, labels, window, thresholds) == pytest.approx(vus, abs=1e-9)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=40))
def test_average_precision_is_that_of_counting_at_each_score(rows: list[tuple[int, bool]]) -> None:
    scores, labels = zip(*rows, strict=True)
    if not any(labels):
        assert np.isnan(auc_pr(scores, labels))
    else:
        assert auc_pr(scores, labels) == pytest.approx(average_precision(scores, labels), abs=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(2, 60))
def test_areas_depend_on_the_order_of_scores_alone(seed: int, window: int, thresholds: int) -> None:
    random = np.random.default_rng(seed)
    scores, labels = random.integers(0, 50, 200) / 10, random.random(200) < 0.2
    labels[7] = True
    assert auc_pr(np.exp(scores), labels) == pytest.approx(auc_pr(scores, labels), abs=1e-12)
    higher = vus_pr(np.exp(scores), labels, window, thresholds)
    assert higher == pytest.approx(vus_pr(scores, labels, window, thresholds), abs=1e-12)
    assert 0 <= higher <= 1 + 1e-9


def test_constant_scores_give_the_share_of_anomalous_rows() -> None:
    _, labels = series(400, TWO, 0, 10)
    assert auc_pr(np.ones(400), labels) == pytest.approx(70 / 400)
    assert vus_pr(np.ones(400), labels, window=0) == pytest.approx(70 / 400)


def test_perfect_scores_give_one() -> None:
    _, labels = series(400, TWO, 0, 10)
    assert auc_pr(labels, labels) == 1.0


def test_rows_near_a_segment_cost_less_than_rows_far_from_it() -> None:
    labels = np.zeros(500, int)
    labels[200:220] = 1
    near, far = labels.astype(float), labels.astype(float)
    near[220:230], far[400:410] = 0.9, 0.9
    near[200:220], far[200:220] = 0.8, 0.8
    assert auc_pr(near, labels) == auc_pr(far, labels)
    assert vus_pr(near, labels) > vus_pr(far, labels)


def test_nothing_anomalous_has_no_area() -> None:
    assert np.isnan(vus_pr([1.0, 2.0], [0, 0]))
    assert np.isnan(auc_pr([1.0, 2.0], [0, 0]))


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(InvalidData, match="NaN"):
        vus_pr([1.0, np.nan], [0, 1])
    with pytest.raises(InvalidData, match="one label a row"):
        auc_pr([1.0, 2.0, 3.0], [0, 1])
    with pytest.raises(InvalidData, match="2 thresholds"):
        vus_pr([1.0, 2.0], [0, 1], thresholds=1)
