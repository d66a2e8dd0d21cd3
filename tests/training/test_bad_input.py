"""Bad training data, through the command: one sentence that says what would be enough, and nothing half-written."""

import re
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.errors import InvalidData
from monitor.modelfile import current_version
from training import cli, fit
from training.arguments import FitArgs
from training.checks import check_periods, notes_on_times
from training.data import load, with_channels
from training.output import whole_version
from training.splits import enough_readings

ROWS = 1200
SECOND = 1000

Fit = Callable[..., tuple[int, str]]


def pump(rows: int = ROWS) -> dict[str, np.ndarray]:
    """Two channels that follow one load, once a second."""
    load, noise = np.sin(np.arange(rows) / 20), np.random.default_rng(0).normal(0, 0.05, (2, rows))
    return {"ts": np.arange(rows) * SECOND, "heat": load + noise[0], "flow": 20 * load + noise[1]}


def write(path: Path, columns: dict[str, np.ndarray]) -> Path:
    ts = pa.array(columns["ts"], pa.timestamp("ms"))
    pq.write_table(pa.table(columns | {"ts": ts}), path)
    return path


@pytest.fixture
def fitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fit:
    """Fit columns with the command; gives the exit code and what stderr says."""

    def run(columns: dict[str, np.ndarray], *words: str) -> tuple[int, str]:
        file = write(tmp_path / "pump.parquet", columns)
        argv = ["tocsin-train", "fit", str(file), "--out", str(tmp_path / "models"), "--family", "pca", *words]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def with_changes(**changes: np.ndarray) -> dict[str, np.ndarray]:
    return pump() | changes


