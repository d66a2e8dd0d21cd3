"""One model for all assets, for each or for each type, fitted side by side."""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.errors import InvalidConfiguration
from monitor.scoring import load_model
from tests.require import require
from training import cli
from training.arguments import FitArgs
from training.data import load
from training.groups import assets_of, by_asset, by_type, fits
from training.many import GONE, in_processes, on_ray

ROWS = 900
Command = Callable[..., tuple[int, str, str]]


def write(path: Path, assets: dict[str, tuple[str, ...]], rows: int = ROWS) -> Path:
    """Assets with channels that follow one load, in one file."""
    load = np.sin(np.arange(rows) / 20)
    tables = []
    for number, (asset, channels) in enumerate(assets.items()):
        noise = np.random.default_rng(number).normal(0, 0.05, (len(channels), rows))
        columns = {name: load + one for name, one in zip(channels, noise, strict=True)}
        ts = pa.array(np.arange(rows) * 1000, pa.timestamp("ms"))
        tables.append(pa.table({"ts": ts, "asset": pa.array([asset] * rows), **columns}))
    pq.write_table(pa.concat_tables(tables, promote_options="default"), path)
    return path


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Two pumps and a fan with other channels, in one file."""
    return write(
        tmp_path / "plant.parquet", {"pump-1": ("heat", "flow"), "pump-2": ("heat", "flow"), "fan 1": ("speed",)}
    )


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> tuple[int, str, str]:
        argv = "tocsin-train", "fit", "--family", "pca", "--out", tmp_path / "models", *words
        monkeypatch.setattr(sys, "argv", [str(word) for word in argv])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def test_a_type_is_a_pattern_the_first_that_matches_wins() -> None:
    assets = {"pump-1", "pump-2", "fan-1", "fan-9"}
    assert by_type(assets, ["pump-*", "old=*-9", "fan-*"]) == {
        "pump": ("pump-1", "pump-2"),
        "old": ("fan-9",),
        "fan": ("fan-1",),
    }


@pytest.mark.parametrize(
    ("types", "words"),
    [
        (["pump-*"], "none matches fan-1; add one"),
        (["*", "valve*"], "no asset is of type valve; there are fan-1, pump-1"),
        (["=x"], "'=x' is neither"),
    ],
)
def test_types_that_leave_something_open_are_refused(types: list[str], words: str) -> None:
    with pytest.raises(InvalidConfiguration, match=words):
        by_type({"pump-1", "fan-1"}, types)


def test_names_of_assets_become_names_of_models_and_never_the_same() -> None:
    assert set(by_asset({"Pumpe 1/Süd", "_x"})) == {"Pumpe_1_S_d", "x_x"}
    with pytest.raises(InvalidConfiguration, match="would be one model, 'a_b'"):
        by_asset({"a b", "a/b"})


def test_each_fit_reads_only_files_with_its_assets(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.parquet", {name: ("x",)}, 2) for name in ("a", "b")]
    both = write(tmp_path / "both.parquet", {"b": ("x",), "c": ("x",)}, 2)
    where = assets_of([*paths, both])
    made = fits(FitArgs(files=tuple(where), name=""), by_asset({"a", "b", "c"}), where)
    assert {one.name: [path.name for path in one.files] for one in made} == {
        "a": ["a.parquet"],
        "b": ["b.parquet", "both.parquet"],
        "c": ["both.parquet"],
    }


def test_an_asset_is_loaded_with_its_own_channels(plant: Path) -> None:
    assert load([plant], assets=("fan 1",)).channels == ("speed",)
    data = load([plant], assets=("pump-1", "pump-2"))
    assert (data.channels, [history.asset for history in data.histories]) == (("heat", "flow"), ["pump-1", "pump-2"])


@pytest.mark.slow
def test_one_model_for_each_asset(command: Command, plant: Path, tmp_path: Path) -> None:
    code, out, err = command(plant, "--per", "asset", "--jobs", 2)
    assert (code, out.count("\n"), err) == (0, 3, "")
    for name, asset, channels in (("pump-2", "pump-2", ("heat", "flow")), ("fan_1", "fan 1", ("speed",))):
        metadata = load_model(tmp_path / "models" / name, "cpu").metadata
        assert (metadata.training.assets, metadata.channel_names) == ((asset,), channels)


@pytest.mark.slow
def test_one_model_for_each_type_and_a_fit_that_fails_is_told_while_the_others_go_on(
    command: Command, tmp_path: Path
) -> None:
    pumps = write(tmp_path / "pumps.parquet", {"pump-1": ("heat",), "pump-2": ("heat",)})
    short = write(tmp_path / "fan.parquet", {"fan-1": ("speed",)}, 50)
    code, out, err = command(pumps, short, "--type", "fan-*", "--type", "pump-*", "--jobs", 1, "--name", "north")
    assert code == 1
    assert out.startswith(f"{tmp_path / 'models' / 'north-pump' / '1' / 'model.onnx'}: pca, 1 channels")
    first, last = err.splitlines()
    assert first.startswith("tocsin-train: north-fan: only ")
    assert last == "tocsin-train: 1 of 2 models could not be fitted or logged"
    assert load_model(tmp_path / "models" / "north-pump", "cpu").metadata.training.assets == ("pump-1", "pump-2")
    assert not (tmp_path / "models" / "north-fan").exists()


def test_per_type_without_a_type_is_refused_before_anything_is_fitted(command: Command, plant: Path) -> None:
    assert command(plant, "--per", "type")[::2] == (
        1,
        "tocsin-train: per: it is all, asset, or type with at least one --type\n",
    )


class _Deadly(FitArgs, frozen=True):
    """Arguments that end the process that reads them."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (9,)


@pytest.mark.slow
def test_a_process_that_dies_costs_only_its_own_fit(plant: Path, tmp_path: Path) -> None:
    args = FitArgs(files=(plant,), name="", out=tmp_path / "models", family="pca")
    first, second, third = fits(args, by_asset({"pump-1", "pump-2", "fan 1"}), assets_of([plant]))
    deadly = _Deadly(**msgspec.structs.asdict(second))
    outcomes = {one.name: one.error for one in in_processes([first, deadly, third], 2)}
    assert outcomes == {first.name: "", second.name: GONE, third.name: ""}


def test_without_ray_the_sentence_says_how_to_get_it(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python marks what is not to be imported
    with pytest.raises(InvalidConfiguration, match=r"pip install 'tocsin\[ray\]'"):
        next(on_ray([FitArgs(files=(plant,), name="p")], "local"))


@pytest.mark.slow
def test_ray_fits_what_processes_fit(plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(find_spec("ray") is not None, "Ray is missing: pip install 'tocsin[ray]'")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else its workers wait for the tests beside them
    args = FitArgs(files=(plant,), name="", out=tmp_path / "models", family="pca")
    jobs = fits(args, by_asset({"pump-1", "pump-2"}), assets_of([plant]))
    outcomes = list(on_ray([*jobs, msgspec.structs.replace(args, name="bad", window=-1)], "local"))
    assert {one.name: one.error for one in outcomes} == {"pump-1": "", "pump-2": "", "bad": "window: -1 is below 0"}
    assert all(one.fitted.model.is_file() for one in outcomes if one.fitted)
