"""Contaminated training data: what does not fit is left out and listed, what may be a way of working stays."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from training.arguments import FitArgs
from training.crossfit import cross_fitted
from training.data import DataSet, History
from training.fit import fit
from training.splits import Part
from training.trim import LEFT_OUT, LONG, Suspect, find_suspects, table, without

ROWS = 4000
SECOND = 1_000_000_000
GRID = 1000, 16, 4, 0.5  # period, window, stride, share observed


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def plant(seed: int = 0) -> np.ndarray:
    """Four channels of one load with noise of their own, (N, 4)."""
    random = np.random.default_rng(seed)
    load = np.sin(np.arange(ROWS) / 25) + 0.3 * np.sin(np.arange(ROWS) / 7)
    gains = np.array([1.0, -50.0, 0.01, 3.0])
    values = (load[:, None] + random.normal(0, 0.1, (ROWS, 4))) * gains + 10 * gains
    return values.astype(np.float32)


def recorded(*values: np.ndarray) -> DataSet:
    histories = [History(f"a{n}", np.arange(len(each)) * SECOND, each) for n, each in enumerate(values)]
    return DataSet(("w", "x", "y", "z"), tuple(histories), "")


def suspects(values: np.ndarray, share: float = 0.03) -> list[Suspect]:
    return find_suspects(recorded(values), *GRID, share)


def trimmed(found: list[Suspect]) -> list[Suspect]:
    return [one for one in found if one.trimmed]


@pytest.mark.parametrize("seed", range(3))
def test_clean_data_stays_whole(seed: int) -> None:
    assert trimmed(suspects(plant(seed))) == []


@pytest.mark.parametrize("at", [60, 1500, 3000])
def test_a_fault_is_left_out_with_its_time_and_its_channel(at: int) -> None:
    values = plant()
    values[at : at + 30, 1] += 200  # four deviations
    data = recorded(values)
    (one,) = trimmed(find_suspects(data, *GRID, 0.03))
    assert one.start <= at * SECOND
    assert (at + 30) * SECOND <= one.end <= (at + 30 + 32) * SECOND
    assert one.channels[0] == "x"
    assert len(without(data, [one]).histories[0].ts) >= 0.97 * ROWS


def test_of_the_newest_part_no_more_than_its_own_share_is_left_out() -> None:
    values = plant()
    values[3600:3630, 1] += 200
    (kept,), (left_out,) = suspects(values, 0.03), suspects(values, 0.09)
    assert (kept.start, kept.verdict) == (left_out.start, LONG)
    assert left_out.trimmed


def test_a_broken_correlation_is_found_though_every_value_is_usual() -> None:
    values = plant()
    values[2000:2040, 3] = values[2078:2118, 3]  # half a swing of the load later
    assert [one.channels[0] for one in trimmed(suspects(values))] == ["z"]


def test_only_the_asset_with_the_fault_loses_readings() -> None:
    broken = plant(1)
    broken[700:720] = 0
    data = recorded(plant(), broken)
    (one,) = trimmed(find_suspects(data, *GRID, 0.03))
    assert one.asset == "a1"
    cleaned = without(data, [one]).histories
    assert len(cleaned[0].ts) == ROWS > len(cleaned[1].ts)
    assert not (cleaned[1].values == 0).any()


@pytest.mark.parametrize("starts", [(500, 1500, 2500, 3500), (700, 3000)])
def test_a_mode_that_recurs_stays(starts: tuple[int, ...]) -> None:
    values = plant()
    for start in starts:
        values[start : start + 40, 0] += 6
        values[start : start + 40, 1] -= 200
    assert trimmed(suspects(values)) == []


def test_a_mode_that_lasts_stays_and_its_ends_are_listed() -> None:
    values = plant()
    values[3000:3400, 2] += 0.08
    found = suspects(values)
    assert trimmed(found) == []
    assert [one.channels[0] for one in found] == ["y", "y"]


def test_what_lasts_longer_than_may_be_left_out_stays_and_is_listed() -> None:
    values = plant()
    values[2000:2200, 3] += np.random.default_rng(0).normal(0, 20, 200)
    assert [(one.channels[0], one.verdict) for one in suspects(values)] == [("z", LONG)]


def test_rare_spikes_of_a_heavy_tailed_channel_stay() -> None:
    values = plant()
    values[:, 3] += np.random.default_rng(0).standard_t(2, ROWS) * 0.3
    assert trimmed(suspects(values)) == []


def test_slow_drift_and_a_new_level_stay() -> None:
    values = plant()
    values[:, 0] += np.linspace(0, 8, ROWS)
    values[2500:, 3] += 30
    assert trimmed(suspects(values)) == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.02, 0.05])
def test_no_more_than_the_share_is_left_out_the_worst_first(share: float) -> None:
    values = plant()
    for number, (start, channel) in enumerate([(300, 0), (1300, 1), (2300, 2), (3300, 3)]):
        values[start : start + 20, channel] *= 2 + number
    data = recorded(values)
    found = find_suspects(data, *GRID, share)
    assert data.rows - without(data, found).rows <= share * ROWS
    scores = [one.score for one in found if one.trimmed]
    assert scores == sorted(scores, reverse=True)
    assert len(found) >= 4


def test_gaps_missing_and_constant_channels_are_no_suspects() -> None:
    values = plant()
    values[1000:1100] = np.nan
    values[2000:2300, 0] = np.nan
    values[:, 2] = 7
    assert suspects(values) == []


def test_every_window_is_judged_by_windows_that_share_no_reading_with_it() -> None:
    """The model is the set of rows that it was fitted on; each window holds its own rows' numbers."""
    window, stride = 8, 2
    last = np.arange(window, 300, stride)
    rows = (last[:, None] - np.arange(window)[::-1])[:, :, None].astype(np.float32)
    part = Part("a", (last + 1) * SECOND, rows)
    seen = cross_fitted(
        [part],
        window * SECOND,
        5,
        fit=lambda windows: set(windows.ravel().tolist()),
        apply=lambda model, windows: np.array([len(model & set(one.ravel().tolist())) for one in windows]),
    )[0]
    assert seen.tolist() == [0] * len(last)


