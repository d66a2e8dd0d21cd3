"""A fit in MLflow, held against a real store in a folder."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.errors import InvalidConfiguration
from tests.require import require
from training import cli, tracking
from training.arguments import FitArgs
from training.fit import fit


def write(path: Path) -> Path:
    ts = pa.array(np.arange(900) * 1000, pa.timestamp("ms"))
    pq.write_table(pa.table({"ts": ts, "heat": np.random.default_rng(0).normal(0, 1, 900)}), path)
    return path


def test_a_fit_is_a_run_with_its_arguments_figures_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(find_spec("mlflow") is not None, "MLflow is missing: pip install 'tocsin[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file://{tmp_path / 'store'}"
    fitted = fit(FitArgs(files=(write(tmp_path / "p.parquet"),), name="pump", out=tmp_path / "models", family="pca"))
    store = tracking.client(uri)
    run = store.get_run(tracking.log(store, uri, fitted))
    assert run.info.run_name == "pump 1"
    assert run.info.status == "FINISHED"
    assert (run.data.params["family"], run.data.params["files"]) == ("pca", "['p.parquet']")
    assert run.data.metrics["windows_train"] == fitted.metadata.metrics["windows_train"]
    assert run.data.tags["sha256"] == fitted.metadata.training.sha256
    kept = Path(store.download_artifacts(run.info.run_id, "model.onnx"))
    assert kept.read_bytes() == fitted.model.read_bytes()
    assert {each.path for each in store.list_artifacts(run.info.run_id)} == {"model.onnx", "report.html"}


def test_a_store_that_cannot_be_used_is_one_sentence_before_anything_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = "fit", write(tmp_path / "p.parquet"), "--out", tmp_path / "models", "--mlflow", "nonsense://here"
    monkeypatch.setattr(sys, "argv", ["tocsin-train", *map(str, argv)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (1, 1)
    assert told.startswith("tocsin-train: mlflow: ")
    assert not (tmp_path / "models").exists()


def test_without_the_package_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as Python marks what is not to be imported
    with pytest.raises(InvalidConfiguration, match=r"pip install 'tocsin\[mlflow\]'"):
        tracking.client("file:///nowhere")
