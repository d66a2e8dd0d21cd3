"""Recorded files become columns sorted by event time, or one sentence that names the file and the column."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.datafiles import (
    Recording,
    asset_name,
    labelled_intervals,
    merge_recordings,
    read_recording,
    write_recording,
)
from monitor.errors import InvalidData

SECOND = 1_000_000_000
NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) * SECOND


def write(folder: Path, columns: dict[str, object], name: str = "pump-7.parquet") -> Path:
    file = folder / name
    table = pa.table(columns)
    if file.suffix == ".csv":
        pa_csv.write_csv(table, file)
    else:
        pq.write_table(table, file)
    return file


def recording_of(asset: str, seconds: list[int], value: float = 1.0, channel: str = "flow") -> Recording:
    n = len(seconds)
    ts = np.array(seconds, np.int64) * SECOND
    return Recording([asset], np.zeros(n, np.int32), ts, [channel], np.full((n, 1), value, np.float32))


@pytest.mark.parametrize("name", ["pump-7.parquet", "pump-7.csv"])
def test_a_wide_file_becomes_channels_and_labels_apart(tmp_path: Path, name: str) -> None:
    times = pa.array([NOON, NOON + SECOND]).cast(pa.timestamp("ns"))
    file = write(tmp_path, {"ts": times, "flow": [1.5, None], "speed": [1450, 1460], "anomaly": [0, 1]}, name)
    recording = read_recording(file)
    assert recording.assets == ["pump-7"]
    assert recording.channels == ["flow", "speed"]
    assert recording.ts.tolist() == [NOON, NOON + SECOND]
    np.testing.assert_array_equal(recording.values, np.float32([[1.5, 1450], [np.nan, 1460]]))
    assert recording.labels is not None
    assert recording.labels.tolist() == [0, 1]
    assert (recording.values.dtype, recording.asset.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize("name", ["file.parquet", "file.csv"])
def test_a_narrow_file_is_gathered_into_one_reading_per_asset_and_time(tmp_path: Path, name: str) -> None:
    rows = [
        ("b", "speed", 2000, 7.0),
        ("a", "flow", 1000, 1.0),
        ("a", "flow", 1000, 2.0),  # the later row wins
        ("a", "speed", 1000, 3.0),
        ("a", "speed", 1000, None),  # but nothing never overwrites a value
    ]
    columns = dict(zip(("asset", "channel", "ts", "value"), map(list, zip(*rows, strict=True)), strict=True))
    recording = read_recording(write(tmp_path, columns, name))
    assert [recording.assets[code] for code in recording.asset] == ["a", "b"]
    flow, speed = recording.channels.index("flow"), recording.channels.index("speed")
    np.testing.assert_array_equal(recording.values[:, flow], np.float32([2, np.nan]))
    np.testing.assert_array_equal(recording.values[:, speed], np.float32([3, 7]))
    assert recording.ts.tolist() == [1 * SECOND, 2 * SECOND]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NOON // SECOND], pa.timestamp("s")),
        pa.array([NOON // 10**6], pa.timestamp("ms", "Europe/Paris")),
        pa.array([NOON // 1000], pa.timestamp("us")),
        pa.array([NOON], pa.timestamp("ns", "UTC")),
        pa.array([NOON // 10**6], pa.int64()),
        pa.array(["2026-01-01T12:00:00.000Z"]),
        pa.array(["2026-01-01 12:00:00"]),
        pa.array(["2026-01-01T14:00:00+02:00"]),
    ],
    ids=lambda times: str(times.type) if not pa.types.is_string(times.type) else times[0].as_py(),
)
def test_event_time_may_have_any_unit(tmp_path: Path, times: pa.Array) -> None:
    assert read_recording(write(tmp_path, {"ts": times, "flow": [1.0]})).ts.tolist() == [NOON]


def test_times_with_and_without_zone_may_be_mixed(tmp_path: Path) -> None:
    times = ["2026-01-01T12:00:00", "2026-01-01T12:00:00Z", "2026-01-01T13:00:00.5+01:00"]
    recording = read_recording(write(tmp_path, {"ts": times, "flow": [1.0, 2.0, 3.0]}))
    assert recording.ts.tolist() == [NOON, NOON, NOON + SECOND // 2]


def test_readings_are_sorted_by_time_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    columns = {"ts": [3000, 1000, 3000, 2000], "asset": ["a", "b", "c", "d"], "flow": [1.0, 2.0, 3.0, 4.0]}
    recording = read_recording(write(tmp_path, columns))
    assert [recording.assets[code] for code in recording.asset] == ["b", "d", "a", "c"]
    assert recording.values[:, 0].tolist() == [2, 4, 1, 3]


def test_a_folder_with_an_equals_sign_is_no_channel(tmp_path: Path) -> None:
    folder = tmp_path / "site=3"
    folder.mkdir()
    assert read_recording(write(folder, {"ts": [1], "flow": [1.0]})).channels == ["flow"]


def test_an_asset_called_007_keeps_its_zeros(tmp_path: Path) -> None:
    file = tmp_path / "plant.csv"
    file.write_text("ts;asset;flow\n1000;007;1.5\n")
    assert read_recording(file).assets == ["007"]


@pytest.mark.parametrize(
    ("path", "asset"),
    [
        ("smd/machine-1-7/test.parquet", "machine-1-7"),
        ("plant/pump-7.csv", "pump-7"),
        ("skab/valve1/3.parquet", "valve1-3"),
    ],
)
def test_the_path_names_the_asset_where_nothing_else_does(path: str, asset: str) -> None:
    assert asset_name(path) == asset


def test_the_argument_names_the_asset_before_the_path_does(tmp_path: Path) -> None:
    assert read_recording(write(tmp_path, {"ts": [1], "flow": [1.0]}), asset="pump-9").assets == ["pump-9"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"time": [1], "flow": [1.0]}, "no column 'ts'"),
        ({"ts": [1], "anomaly": [0]}, "no column with a channel's values"),
        ({"ts": [1], "flow": ["high"]}, "column 'flow' is text"),
        ({"ts": [1, None], "flow": [1.0, 2.0]}, "column 'ts' has no time in row 2"),
        ({"ts": ["noon"], "flow": [1.0]}, "column 'ts' has 'noon' in row 1"),
        ({"ts": [1.5], "flow": [1.0]}, "column 'ts' is double"),
        ({"ts": [2**62], "flow": [1.0]}, "column 'ts' holds a time outside"),
        ({"ts": ["9999-01-01T00:00:00Z"], "flow": [1.0]}, "column 'ts' holds a time outside"),
        ({"ts": [1, 2], "asset": ["a", None], "flow": [1.0, 2.0]}, "column 'asset' is empty in row 2"),
        ({"ts": [1], "asset": ["a"], "channel": ["x"], "value": ["on"]}, "column 'value' is text"),
        ({"ts": pa.array([], pa.int64()), "flow": pa.array([], pa.float32())}, "no readings"),
    ],
)
def test_a_wrong_file_is_one_sentence_naming_file_and_column(
    tmp_path: Path, columns: dict[str, object], sentence: str
) -> None:
    file = write(tmp_path, columns)
    with pytest.raises(InvalidData) as error:
        read_recording(file)
    assert sentence in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 4, 100, -10])
def test_a_half_written_parquet_file_is_refused(tmp_path: Path, kept: int) -> None:
    file = write(tmp_path, {"ts": [1, 2], "flow": [1.0, 2.0]})
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InvalidData, match=r"pump-7\.parquet: (the file is empty|not a complete Parquet file)"):
        read_recording(file)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone.csv", None, "No such file"),
        ("pump.xlsx", b"x", "only .parquet and .csv"),
        ("pump.csv", b"", "is empty"),
        ("pump.csv", b"ts,flow\n", "no readings"),
        ("pump.csv", b"ts,flow\n1,2\n3,4,5\n", "not a complete CSV file"),
        ("pump.csv", b"ts,flow,flow\n1,2,3\n", "'flow' stands twice"),
        ("pump.csv", b"\xff\xfe\x00t\x00s\n\x00\xff", "not a complete CSV file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=sentence):
        read_recording(tmp_path / name)


def test_merged_assets_interleave_by_event_time() -> None:
    first, second = recording_of("a", [1, 3, 5]), recording_of("b", [2, 3, 4], channel="speed")
    merged = merge_recordings([first, second])
    assert [merged.assets[code] for code in merged.asset] == ["a", "b", "a", "b", "b", "a"]
    assert merged.channels == ["flow", "speed"]
    assert np.isnan(merged.values).sum() == 6


def test_merging_keeps_labels_and_takes_unlabelled_files_as_normal() -> None:
    first, second = recording_of("a", [1, 3]), recording_of("b", [2])
    first.labels = np.array([0, 1], np.int8)
    merged = merge_recordings([first, second])
    assert merged.labels is not None
    assert merged.labels.tolist() == [0, 0, 1]


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_labelled_intervals_cover_the_labelled_readings_and_no_other(labels: list[bool]) -> None:
    recording = recording_of("a", list(range(0, 10 * len(labels), 10)))
    recording.labels = np.array(labels, np.int8)
    intervals = labelled_intervals(recording)
    covered = [any(start <= ts < end for _, start, end in intervals) for ts in recording.ts.tolist()]
    assert covered == labels
    assert all(earlier[2] < later[1] for earlier, later in itertools.pairwise(intervals))


def test_intervals_of_interleaved_assets_do_not_cut_each_other() -> None:
    merged = merge_recordings([recording_of("a", [0, 10, 20, 30]), recording_of("b", [5, 15, 25, 35])])
    merged.labels = np.array([0, 0, 1, 0, 1, 0, 0, 1], np.int8)
    assert labelled_intervals(merged) == [
        ("a", 10 * SECOND, 30 * SECOND),
        ("b", 35 * SECOND, 45 * SECOND),
    ]


@pytest.mark.parametrize("name", ["plant.parquet", "plant.csv"])
def test_a_written_recording_reads_back_the_same(tmp_path: Path, name: str) -> None:
    recording = merge_recordings([recording_of("a", [1, 3], 0.1), recording_of("b", [2, 4], 2.5, "speed")])
    recording.labels = np.array([0, 1, 0, 0], np.int8)
    assert write_recording(tmp_path / name, [recording.take(slice(0, 2)), recording.take(slice(2, 4))]) == 4
    back = read_recording(tmp_path / name)
    assert (back.assets, back.channels) == (recording.assets, recording.channels)
    np.testing.assert_array_equal(back.values, recording.values)
    np.testing.assert_array_equal(back.ts, recording.ts)
    np.testing.assert_array_equal(back.labels, recording.labels)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_machines_that_ship_are_read(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath / "monitor" / "demo" / "data" / "smd"
    recording = read_recording(folder / "machine-1-7" / "test.parquet")
    assert recording.assets == ["machine-1-7"]
    assert recording.values.shape[1] == 38
    assert len(labelled_intervals(recording)) >= 4


def test_every_recorded_file_at_hand_is_read(tocsin_data: Path) -> None:
    files = sorted((tocsin_data / "skab").rglob("*.parquet")) + sorted((tocsin_data / "nab").rglob("*.parquet"))
    for file in files:
        recording = read_recording(file)
        assert len(recording) > 1000 or "skab" in file.parts
        assert not {"ts", "anomaly", "changepoint"} & set(recording.channels)
