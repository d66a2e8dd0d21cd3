"""The quality benchmark: its arithmetic, the detectors beside it, and that a page comes of what was measured."""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from tests.bench import quality, quality_budget, quality_nab, quality_recipe, quality_report, quality_smd
from tests.bench.quality_recipe import Figures, Settings
from training.labelled import Details
from training.measures.events import Incidents


def test_pooled_figures_count_every_row_once() -> None:
    one = quality_recipe.counted(np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool))
    two = quality_recipe.counted(np.array([1, 1], bool), np.array([1, 1], bool))
    assert quality_recipe.pooled([one, two]) == {"f1": 6 / 8, "false_alarm_rate": 1 / 2, "missed_rate": 1 / 4}


@pytest.mark.parametrize(("alarms", "low", "high"), [(0, 0.0, 3.689), (20, 12.217, 30.888)])
def test_the_interval_is_the_exact_poisson_one(alarms: int, low: float, high: float) -> None:
    # Garwood's table
    assert quality_budget.interval(alarms) == pytest.approx((low, high), abs=1e-3)


def test_a_set_with_few_expected_alarms_is_not_measurable() -> None:
    results: dict[str, Figures] = {
        "smd/a": {"alarms": 9, "expected": 6.0},
        "smd/b": {"alarms": 3, "expected": 6.0},
        "nab/c": {"alarms": 10, "expected": 25.0},
        "nab/d": {"refused": "too short"},
        "skab/e": {"alarms": 30, "expected": 25.0},
    }
    assert math.isnan(quality_budget.pooled(results, "smd")["ratio"])
    found = quality_budget.figures(results)
    assert (found["budget_ratio_min"], found["budget_ratio_max"]) == (0.4, 1.2)
    assert found["budget_ratio_single"] == 1.5


def test_windowed_gaussian_agrees_with_a_slow_one() -> None:
    values = np.random.default_rng(0).standard_normal(quality_nab.WINDOW + 250) * 3 + 5
    found = quality_nab.windowed_gaussian(values)
    for row in (2, 50, quality_nab.WINDOW, quality_nab.WINDOW + 99, quality_nab.WINDOW + 100, len(values) - 1):
        moved = max(row - quality_nab.WINDOW, 0) // quality_nab.STEP * quality_nab.STEP
        known = values[moved : min(row, moved + quality_nab.WINDOW)]
        expected = -np.log(norm.sf(abs(values[row] - known.mean()) / known.std()))
        assert found[row] == pytest.approx(expected)


def test_an_incident_is_one_detection_until_the_score_is_back_below_the_clear_limit() -> None:
    score = np.concatenate([np.linspace(0, 1, 1000), [2, 0.993, 2, 0, 2]])
    found = np.flatnonzero(quality_nab.raised(score, 1000))
    assert found.tolist() == [1000, 1004]  # at 1001 it is below the raise limit, not below the clear limit


def test_a_detector_sees_only_its_own_past() -> None:
    score = np.random.default_rng(1).standard_normal(500)
    full = quality_nab.raised(score, 100)
    np.testing.assert_array_equal(quality_nab.raised(score[:300], 100), full[:300])
    assert not full[:100].any()


def test_a_channel_that_the_model_leaves_out_ranks_last() -> None:
    none = np.empty(0, np.int64)
    rows = np.ones(4, np.bool_)
    details = Details(
        asset=none,
        ts=none,
        labels=rows,
        scored=rows,
        score=np.ones(4),
        channel_score=np.array([[1.0, 3.0]] * 4, np.float32),
        flagged=rows,
        incidents=Incidents(none, none, none),
        spans=np.empty((0, 2), np.int64),
        channels=("a", "c"),
    )
    scores = quality_smd.every_channel(details, ["a", "b", "c"])
    marks = np.array([[False, True, True]] * 4)
    assert quality_smd.hits(scores, marks, rows)["100"] == [0.5]  # c, then a


