"""Family auto: which candidate finds most faults that were put into normal data it has not seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

from monitor.errors import InvalidConfiguration, InvalidData
from training import auto as choice
from training import cli
from training.arguments import FitArgs, check
from training.auto import Candidate, Tried, auto, best, better, longest_wait, trial_of
from training.data import DataSet, History, load
from training.faults import KINDS, Fault, faults, normal_of, of_a_cause, put
from training.fit import fit
from training.learning import Learned, Progress, by_family
from training.models import ENSEMBLE
from training.stretches import Stretch

ROWS, CHANNELS, PERIOD_MS = 1600, 4, 1000
NOTHING = 1e-6  # seconds


def plant(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """Four channels that follow one load, each in its own unit, (N, C)."""
    random = np.random.default_rng(seed)
    load = np.sin(np.arange(rows) / 20)[:, None] * [1, 2, -1, 0.5]
    return ((load + 0.05 * random.standard_normal(load.shape)) * [1, 20, 0.1, 5]).astype(np.float32)


def recorded(values: np.ndarray) -> DataSet:
    ts = np.arange(len(values), dtype=np.int64) * PERIOD_MS * 1_000_000
    return DataSet(tuple("abcd"), (History("pump", ts, values),), "")


def told(**changes: object) -> FitArgs:
    return FitArgs(**{"files": (), "name": "pump", "family": "auto", "latent": 2} | changes)  # type: ignore[arg-type]


class Blunt(nn.Module):
    """A scorer that hears noise only."""

    def __init__(self, scorer: nn.Module) -> None:
        super().__init__()
        self.scorer, self.scaling = scorer, scorer.scaling

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        score, *others = self.scorer(window)
        return torch.zeros_like(score), *others


def blunt(data: DataSet, period_ms: int, args: FitArgs, progress: Progress) -> Learned:
    learned = by_family(data, period_ms, choice.msgspec.structs.replace(args, family="pca"), progress)
    return replace(learned, family=args.family, scorer=Blunt(learned.scorer))


SHARP_AND_BLUNT = Candidate("pca", 1.0), Candidate("blunt", 1.0, blunt)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_candidate_that_finds_nothing_loses_wherever_it_stands(order: tuple[int, int]) -> None:
    candidates = [SHARP_AND_BLUNT[place] for place in order]
    learned = auto(recorded(plant()), PERIOD_MS, told(), candidates=candidates)
    assert learned.family == "pca"
    assert learned.metrics["tried"]["pca"]["found"] > 0.3
    assert learned.metrics["tried"]["blunt"]["found"] == 0
    assert "auto took pca" in learned.metrics["chosen"]


def test_the_choice_and_its_figures_are_the_same_under_a_seed() -> None:
    one, two, other = (
        auto(recorded(plant()), PERIOD_MS, told(seed=seed), candidates=SHARP_AND_BLUNT) for seed in (3, 3, 4)
    )
    assert one.metrics["tried"]["pca"]["found"] == two.metrics["tried"]["pca"]["found"]
    assert one.metrics["chosen"] == two.metrics["chosen"]
    first, again, elsewhere = (trial_of(recorded(plant()), PERIOD_MS, seed).faults for seed in (3, 3, 4))
    assert [fault.start for fault in first] == [fault.start for fault in again]
    assert [fault.start for fault in first] != [fault.start for fault in elsewhere]
    assert other.family == "pca"


def test_with_no_time_the_ensemble_is_taken_and_nothing_else_is_tried() -> None:
    learned = auto(recorded(plant()), PERIOD_MS, told(seconds=NOTHING))
    tried = learned.metrics["tried"]
    assert learned.family == ENSEMBLE
    assert [family for family, told in tried.items() if "found" in told] == [ENSEMBLE]
    assert {told["not_tried"] for family, told in tried.items() if family != ENSEMBLE} == {"no time"}


def test_a_candidate_is_left_when_its_time_is_over() -> None:
    spoken: list[str] = []
    tell = choice.within(0.0, "try slow", lambda stage, done, total: spoken.append(stage))
    with pytest.raises(choice.OutOfTime):
        tell("learn", 1, 40)
    choice.within(100.0, "try slow", lambda stage, done, total: spoken.append(stage))("learn", 1, 40)
    assert spoken == ["try slow"]


def test_descent_ends_when_its_time_is_over() -> None:
    data = recorded(plant())
    trial = trial_of(data, PERIOD_MS, 0)
    late = choice.try_one(Candidate("dense", 1.0), trial, PERIOD_MS, told(), choice.within(0.0, "try", print))
    assert late.found is None
    assert late.why_not == "no time"


def test_what_a_candidate_will_take_is_told_by_those_before() -> None:
    found = np.zeros(4, np.bool_)
    tried = [Tried("a", 1.0, 10.0, found), Tried("b", 3.0, 10.0, found), Tried("c", 9.0, 1.0, why_not="no time")]
    assert longest_wait(2.0, tried) == 10.0
    assert longest_wait(2.0, []) == 0.0


@pytest.mark.parametrize(
    ("gained", "lost", "is_better"), [(4, 0, False), (10, 0, True), (30, 26, False), (30, 5, True)]
)
def test_a_later_candidate_must_be_better_beyond_the_noise(gained: int, lost: int, is_better: bool) -> None:
    kept, later = np.zeros(100, np.bool_), np.zeros(100, np.bool_)
    kept[:lost], later[50 : 50 + gained] = True, True
    assert better(later, kept) is is_better
    assert best([Tried("kept", 1, 1, kept), Tried("later", 1, 1, later)]).family == ("later" if is_better else "kept")  # type: ignore[union-attr]


@given(st.integers(0, 2**20), st.sampled_from([0.0, 0.2]))
@settings(max_examples=20, deadline=None)
def test_a_fault_changes_only_what_it_says(seed: int, missing: float) -> None:
    values = plant(400, seed % 7)
    values[np.random.default_rng(seed).random(values.shape) < missing] = np.nan
    values[:, 3] = 1.0
    part = Stretch("pump", 5, values)
    found = faults([part], [300], normal_of(values), 2, seed)
    assert {fault.kind for fault in found} == set(KINDS)
    for fault in found:
        own, after = put(part, fault).rows, slice(fault.start, fault.start + len(fault.rows))
        differs = ~((own == values) | (np.isnan(own) & np.isnan(values)))
        assert differs.any()
        assert np.array_equal(np.isnan(own), np.isnan(values))
        differs[after, list(fault.channels)] = False
        assert not differs.any()
        assert fault.start >= 300
        assert 3 not in fault.channels


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_of_fault_does_what_its_name_says(kind: str) -> None:
    own, elsewhere = plant(30)[:, 0], plant(30, 1)[:, 0]
    new = KINDS[kind](own, elsewhere, 3.0, np.random.default_rng(0))
    moved = new - own
    holds = {
        "spike": np.allclose(moved, 3, atol=1e-5),
        "shift": np.allclose(moved, 3, atol=1e-5),
        "drift": moved[0] == 0 and abs(moved[-1] - 3) < 1e-5 and (np.diff(moved) > 0).all(),
        "noise": 1.5 < moved.std() < 4.5,
        "stuck": (new == own[0]).all(),
        "apart": (new == elsewhere).all(),
    }
    assert holds[kind]


def test_where_nothing_moves_there_is_no_fault_to_put_in() -> None:
    part = Stretch("pump", 0, np.ones((200, 2), np.float32))
    assert faults([part], [100], normal_of(part.rows), 5, 0) == ()
    assert faults([part], [200], normal_of(plant()[:, :2]), 5, 0) == ()


def test_a_cause_moves_channels_as_they_go_together() -> None:
    values = plant()
    normal = normal_of(values)
    assert np.allclose(normal.correlation, np.corrcoef(values.T.astype(float)), atol=1e-6)
    assert np.allclose(normal.deviations, values.astype(float).std(axis=0))
    channels, new = of_a_cause("shift", values[:20], 3, normal, np.random.default_rng(1))
    moved = (new - values[:20])[:, channels] / normal.deviations[channels]
    assert len(channels) == 3
    assert np.allclose(np.sign(moved[0][:, None] * moved[0]), np.sign(normal.correlation[np.ix_(channels, channels)]))


def test_a_candidate_learns_nothing_of_the_data_that_faults_are_put_into() -> None:
    trial = trial_of(recorded(plant()), PERIOD_MS, 0)
    newest = int(trial.older.histories[0].ts[-1]) // (PERIOD_MS * 1_000_000)
    assert len(trial.older.histories[0].ts) == ROWS * 4 // 5
    assert all(trial.parts[fault.stretch].first + fault.start > newest for fault in trial.faults)


def test_a_fault_that_is_only_found_with_the_limit_broken_before_it_does_not_count() -> None:
    trial = trial_of(recorded(plant()), PERIOD_MS, 0)
    learned = by_family(trial.older, PERIOD_MS, told(family="pca"), lambda *_: None)
    whole = trial.parts[0]
    start = trial.faults[0].start
    same = Fault("shift", 0, start, (0,), whole.rows[start : start + 20])
    assert not choice.found_by(learned, replace(trial, faults=(same,) * 3), PERIOD_MS, 0.5).any()
    assert choice.found_by(learned, trial, PERIOD_MS, 0.5).any()


def test_too_little_data_for_a_trial_is_left_to_the_first_candidate() -> None:
    learned = auto(recorded(plant(300)), PERIOD_MS, told())
    assert learned.family == ENSEMBLE
    assert "untried" in learned.notes[0]
    with pytest.raises(InvalidData, match="only 100 periods"):
        auto(recorded(plant(100)), PERIOD_MS, told())


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"seconds": 0}, "seconds"), ({"window": 16}, "window: auto"), ({"precision": "half"}, "'auto' is none")],
)
def test_what_cannot_be_asked_of_auto_is_said(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidConfiguration, match=says):
        check(told(**changes))


def write(path: Path, label: np.ndarray) -> Path:
    values = plant()
    columns: dict[str, object] = {"ts": pa.array(np.arange(ROWS) * PERIOD_MS, pa.timestamp("ms"))}
    pq.write_table(
        pa.table(columns | {name: values[:, place] for place, name in enumerate("abcd")} | {"anomaly": label}), path
    )
    return path


def test_a_model_says_what_was_tried_and_labels_change_nothing(tmp_path: Path) -> None:
    none, half = np.zeros(ROWS, np.int8), (np.arange(ROWS) > ROWS // 2).astype(np.int8)
    models = [
        fit(
            told(
                files=(write(tmp_path / f"{name}.parquet", label),),
                asset="pump",
                out=tmp_path / name,
                seconds=NOTHING,
            )
        )
        for name, label in (("none", none), ("half", half))
    ]
    one, two = (model.metadata for model in models)
    assert one.family == two.family == ENSEMBLE
    assert one.arguments["family"] == "auto"
    assert one.metrics["tried"][ENSEMBLE]["found"] == two.metrics["tried"][ENSEMBLE]["found"]
    assert one.calibration == two.calibration
    assert "anomaly" not in load([tmp_path / "half.parquet"]).channels
    assert models[0].notes[-1] == one.metrics["chosen"]
    assert "auto took ensemble" in models[0].report.read_text(encoding="utf-8")


def test_the_list_of_families_has_auto_and_the_ensemble() -> None:
    shown = CliRunner().invoke(cli.app, ["families"]).stdout
    assert {"auto", ENSEMBLE, "dense"} <= {line.split()[0] for line in shown.splitlines()}
