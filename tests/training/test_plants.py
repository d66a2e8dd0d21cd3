"""Data as plants have it: what is odd about one channel never hides a fault in another."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.calibration import p_values
from monitor.scoring import load_model
from training.arguments import FitArgs
from training.fit import fit

ROWS, WINDOW = 3000, 16
ALARM = 0.01  # a window this unlikely is seen


def plant(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """Heat, flow and speed that follow one load, (N, 3), and as a fourth channel what a test makes of it."""
    random = np.random.default_rng(seed)
    load = np.sin(np.arange(rows) / 25) + 0.3 * np.sin(np.arange(rows) / 7)
    values = (load[:, None] + random.normal(0, 0.1, (rows, 4))) * [1.0, 40.0, 0.01, 1.0] + [5.0, 300.0, 0.2, 0.0]
    return values.astype(np.float32)


def gaps(values: np.ndarray, random: np.random.Generator) -> None:
    values[random.random(values.shape) < 0.2] = np.nan
    values[1000:1100] = np.nan


def dead(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] = np.nan


def dies_late(values: np.ndarray, random: np.random.Generator) -> None:
    values[len(values) // 3 :, 3] = np.nan


def constant(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] = 7


def discrete(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] = (np.arange(len(values)) // 200) % 3


def rare_switch(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] = np.arange(len(values)) % 500 < 3


def heavy_tails(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] = random.standard_t(1.5, len(values))


def huge_scale(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] = 1e9 + values[:, 3] * 1e6


def tiny_scale(values: np.ndarray, random: np.random.Generator) -> None:
    values[:, 3] *= 1e-9


def modes(values: np.ndarray, random: np.random.Generator) -> None:
    on = (np.arange(len(values)) // 150) % 2 == 1
    values[on, :3] = values[on, :3] * 0.2 + [20, -100, 3]
    values[:, 3] = on


def sentinel(values: np.ndarray, random: np.random.Generator) -> None:
    values[random.random(len(values)) < 0.01, 3] = -9999


ODD = {
    each.__name__: each
    for each in (
        gaps, dead, dies_late, constant, discrete, rare_switch, heavy_tails, huge_scale, tiny_scale, modes, sentinel
    )
}  # fmt: skip


def fitted(folder: Path, values: np.ndarray, family: str, **changes: object) -> Path:
    columns = {name: values[:, number] for number, name in enumerate(("heat", "flow", "speed", "odd"))}
    pq.write_table(
        pa.table({"ts": pa.array(np.arange(len(values)) * 1000, pa.timestamp("ms")), **columns}), folder / "p.parquet"
    )
    options = {"family": family, "latent": 6, "epochs": 12, "hidden": 64, "learning_rate": 5e-3} | changes
    return fit(FitArgs(files=(folder / "p.parquet",), name="p", out=folder, **options)).model  # type: ignore[arg-type]


def windows(model: Path, values: np.ndarray, ends: list[int]) -> np.ndarray:
    """The windows of these readings that end there, with the model's channels, (B, W, C)."""
    names = load_model(model, "cpu").metadata.channel_names
    known = [("heat", "flow", "speed", "odd").index(name) for name in names]
    return np.stack([values[end - WINDOW : end][:, known] for end in ends]).astype(np.float32)


def judged(model: Path, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p-values (B,) and the channel that leads (B,)."""
    loaded = load_model(model, "cpu")
    scores, shares = loaded.score(batch, ("score", "channel_score"))
    return p_values(loaded.metadata.calibration, scores), shares.argmax(axis=1)


@pytest.mark.parametrize("family", ["pca", pytest.param("dense", marks=pytest.mark.slow)])
@pytest.mark.parametrize("oddity", ODD)
def test_a_fault_in_a_sound_channel_is_found_and_blamed_on_it(tmp_path: Path, oddity: str, family: str) -> None:
    values = plant(ROWS + 600)
    ODD[oddity](values, np.random.default_rng(1))
    model = fitted(tmp_path, values[:ROWS], family)
    ends = list(range(ROWS + WINDOW, ROWS + 600, 8))
    fresh = windows(model, values, ends)
    names = load_model(model, "cpu").metadata.channel_names
    normal, _ = judged(model, fresh)
    faulty = fresh.copy()
    # Three times the load's swing; with two modes, what lies between them is what the scaling takes for usual.
    faulty[:, -8:, names.index("flow")] += 400 if oddity == "modes" else 120
    found, blamed = judged(model, faulty)
    assert (normal < ALARM).mean() <= 0.1
    assert (found < ALARM).mean() >= 0.9
    assert (blamed == names.index("flow")).mean() >= 0.9


@pytest.mark.parametrize("step", [0.5, 1000.0])
def test_a_constant_channel_that_moves_is_noticed_and_does_not_drown_another(tmp_path: Path, step: float) -> None:
    values = plant()
    constant(values, np.random.default_rng(0))
    model = fitted(tmp_path, values, "pca")
    batch = windows(model, values, [2800, 2900])
    batch[:, 8:, 3] += step
    p, blamed = judged(model, batch)
    assert (p < ALARM).all()
    assert (blamed == 3).all()
    batch[:, :, 1] += 400
    assert (judged(model, batch)[1] == 1).all() or step > 100
    scores, shares = load_model(model, "cpu").score(batch, ("score", "channel_score"))
    assert (shares[:, 1] > 0.2 * scores).all()


def test_a_single_channel_has_no_network_that_lets_everything_through(tmp_path: Path) -> None:
    values = plant()[:, :1]
    ts = pa.array(np.arange(len(values)) * 1000, pa.timestamp("ms"))
    pq.write_table(pa.table({"ts": ts, "heat": values[:, 0]}), tmp_path / "p.parquet")
    model = fit(FitArgs(files=(tmp_path / "p.parquet",), name="p", out=tmp_path, family="pca")).model
    spike = np.stack([values[1000:1016], values[1000:1016]])
    spike[1, 8] += 5
    p, _ = judged(model, spike)
    assert p[1] < ALARM < p[0]