EMPTY = np.full(ROWS, np.nan)
UNTIL_LATE = np.where(np.arange(ROWS) < 1000, np.nan, 1.0)
HALF_A_MINUTE = np.r_[np.arange(ROWS // 2) * SECOND, ROWS // 2 * SECOND + np.arange(ROWS // 2) * 60 * SECOND]
AN_HOUR_EACH = np.r_[np.arange(ROWS - 20) * SECOND, (ROWS - 20) * SECOND + np.arange(20) * 60 * SECOND]
TWO_MACHINES = np.repeat(np.arange(ROWS // 2) * SECOND, 2)

REFUSED = {
    "too short": (pump(100), r"only 17 windows .* 32 are needed: give more data \(\d+ readings are enough"),
    "one reading": (pump(1), r"give more data|--period|no period"),
    "constant": (
        with_changes(heat=np.ones(ROWS), flow=np.zeros(ROWS)),
        "no channel ever changes .* one channel that",
    ),
    "all NaN": (with_changes(heat=EMPTY, flow=EMPTY), "none of the 2 channels has any value: .* at least one"),
    "NaN at first": (with_changes(heat=UNTIL_LATE, flow=UNTIL_LATE), "oldest 70% .* leave the empty beginning out"),
    "one time": (with_changes(ts=np.zeros(ROWS, int)), "times?.*'(ts|asset)'"),
    "two machines in one": (with_changes(ts=TWO_MACHINES), "600 of 1200 readings have the time .* column 'asset'"),
    "mixed by readings": (with_changes(ts=HALF_A_MINUTE), "data has readings .* and not .* --period 60000"),
    "mixed by time": (with_changes(ts=AN_HOUR_EACH), "52% of the data has readings 60 s apart, and not 1 s"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_data_is_refused_in_one_sentence_and_leaves_nothing(fitting: Fit, tmp_path: Path, case: str) -> None:
    columns, words = REFUSED[case]
    code, told = fitting(columns)
    assert code == 1
    assert re.fullmatch(f"tocsin-train: [^\n]*({words})[^\n]*\n", told), told
    assert not (tmp_path / "models").exists()


def test_unsorted_readings_are_sorted_with_a_note_and_give_the_same_model(fitting: Fit, tmp_path: Path) -> None:
    assert fitting(pump(), "--name", "sorted") == (0, "")
    order = np.random.default_rng(0).permutation(ROWS)
    code, told = fitting({name: values[order] for name, values in pump().items()}, "--name", "shuffled")
    assert (code, told.count("\n")) == (0, 1)
    assert re.match(r"note: \d+ of 1200 readings were not in the order of their times and have been sorted", told)
    one, other = (export_of(tmp_path / "models" / name) for name in ("sorted", "shuffled"))
    assert one == other


def export_of(directory: Path) -> object:
    from monitor.scoring import load_model

    return load_model(directory, "cpu").metadata.calibration


def test_assets_one_after_the_other_in_a_file_are_in_order(tmp_path: Path) -> None:
    columns = {name: np.concatenate([values, values]) for name, values in pump(300).items()}
    file = write(tmp_path / "two.parquet", columns | {"asset": np.repeat(["a", "b"], 300)})
    assert notes_on_times(load([file])) == []


def test_the_same_reading_twice_is_noted_and_harmless(fitting: Fit) -> None:
    twice = {name: np.r_[values, values[:300]] for name, values in pump().items()}
    code, told = fitting(twice)
    assert code == 0
    assert "300 of 1500 readings have the time of another one of their asset, 0 of them with other values" in told


def test_a_few_equal_times_with_other_values_are_noted_as_when_the_clocks_change(fitting: Fit) -> None:
    columns = pump()
    columns["ts"][600:] -= 40 * SECOND
    code, told = fitting(columns)
    assert code == 0
    assert "40 of 1200 readings have the time of another one of their asset, 40 of them" in told


def test_equal_times_of_narrow_rows_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "narrow.csv"
    rows = [f"a,{channel},{number * 1000},{number}" for number in range(50) for channel in ("x", "y", "y")]
    file.write_text("\n".join(["asset,channel,ts,value", *rows]))
    with pytest.raises(InvalidData, match="50 of 50 readings have the time of another"):
        notes_on_times(load([file]))


def test_a_period_that_suits_all_is_enough_for_mixed_data(fitting: Fit) -> None:
    columns = pump(12000)
    columns["ts"] = np.r_[np.arange(6000) * SECOND, 6_000_000 + np.arange(6000) * 10 * SECOND]
    assert fitting(columns)[0] == 1
    assert fitting(columns, "--period", "10000") == (0, "")


def test_gaps_lost_readings_and_jitter_are_no_mixed_periods(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    columns = pump(4000)
    columns["ts"] = columns["ts"] + random.integers(-300, 300, 4000) + np.where(np.arange(4000) > 2000, 10**8, 0)
    kept = np.sort(random.choice(4000, 2800, replace=False))
    file = write(tmp_path / "p.parquet", {name: values[kept] for name, values in columns.items()})
    check_periods(load([file]).histories)


def test_what_is_said_to_be_enough_is_enough(fitting: Fit) -> None:
    for window, stride in ((16, 4), (10, 3), (32, 32)):
        words = "--window", str(window), "--stride", str(stride)
        enough = enough_readings(window, stride, 1)
        assert fitting(pump(enough), *words)[0] == 0
        assert fitting(pump(enough // 2), *words)[0] == 1


def test_data_with_fewer_channels_than_the_model_is_refused_and_more_are_left_out(tmp_path: Path) -> None:
    data = load([write(tmp_path / "p.parquet", pump())])
    assert with_channels(data, ["flow"], "pump 1").histories[0].values.shape == (ROWS, 1)
    with pytest.raises(InvalidData, match="lacks 2 of the 3 channels of pump 1: speed, dust; give data with all"):
        with_channels(data, ["heat", "speed", "dust"], "pump 1")


def test_a_full_disk_leaves_nothing_and_the_model_in_service(fitting: Fit, tmp_path: Path) -> None:
    directory = tmp_path / "models" / "pump"
    assert fitting(pump())[0] == 0
    before = sorted(directory.rglob("*"))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = write(tmp_path / "pump.parquet", pump())
    assert file.stat().st_size > 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, most[1]))  # room for the model, not for its report
    try:
        with pytest.raises(OSError, match="too large"):
            fit.fit(FitArgs(files=(file,), name="pump", out=tmp_path / "models", family="pca"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert sorted(directory.rglob("*")) == before
    assert current_version(directory) == "1"


def interrupted(directory: Path) -> None:
    with whole_version(directory) as (_, folder):
        (folder / "model.onnx").write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_interruption_leaves_nothing_but_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "models" / "pump")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_version_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    with whole_version(tmp_path) as (version, folder):
        (folder / "model.onnx").write_bytes(b"whole")
        assert not list((tmp_path / version).iterdir())
        assert not (tmp_path / "current").exists()
    assert (tmp_path / version / "model.onnx").read_bytes() == b"whole"
    assert current_version(tmp_path) == version
    assert not folder.exists()