def results() -> quality.Results:
    """Two seeds of one case of each set, as the parts give them."""
    ranking = {"vus_pr": 0.5, "auc_pr": 0.4}
    counts = {"true_positives": 5, "false_positives": 1, "true_negatives": 9, "false_negatives": 2}
    rows = counts | ranking | {"f1": 0.7, "false_alarm_rate": 0.1, "missed_rate": 0.2, "alarms": 3}
    rows["beside"] = dict.fromkeys(quality_report.BESIDE, counts | ranking)
    rates = {"150": [0.5, math.nan], "100": [0.25]}
    hits = dict.fromkeys(("hits", "hits_windowed_pca", "hits_random"), rates)
    machine = rows | hits | dict.fromkeys(quality_report.SMD_COLUMNS, 1.0) | {"f1": 0.7, "vus_pr": 0.5}
    found: dict[str, dict[str, Figures]] = {
        "smd": {"machine-1": machine, "machine-2": machine | {"f1": 0.1}, "machine-3": machine | {"f1": 0.3}},
        "budget": {"smd/a": {"alarms": 30, "expected": 25.0}, "nab/b": {"refused": "too short"}},
        "nab": {"taxi": dict.fromkeys(quality_report.NAB_COLUMNS, 50.0)},
        "skab": {"valve1/0": rows},
        "mnist": {"mnist": {"mnist_bce_32": 0.09}},
    }
    return {part: {0: cases, 1: cases} for part, cases in found.items()}


def test_the_last_line_has_every_figure_that_is_asked_for() -> None:
    found = json.loads(quality.last_line(quality.figures(results())))
    assert tuple(found) == quality.ASKED
    assert found["smd_f1_third_best"] == 0.1
    assert found["budget_ratio_max"] == 1.2
    assert found["skab_f1"] == round(10 / 13, 4)
    one = quality.figures({"nab": results()["nab"]})
    assert json.loads(quality.last_line(one))["skab_f1"] is None


@pytest.mark.parametrize(
    ("values", "told"),
    [([], "-"), ([0.5], "0.500"), ([0.5, 0.5], "0.500"), ([3, 3], "3"), ([0.4, 0.6], "0.500 ± 0.141")],
)
def test_a_spread_is_told_where_seeds_make_a_difference(values: list[float], told: str) -> None:
    assert quality_report.spread(values) == told


def test_what_draws_nothing_is_measured_once_and_stands_for_every_seed(tmp_path: Path) -> None:
    (tmp_path / "smd" / "machine-1").mkdir(parents=True)
    (tmp_path / "smd" / "machine-1" / "train.parquet").touch()
    options = argparse.Namespace(quick=False, seeds=3, only=[quality.MNIST, "smd"], family="ensemble")
    todo = quality.tasks(options, tmp_path)
    assert [settings.seed for part, _, settings in todo if part == quality.MNIST] == [0, 1, 2]
    assert {settings.seed for part, _, settings in todo if part == "smd"} == {0}
    measured = {"smd": {0: results()["smd"][0]}, "mnist": results()["mnist"]}
    assert quality.for_each_seed(measured, 2) == {part: results()[part] for part in measured}


def test_the_page_says_what_was_missed_and_what_failed() -> None:
    measured = results()
    measured["skab"][1]["valve1/0"] = {quality.FAILED: "too short"}
    kept, failed = quality.sound(measured)
    page = quality_report.page(kept, quality.figures(kept), failed, "pca", 60)
    assert "| SMD, VUS-PR, mean of four | at least 0.8 | 0.500 | missed |" in page
    assert "## SKAB" not in page
    assert "skab valve1/0, seed 1 failed: too short" in page
    assert "no model: too short" in page


def test_every_case_of_a_data_folder_is_found(tmp_path: Path) -> None:
    for name in ("skab/valve1/10", "skab/valve1/2", "smd/machine-1/train", "nab/realKnownCause/taxi"):
        file = tmp_path / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = {name: part.cases(Settings(tmp_path)) for name, part in quality.PARTS.items()}
    assert found["skab"] == ["valve1/2", "valve1/10"]
    assert found["smd"] == ["machine-1"]
    assert found["nab"] == ["taxi"]
    assert found["budget"] == ["smd/machine-1", "skab/anomaly-free", "nab/taxi"]
