"""Fitting from files to a model in service, through the function and through the command."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import monitor
from monitor.calibration import p_values
from monitor.errors import InvalidConfiguration, InvalidData
from monitor.history import history_windows
from monitor.modelfile import INPUT, METADATA_KEY, current_version, parse_metadata, resolve_model
from monitor.scoring import load_model
from training import cli
from training.arguments import FitArgs, check
from training.data import load
from training.fit import Fitted, fit
from training.models import FAMILIES

SMD = Path(monitor.__file__).parent / "demo" / "data" / "smd" / "machine-2-1"


STRANGE = "<b>$heat & \\flow$</b>"


def write(path: Path, rows: int = 1500, noise: float = 0.05) -> Path:
    """A pump in seconds: three channels that follow one load, one that never moves, one without a value."""
    random = np.random.default_rng(0)
    load = np.sin(np.arange(rows) / 20)
    columns: dict[str, object] = {"ts": pa.array(np.arange(rows) * 1000, pa.timestamp("ms"))}
    for name, gain in (("a", 1), ("b", 20), (STRANGE, 0.1)):
        columns[name] = load * gain + noise * gain * random.standard_normal(rows)
    columns |= {"still": np.full(rows, 7.0), "empty": pa.nulls(rows, pa.float32())}
    pq.write_table(pa.table(columns), path)
    return path


def arguments(file: Path, out: Path, **changes: object) -> FitArgs:
    return FitArgs(**{"files": (file,), "name": "pump", "out": out, "family": "pca", "latent": 2} | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory) -> FitArgs:
    folder = tmp_path_factory.mktemp("fit")
    files = write(folder / "one.parquet"), write(folder / "two.parquet")
    return arguments(files[0], folder / "models", files=files)


@pytest.fixture(scope="module")
def fitted(args: FitArgs) -> Fitted:
    return fit(args)


def test_a_fit_puts_a_whole_model_into_service(args: FitArgs, fitted: Fitted) -> None:
    directory = args.out / "pump"
    assert resolve_model(directory) == fitted.model == directory / "1" / "model.onnx"
    assert sorted(path.name for path in fitted.model.parent.iterdir()) == ["model.onnx", "report.html"]


def test_the_file_says_where_it_comes_from(fitted: Fitted) -> None:
    props = {entry.key: entry.value for entry in onnx.load(str(fitted.model)).metadata_props}
    metadata = parse_metadata(props[METADATA_KEY])
    assert metadata == fitted.metadata
    assert metadata.period_ms == 1000
    assert metadata.training.assets == ("one", "two")
    assert metadata.training.rows == 3000
    assert metadata.training.from_ == "1970-01-01T00:00:00.000Z"
    assert metadata.metrics["effective_n"] <= metadata.calibration.n


def test_the_file_keeps_the_arguments_but_no_folder_of_this_machine(args: FitArgs, fitted: Fitted) -> None:
    (text,) = (entry.value for entry in onnx.load(str(fitted.model)).metadata_props if entry.key == METADATA_KEY)
    kept = parse_metadata(text).arguments
    assert kept["files"] == ["one.parquet", "two.parquet"]
    assert {name: kept[name] for name in ("family", "latent", "seed", "trim")} == {
        "family": "pca",
        "latent": 2,
        "seed": args.seed,
        "trim": args.trim,
    }
    assert str(args.out.parent) not in text


def test_a_channel_without_values_is_left_out_and_a_constant_one_is_not(fitted: Fitted) -> None:
    assert fitted.dropped == ("empty",)
    assert fitted.metadata.channel_names == ("a", "b", STRANGE, "still")


def test_the_report_stands_alone_and_escapes_names(args: FitArgs, fitted: Fitted) -> None:
    page = fitted.report.read_text()
    assert "<b>$heat" not in page
    assert "&lt;b&gt;$heat" in page
    assert page.count("<svg") == 5
    assert "src=" not in page
    assert str(args.out.parent) not in page


def test_a_second_fit_is_the_next_version_and_the_one_in_service(args: FitArgs, fitted: Fitted) -> None:
    again = fit(args)
    assert (fitted.metadata.version, again.metadata.version) == ("1", "2")
    assert current_version(args.out / "pump") == "2"
    assert again.metadata.calibration == fitted.metadata.calibration


def test_nothing_is_left_behind_by_a_fit_that_fails(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="are needed"):
        fit(arguments(write(tmp_path / "p.parquet", 100), tmp_path / "models"))
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"window": -1}, "window"),
        ({"min_observed": 2.0}, "min_observed"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"name": "../up"}, "name"),
        ({"precision": "double"}, "precision"),
        ({"family": "psychic"}, "no 'psychic', only adversarial, auto, conv, "),
    ],
)
def test_arguments_that_cannot_work_are_named(tmp_path: Path, changes: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidConfiguration, match=word):
        fit(arguments(tmp_path / "never-read", tmp_path, **changes))


def pulses(path: Path) -> Path:
    """A machine that rests, but for pulses that one component explains exactly: rounding is all that is left."""
    random = np.random.default_rng(0)
    load = np.where(random.random(6000) < 0.012, random.uniform(0.8, 1, 6000), 0.0)
    columns = {f"c{number}": load * gain for number, gain in enumerate((1, 2.7, 0.31))}
    pq.write_table(pa.table({"ts": pa.array(np.arange(6000) * 1000, pa.timestamp("ms")), **columns}), path)
    return path


def weight_types(file: Path) -> set[int]:
    return {tensor.data_type for tensor in onnx.load(str(file)).graph.initializer if len(tensor.dims) == 2}


def test_half_precision_halves_the_weights_and_keeps_the_scores(tmp_path: Path) -> None:
    file = write(tmp_path / "p.parquet", noise=0.5)
    single, half = (
        fit(arguments(file, tmp_path, name=precision, precision=precision)) for precision in ("single", "half")
    )
    assert (single.metadata.precision, half.metadata.precision) == ("single", "half")
    assert onnx.TensorProto.FLOAT16 in weight_types(half.model) - weight_types(single.model)
    windows = np.random.default_rng(0).normal(0, 5, (300, 16, 4)).astype(np.float32)
    windows[:, ::5, 1] = np.nan
    names = ("score", "channel_score")
    expected, found = (load_model(made.model, "cpu").score(windows, names) for made in (single, half))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-5)
    assert half.metadata.metrics["half_differs_by"] <= 1e-3


def test_half_precision_that_changes_scores_is_not_kept_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = pulses(tmp_path / "p.parquet"), tmp_path / "models"
    words = ["--family", "pca", "--latent", "1", "--window", "1", "--stride", "1", "--precision", "half"]
    monkeypatch.setattr(sys, "argv", ["tocsin-train", "fit", str(file), "--out", str(out), *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert re.fullmatch(
        r"half precision was not kept, for it [^\n]*: [^\n]* single precision\n", capsys.readouterr().err
    )
    assert load_model(out / "p", "cpu").metadata.precision == "single"


def test_default_arguments_are_accepted() -> None:
    check(FitArgs(files=(), name="m"))


def command(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training.cli", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mistake_is_one_sentence_and_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tocsin-train", "fit", "nowhere.parquet"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "tocsin-train: nowhere.parquet: no such file\n"


def test_help_does_not_wait_for_pytorch() -> None:
    code = "import sys, training.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_the_command_fits_shipped_data_quietly_and_says_where_the_model_is(tmp_path: Path) -> None:
    result = command(tmp_path, "fit", SMD / "train.parquet", "--epochs", 3)
    assert result.returncode == 0
    assert result.stdout.startswith("models/machine-2-1/1/model.onnx: dense, 38 channels")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["models", "machine-2-1", "1"]


# A wide code gives more back of what is not normal; an ensemble's parts are weaker alone than what they are made for.
LEAST_ORDER = {"overcomplete": 0.65, "cross": 0.6, "kernel": 0.6, "subspace": 0.6}


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_of_real_data_scores_labelled_faults_higher(tmp_path: Path, family: str) -> None:
    train, test = tmp_path / "train.parquet", pq.read_table(SMD / "test.parquet")
    pq.write_table(pq.read_table(SMD / "train.parquet").slice(0, 8000), train)
    metadata = fit(arguments(train, tmp_path, family=family, latent=16, epochs=8)).metadata
    (history,) = load([SMD / "test.parquet"]).histories
    ends, windows = history_windows(history.ts, history.values, metadata.period_ms, metadata.window, metadata.stride)
    session = onnxruntime.InferenceSession(str(resolve_model(tmp_path / "pump")))
    (scores,) = session.run(["score"], {INPUT: windows})
    faults = np.interp(ends, history.ts, test["anomaly"].to_numpy()) > 0
    order = np.searchsorted(np.sort(scores[~faults]), scores[faults]) / np.count_nonzero(~faults)
    # The chance that a faulty window scores above a normal one.
    assert order.mean() > LEAST_ORDER.get(family, 0.7)
    p = p_values(metadata.calibration, scores)
    assert ((p > 0) & (p <= 1)).all()
