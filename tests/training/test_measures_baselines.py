"""The trivial baselines: causal, standardised on train alone, and what they reach on recorded data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitor.errors import InvalidData
from training.measures import baselines
from training.measures.attribution import expected_by_chance, hit_rates
from training.measures.ranking import vus_pr

ALL = [baselines.flag_everything, baselines.last_value, baselines.mean_z_squared, baselines.windowed_pca]
MACHINES = ("1-6", "1-7", "2-1", "2-8")


def waves(count: int, seed: int) -> np.ndarray:
    """Four channels of two hidden waves with noise: (count, 4)."""
    random = np.random.default_rng(seed)
    hidden = np.column_stack([np.sin(np.arange(count) / 9), np.cos(np.arange(count) / 23)])
    return hidden @ random.normal(size=(2, 4)) + random.normal(0, 0.05, (count, 4)) + 7


def smd(data: Path, machine: str, name: str, *but: str) -> np.ndarray:
    table = pq.read_table(data / "smd" / f"machine-{machine}" / f"{name}.parquet")
    columns = [column for column in table.column_names if column not in ("ts", *but)]
    return np.column_stack([table[column].to_numpy() for column in columns])


def anomaly(data: Path, machine: str) -> np.ndarray:
    path = data / "smd" / f"machine-{machine}" / "test.parquet"
    return pq.read_table(path, columns=["anomaly"])["anomaly"].to_numpy()


@pytest.mark.parametrize("score", ALL)
def test_a_score_hangs_on_no_later_row(score: Callable) -> None:
    train, test = waves(400, 0), waves(200, 0)
    changed = test.copy()
    changed[120:] = 99
    np.testing.assert_allclose(score(train, changed)[:120], score(train, test)[:120])
    np.testing.assert_allclose(score(train, test[:50]), score(train, test)[:50])


@pytest.mark.parametrize("score", ALL[1:])
def test_an_injected_fault_scores_highest(score: Callable) -> None:
    test = waves(200, 0)
    test[150, 1] += 5
    assert abs(int(score(waves(400, 0), test).argmax()) - 150) < baselines.PCA_ROWS


@pytest.mark.parametrize("score", ALL)
def test_missing_values_and_constant_channels_leave_scores_finite(score: Callable) -> None:
    train, test = waves(400, 0), waves(200, 0)
    train[:, 2], train[::7, 1], test[::5, 0], test[:, 3] = 4, np.nan, np.nan, np.nan
    scores = score(train, test)
    assert scores.shape == (200,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("score", ALL[1:])
def test_units_do_not_matter(score: Callable) -> None:
    train, test, units = waves(400, 0), waves(200, 0), np.array([1e-3, 1, 50, 1e4])
    np.testing.assert_allclose(score(train * units, test * units), score(train, test), rtol=1e-6, atol=1e-9)


def test_distances_are_in_training_deviations() -> None:
    train, test = np.array([[0.0, 0], [2, 4]]), np.array([[1.0, 2], [1, 2], [4, 10]])
    np.testing.assert_allclose(baselines.last_value(train, test), [0, 0, np.sqrt((9 + 16) / 2)])
    np.testing.assert_allclose(baselines.mean_z_squared(train, test), [0, 0, (9 + 16) / 2])


def test_a_constant_channel_is_taken_in_its_own_unit() -> None:
    train = np.full((1001, 1), 0.1)
    np.testing.assert_allclose(baselines.mean_z_squared(train, np.array([[0.1], [2.1]])), [0, 4], atol=1e-12)


def test_pca_rebuilds_what_its_training_holds() -> None:
    train = np.sin(np.arange(500) / 7)[:, None] * [1.0, -2.0]
    assert baselines.windowed_pca(train, train[:100], variance=0.9999)[baselines.PCA_ROWS :].max() < 1e-3


def test_rows_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(InvalidData, match="less than one window of 10"):
        baselines.windowed_pca(waves(9, 0), waves(20, 0))
    with pytest.raises(InvalidData, match="same channels"):
        baselines.last_value(waves(9, 0), waves(9, 0)[:, :2])


@pytest.mark.slow
def test_baselines_reach_on_server_machines_what_is_known_of_them(tocsin_data: Path) -> None:
    areas: dict[str, list[float]] = {"last_value": [], "mean_z_squared": [], "windowed_pca": []}
    hits: dict[int, list[np.ndarray]] = {100: [], 150: []}
    for machine in MACHINES:
        train, test = smd(tocsin_data, machine, "train"), smd(tocsin_data, machine, "test", "anomaly")
        truth, labels = smd(tocsin_data, machine, "test_channels"), anomaly(tocsin_data, machine)
        errors = baselines.windowed_pca_channels(train, test)
        areas["windowed_pca"].append(vus_pr(errors.mean(axis=1), labels))
        areas["last_value"].append(vus_pr(baselines.last_value(train, test), labels))
        areas["mean_z_squared"].append(vus_pr(baselines.mean_z_squared(train, test), labels))
        for percent, rates in hits.items():
            rates.append(hit_rates(errors, truth, labels, percent))
    means = {name: np.mean(each) for name, each in areas.items()}
    assert means == pytest.approx({"last_value": 0.440, "mean_z_squared": 0.669, "windowed_pca": 0.647}, abs=1e-3)
    pooled = {percent: np.concatenate(rates).mean() for percent, rates in hits.items()}
    assert pooled == pytest.approx({100: 0.54, 150: 0.69}, abs=5e-3)


def test_a_random_ranking_of_server_channels_reaches_what_is_known_of_it(tocsin_data: Path) -> None:
    drawn, chance = {100: [], 150: []}, {100: [], 150: []}
    random = np.random.default_rng(1)
    for machine in MACHINES:
        truth, labels = smd(tocsin_data, machine, "test_channels"), anomaly(tocsin_data, machine)
        for percent, rates in drawn.items():
            rates.append(hit_rates(random.random(truth.shape), truth, labels, percent))
            chance[percent].append(expected_by_chance(truth, labels, percent))
    assert len(np.concatenate(drawn[100])) == 57
    for percent, known in ((100, 0.24), (150, 0.37)):
        assert np.concatenate(chance[percent]).mean() == pytest.approx(known, abs=0.02)
        assert np.concatenate(drawn[percent]).mean() == pytest.approx(known, abs=0.08)
