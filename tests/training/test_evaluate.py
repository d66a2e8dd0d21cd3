"""Evaluation on labelled data: what it counts, what the labels may not change, and what it refuses."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.errors import InvalidData
from monitor.recording import Recording
from monitor.scoring import Model, load_model
from training import cli, labelled
from training.arguments import FitArgs
from training.evaluate import EvaluateArgs, Evaluation, assess, counts, evaluate
from training.evaluate import table as printed
from training.fit import fit
from training.labelled import Details
from training.measures.events import Incidents

ROWS, TESTED = 900, 600
FAULTS = (100, 160), (400, 440)


def table(first: int, rows: int, seed: int, faults: tuple[tuple[int, int], ...] = ()) -> pa.Table:
    """A pump in seconds from that row on: two channels that follow one load, except in a fault; labels with them."""
    random = np.random.default_rng(seed)
    load = np.sin(np.arange(first, first + rows) / 20)
    values = np.stack([load, 20 * load], axis=1) + random.standard_normal((rows, 2)) * (0.05, 1.0)
    labels = np.zeros(rows, np.int8)
    for begin, end in faults:
        labels[begin:end] = 1
        values[begin:end, 1] += 60
    ts = pa.array(np.arange(first, first + rows) * 1000, pa.timestamp("ms"))
    return pa.table({"ts": ts, "flow": values[:, 0], "pressure": values[:, 1], "anomaly": labels})


def write(path: Path, content: pa.Table) -> Path:
    pq.write_table(content, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("evaluate")
    train = write(folder / "one.parquet", table(0, ROWS, 1))
    return train, write(folder / "two.parquet", table(ROWS, TESTED, 2, FAULTS))


def arguments(train: Path, test: Path, **changes: object) -> EvaluateArgs:
    fitting = FitArgs(files=(), name="pump", family="pca", latent=2, window=8, stride=2)
    return EvaluateArgs(**{"train": train, "test": test, "budget": 5.0, "fitting": fitting} | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model that `found` is of."""
    place = {"files": files[:1], "out": tmp_path_factory.mktemp("models")}
    return load_model(fit(msgspec.structs.replace(arguments(*files).fitting, **place)).model, "cpu")


def assessed(model: Model, *files: Path) -> Details:
    train, test = (labelled.read(path, "anomaly") for path in files)
    return assess(model, train, labelled.of_one_asset(train, test, (files[0], files[1])), 5.0)[0]


@pytest.fixture(scope="module")
def found(files: tuple[Path, Path]) -> tuple[Evaluation, Details]:
    return evaluate(arguments(*files))


def test_faults_are_found_and_counted(found: tuple[Evaluation, Details]) -> None:
    figures, _ = found
    assert (figures.events, figures.events_detected, figures.rows_anomalous) == (2, 2, 100)
    assert figures.vus_pr > figures.baselines["flag_everything"].vus_pr
    assert figures.recall > 0.9
    assert figures.delay_s_median == 1.0  # known when the first window that reaches into the fault is closed
    assert figures.rows_not_scored == 0  # the end of the first file fills the first windows of the second


