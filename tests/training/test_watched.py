"""What the daemon's step says of rows, held against the backtest that a person runs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitor.assembly import assemble
from monitor.backtest import backtest
from monitor.errors import InvalidModel
from monitor.recording import Recording
from monitor.scoring import Model
from tests import models
from training.watched import DETECTOR, OPEN, configuration, watch

SECOND = 1_000_000_000
BUDGET = 1000.0  # a day


def recording(values: np.ndarray, assets: int = 1) -> Recording:
    """Both channels have this value (N,) in every second, of each asset, from second 100 on."""
    rows = len(values)
    ts = np.repeat(np.arange(100, 100 + rows, dtype=np.int64), assets) * SECOND
    asset = np.tile(np.arange(assets, dtype=np.int32), rows)
    both = np.repeat(values.astype(np.float32), assets)[:, None].repeat(2, axis=1)
    return Recording([f"pump-{number}" for number in range(assets)], asset, ts, ["a", "b"], both)


@pytest.fixture
def readings() -> Recording:
    """Two assets, with two faults; the second lasts to the end."""
    values = np.random.default_rng(0).uniform(0, 0.2, 200)
    values[50:60] = values[150:] = 3.0
    return recording(values, assets=2)


def test_rows_have_the_score_of_the_window_whose_newest_stride_they_are(readings: Recording, tmp_path: Path) -> None:
    found = watch(models.model(), readings, BUDGET)
    config = configuration(models.metadata(), BUDGET)
    backtest(config, assemble(config, {DETECTOR: models.model()}), readings, tmp_path)
    told = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    score = {(row["asset"], int(row["window_end"].timestamp())): row["score"] for row in told}
    for row in range(len(readings)):
        second = readings.ts[row] // SECOND
        end = -(-second // 2) * 2 + 1  # windows end after an even bucket
        expected = score.get((f"pump-{readings.asset[row]}", int(end)), np.nan)
        assert found.score[row] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found.score).sum() == 2  # the first row of each asset: its window holds nothing else


def test_incidents_are_those_of_the_backtest_and_flag_their_rows(readings: Recording, tmp_path: Path) -> None:
    found = watch(models.model(), readings, BUDGET)
    config = configuration(models.metadata(), BUDGET)
    backtest(config, assemble(config, {DETECTOR: models.model()}), readings, tmp_path)
    events = [json.loads(line) for line in (tmp_path / "incidents.jsonl").read_text().splitlines()]
    assert len(found.incidents.starts) == sum(event["transition"] == "raised" for event in events) == 4
    assert sorted(found.asset.tolist()) == [0, 0, 1, 1]
    assert (found.incidents.raised - found.incidents.starts == 2 * SECOND).all()
    assert (found.incidents.ends == OPEN).sum() == 2
    flagged = found.flagged[readings.asset == 0]
    assert flagged[51:60].all()  # one faulty row of four is not over the limit
    assert flagged[151:].all()
    assert not flagged[:49].any()
    assert not flagged[70:149].any()


def test_rows_of_windows_with_too_little_in_them_have_no_score() -> None:
    values = np.full(40, 0.1)
    values[10:30] = np.nan
    found = watch(models.model(), recording(values), BUDGET)
    assert np.isnan(found.score[16:28]).all()
    assert np.isnan(found.channel_score[16:28]).all()
    assert np.isfinite(found.score[1:10]).all()


def test_a_model_whose_scores_are_not_finite_is_refused() -> None:
    def broken(windows: np.ndarray, outputs: tuple[str, ...]) -> list[np.ndarray]:
        return [np.full_like(each, np.nan) for each in models.score(windows, outputs)]

    with pytest.raises(InvalidModel, match="windows have no finite score"):
        watch(Model(models.metadata(), "none", broken), recording(np.ones(40)), BUDGET)
