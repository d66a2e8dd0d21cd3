"""Loading recorded data for training."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import InvalidData
from training.data import load, median_step_ms

HEADER = "ts,asset,heat,flow,anomaly\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_assets_are_told_apart_and_sorted_by_time(tmp_path: Path) -> None:
    file = write(tmp_path / "plant.csv", HEADER + "2000,b,3,4,0\n1000,a,1,2,0\n1000,b,5,,1\n")
    data = load([file])
    assert [history.asset for history in data.histories] == ["a", "b"]
    assert data.histories[1].ts.tolist() == [1_000_000_000, 2_000_000_000]
    np.testing.assert_array_equal(data.histories[1].values, [[5, np.nan], [3, 4]])
    assert data.rows == 3


def test_labels_are_never_channels(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "ts,heat,anomaly,changepoint,label\n1000,1,0,0,0\n")
    assert load([file]).channels == ("heat",)


def test_files_of_one_asset_are_joined_in_time_and_a_channel_one_lacks_is_missing_there(tmp_path: Path) -> None:
    later = write(tmp_path / "later.csv", "ts,heat,flow\n2000,3,4\n")
    earlier = write(tmp_path / "earlier.csv", "ts,heat\n1000,1\n")
    (history,) = load([later, earlier], asset="pump").histories
    assert history.asset == "pump"
    np.testing.assert_array_equal(history.values, [[1, np.nan], [3, 4]])


def test_one_asset_can_be_picked(tmp_path: Path) -> None:
    file = write(tmp_path / "plant.csv", HEADER + "1000,a,1,2,0\n1000,b,5,6,0\n")
    assert [history.asset for history in load([file], asset="b").histories] == ["b"]
    with pytest.raises(InvalidData, match="no asset 'c', only a, b"):
        load([file], asset="c")


def test_narrow_rows_of_one_time_are_one_reading(tmp_path: Path) -> None:
    rows = "asset,channel,ts,value\na,heat,1000,1\na,flow,1000,2\na,heat,2000,3\n"
    data = load([write(tmp_path / "narrow.csv", rows)])
    np.testing.assert_array_equal(data.histories[0].values, [[1, 2], [3, np.nan]])


def test_an_infinite_value_is_a_missing_one(tmp_path: Path) -> None:
    (history,) = load([write(tmp_path / "a.csv", "ts,heat\n1000,inf\n2000,-inf\n3000,1\n")]).histories
    np.testing.assert_array_equal(history.values[:, 0], [np.nan, np.nan, 1])


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    (history,) = load([write(tmp_path / "a.csv", "ts,heat\n2026-01-01T00:00:00,1\n")]).histories
    assert history.ts[0] == int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9


def test_the_digest_changes_with_the_data(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.csv", "ts,x\n1000,1\n"), write(tmp_path / "b.csv", "ts,x\n1000,2\n")
    assert load([one]).sha256 != load([other]).sha256
    assert load([one]).sha256 == load([one]).sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,heat\n1,2\n", "'ts'"),
        ("ts,heat\nyesterday,2\n", "'ts'"),
        ("ts,heat\n1000,warm\n", "'heat'"),
        ("ts,anomaly\n1000,1\n", "channel"),
        ("", "empty"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_column(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path / "bad.csv", text)
    with pytest.raises(InvalidData, match=words) as caught:
        load([file])
    assert "bad.csv" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"nowhere\.parquet: no such file"):
        load([tmp_path / "nowhere.parquet"])


def test_the_period_is_the_median_step(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "ts,x\n0,1\n5000,1\n10000,1\n10000,1\n99000,1\n104000,1\n")
    assert median_step_ms(load([file]).histories) == 5000