def test_a_score_stands_for_the_newest_stride_of_its_window(found: tuple[Evaluation, Details]) -> None:
    _, details = found
    assert (details.score[0::2] != details.score[1::2]).any()
    bucket = details.ts // 1_000_000_000
    ends = -(-bucket // 2)
    for end in np.unique(ends):
        assert len(set(details.score[ends == end])) == 1


def test_an_incident_flags_its_rows_from_raise_to_clear(found: tuple[Evaluation, Details]) -> None:
    _, details = found
    clock = details.ts - details.ts[0]
    starts, ends = details.incidents.starts, details.incidents.ends
    inside = ((clock[:, None] >= starts) & (clock[:, None] < ends)).any(axis=1)
    np.testing.assert_array_equal(details.flagged, inside)


def test_labels_change_neither_scores_nor_alarms(
    files: tuple[Path, Path], found: tuple[Evaluation, Details], tmp_path: Path
) -> None:
    shuffled = []
    for seed, path in enumerate(files):
        content = pq.read_table(path)
        labels = np.random.default_rng(seed).permutation(np.arange(len(content)) % 7 == 0).astype(np.int8)
        shuffled.append(write(tmp_path / path.name, content.set_column(3, "anomaly", pa.array(labels))))
    figures, details = evaluate(arguments(shuffled[0], shuffled[1]))
    assert figures.rows_anomalous != found[0].rows_anomalous
    np.testing.assert_array_equal(details.score, found[1].score)
    np.testing.assert_array_equal(details.flagged, found[1].flagged)


def test_rows_dropped_at_the_start_leave_the_alarms_on_the_rest(
    files: tuple[Path, Path], model: Model, found: tuple[Evaluation, Details], tmp_path: Path
) -> None:
    drop = int(np.random.default_rng().integers(10, 90))
    test = write(tmp_path / "two.parquet", pq.read_table(files[1]).slice(drop))
    details = assessed(model, files[0], test)
    full = 8 + 2  # buckets until every window is whole
    np.testing.assert_array_equal(details.score[full:], found[1].score[drop + full :])
    np.testing.assert_array_equal(details.flagged[full:], found[1].flagged[drop + full :])


def test_any_column_can_hold_the_labels_and_is_not_learnt_from(files: tuple[Path, Path], tmp_path: Path) -> None:
    named = [
        write(tmp_path / path.name, pq.read_table(path).rename_columns(["ts", "flow", "pressure", "attack"]))
        for path in files
    ]
    figures, details = evaluate(arguments(named[0], named[1], label="attack"))
    assert details.channels == ("flow", "pressure")
    assert figures.events == 2


def test_rows_of_windows_that_are_hardly_observed_have_no_score_and_no_flag(
    files: tuple[Path, Path], model: Model, tmp_path: Path
) -> None:
    content = pq.read_table(files[1])
    gone = np.arange(TESTED) >= 300
    for number, name in ((1, "flow"), (2, "pressure")):
        content = content.set_column(number, name, pa.array(content[name].to_numpy(), mask=gone))
    details = assessed(model, files[0], write(tmp_path / "two.parquet", content))
    assert counts(details, 1_000_000_000)["rows_not_scored"] == (~details.scored).sum() > 280
    assert set(details.score[~details.scored]) == {details.score.min()}
    assert not details.flagged[~details.scored].any()


def test_assets_of_one_file_do_not_share_incidents_or_segments(
    files: tuple[Path, Path], model: Model, tmp_path: Path
) -> None:
    paths = []
    for path in files:
        content = pq.read_table(path)
        both = [content.append_column("asset", pa.array([name] * len(content))) for name in ("a", "b")]
        paths.append(write(tmp_path / path.name, pa.concat_tables(both)))
    details = assessed(model, paths[0], paths[1])
    figures = counts(details, 1_000_000_000)
    assert (figures["events"], figures["rows"], figures["rows_anomalous"]) == (4, 2 * TESTED, 200)
    assert figures["events_detected"] == 4
    np.testing.assert_array_equal(details.flagged[:TESTED], details.flagged[TESTED:])


def test_an_alarm_open_at_the_end_is_counted_and_ends_there() -> None:
    ts = np.arange(20, dtype=np.int64) * 1_000_000_000
    labels = np.arange(20) >= 15
    one = np.array([10], np.int64) * 1_000_000_000
    details = Details(
        asset=np.zeros(20, np.int64),
        ts=ts,
        labels=labels,
        scored=np.ones(20, np.bool_),
        score=np.arange(20.0),
        channel_score=np.zeros((20, 1)),
        flagged=np.arange(20) >= 10,
        incidents=Incidents(one, one * 2, one + 1_000_000_000),
        spans=np.array([[15, 20]], np.int64) * 1_000_000_000,
        channels=("flow",),
    )
    figures = counts(details, 1_000_000_000)
    assert (figures["alarms"], figures["false_alarms"], figures["events_already_open"]) == (1, 0, 1)
    assert figures["precision"] == 0.5
    assert figures["alarms_per_day"] == pytest.approx(86_400 / 20)


def refused(args: EvaluateArgs) -> str:
    with pytest.raises(InvalidData) as error:
        evaluate(args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_label_column_is_named_with_those_there_are(files: tuple[Path, Path]) -> None:
    assert "no column 'fault' with labels, only ts, flow, pressure" in refused(arguments(*files, label="fault"))


def test_what_cannot_be_evaluated_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = files
    assert "no row is labelled" in refused(arguments(train, write(tmp_path / "a.parquet", table(ROWS, 100, 3))))
    other = pq.read_table(test).rename_columns(["ts", "x", "y", "anomaly"])
    assert "no channel in common" in refused(arguments(train, write(tmp_path / "b.parquet", other)))
    assert "is older than" in refused(arguments(test, write(tmp_path / "d.parquet", table(0, 300, 4, FAULTS[:1]))))
    assert "800 rows of" in refused(arguments(train, write(tmp_path / "e.parquet", table(0, ROWS, 1, FAULTS))))


def test_times_that_were_made_up_for_both_files_are_noted(files: tuple[Path, Path]) -> None:
    train, test = (labelled.read(path, "anomaly") for path in files)
    again = Recording(train.assets, test.asset, test.ts - test.ts[0], test.channels, test.values, test.labels)
    (note,) = labelled.check(train, again, files, "anomaly")
    assert "overlap" in note


def test_a_test_without_a_channel_of_the_model_is_refused(
    files: tuple[Path, Path], model: Model, tmp_path: Path
) -> None:
    fewer = write(tmp_path / "two.parquet", pq.read_table(files[1]).drop_columns(["flow"]))
    with pytest.raises(InvalidData, match="lacks 1 of the 2 channels of the model: flow"):
        assessed(model, files[0], fewer)


def test_the_first_file_leads_into_the_second_only_where_they_meet() -> None:
    def rows(asset: str, first: int, count: int) -> Recording:
        ts = np.arange(first, first + count, dtype=np.int64)
        return Recording([asset], np.zeros(count, np.int32), ts, ["x"], np.zeros((count, 1), np.float32))

    train = rows("a", 0, 100)
    assert labelled.lead(train, rows("a", 100, 5), 1, 10).ts.tolist() == list(range(90, 100))
    assert len(labelled.lead(train, rows("a", 200, 5), 1, 10)) == 0
    assert len(labelled.lead(train, rows("b", 100, 5), 1, 10)) == 0


def test_the_command_prints_one_json_object_with_plain_keys(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = (str(path) for path in files)
    cli.app(["evaluate", train, test, "--family", "pca", "--latent", "2", "--json"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[0])
    assert len(lines) == 1
    wanted = "vus_pr auc_pr f1 precision recall false_alarms_per_day alarms_per_day seconds family baselines"
    assert set(wanted.split()) <= set(found)
    assert found["baselines"].keys() == {"flag_everything", "last_value", "windowed_pca"}


def test_a_person_is_told_the_same(found: tuple[Evaluation, Details]) -> None:
    said = printed(found[0])
    assert "window 100, 250 thresholds" in said
    assert "2 of 2 detected" in said