def test_the_table_can_be_read_back() -> None:
    one = Suspect("pump, old", 0, 60 * SECOND, 9.5, ("heat", 'the "x"'), LEFT_OUT)
    (row,) = csv.DictReader(table([one]).splitlines())
    assert row == {
        "asset": "pump, old",
        "start": "1970-01-01T00:00:00Z",
        "end": "1970-01-01T00:01:00Z",
        "score": "9.5",
        "channels": 'heat the "x"',
        "verdict": LEFT_OUT,
    }


def test_a_fit_leaves_the_fault_out_lists_it_and_scores_it_high(tmp_path: Path) -> None:
    values = plant()
    values[2000:2040, 0] = 60
    columns = {name: values[:, number] for number, name in enumerate("wxyz")}
    pq.write_table(
        pa.table({"ts": pa.array(np.arange(ROWS) * 1000, pa.timestamp("ms")), **columns}), tmp_path / "p.parquet"
    )

    def fitted(trim: float):  # type: ignore[no-untyped-def]
        return fit(
            FitArgs(files=(tmp_path / "p.parquet",), name="p", out=tmp_path, family="pca", latent=2, trim=trim)
        )

    listed, cleaned = fitted(0.0), fitted(0.03)
    assert (listed.metadata.metrics["readings_left_out"], len(listed.suspects)) == (0, 1)
    assert 40 <= cleaned.metadata.metrics["readings_left_out"] <= 0.03 * ROWS
    assert cleaned.metadata.channels[0].high < 20 < listed.metadata.channels[0].high
    (row,) = csv.DictReader((cleaned.model.parent / "suspects.csv").open())
    assert (row["start"] < "1970-01-01T00:33:20Z" < row["end"], row["channels"].split()[0]) == (True, "w")
    assert LEFT_OUT in cleaned.report.read_text()
