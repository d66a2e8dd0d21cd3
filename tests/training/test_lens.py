"""The laws of `tests/laws.py` as they apply to ensembles: what a graph of lenses owes whoever reads its scores."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monitor.modelfile import OUTPUTS
from tests.training.lenses import DEAD, RECIPES, ROWS, STILL, WANDERING, fit, fitted, parts, plant
from training import export
from training.ensemble import FittedEnsemble
from training.learning import score
from training.lens import Ensemble, faded, span_weights
from training.stretches import Stretch, windows_ending

KINDS = {
    "long": ("long", 5, False, False, 1),
    "short": ("short", 5, False, False, 1),
    "long, odd channels": ("long", 5, True, False, 1),
    "short, odd channels": ("short", 5, True, False, 1),
    "long, gaps, assets": ("long", 4, False, True, 2),
    "short, gaps, assets": ("short", 4, False, True, 2),
    "long, 1 channel": ("long", 1, False, False, 1),
    "short, 1 channel": ("short", 1, False, False, 1),
    "single": ("single", 1, False, False, 1),
    "single, gaps, assets": ("single", 1, False, True, 2),
    "single, odd channels": ("single", 5, True, False, 1),
    "short, 38 channels": ("short", 38, False, False, 1),
    "long, 38 channels": ("long", 38, False, False, 1),
}
TRACED = "long, odd channels", "short, 1 channel", "single"  # every time; tracing takes seconds
NAN = np.float32(np.nan)
Windows = NDArray[np.float32]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def found(kind: str) -> FittedEnsemble:
    return fitted(*KINDS[kind])


def scored(kind: str) -> list[int]:
    """Channels that count and that there are."""
    return [channel for channel in range(KINDS[kind][1]) if not KINDS[kind][2] or channel not in (DEAD, WANDERING)]


def windows(kind: str, count: int, seed: int = 0) -> Windows:
    """Windows (B, W, C) of rows that the ensemble was fitted to, from the first asset."""
    recipe, channels, odd, gaps, assets = KINDS[kind]
    part = parts(recipe, channels, odd, gaps, assets)[0]
    window = RECIPES[recipe].window
    newest = np.random.default_rng(seed).integers(window, ROWS[recipe] // 2, count)
    return windows_ending(part, window, newest)


def outputs(scorer: Ensemble, given: Windows) -> dict[str, NDArray[np.float32]]:
    """All outputs of the graph, by name."""
    with torch.no_grad():
        result = scorer(torch.from_numpy(given))
    return {name: tensor.numpy() for name, tensor in zip(OUTPUTS, result, strict=True)}


def deviation(kind: str) -> NDArray[np.float32]:
    """Of each channel, as the ensemble scales it."""
    told: NDArray[np.float32] = fitted(*KINDS[kind]).scorer.scaling.deviation.numpy()
    return told


# -------------------------------------------------------------------------------------------------------------- laws


def test_outputs_have_the_contract_s_shapes(kind: str, found: FittedEnsemble) -> None:
    recipe, channels = RECIPES[KINDS[kind][0]], KINDS[kind][1]
    for count in (1, 7, 64):
        told = outputs(found.scorer, windows(kind, count))
        assert told["score"].shape == (count,)
        assert told["channel_score"].shape == (count, channels)
        assert told["reconstruction"].shape == (count, recipe.window, channels)
        assert told["latent"].shape[0] == count
        assert (told["score"] > 0).all()
        assert (told["channel_score"] >= 0).all()


def test_a_window_scores_the_same_whatever_stands_beside_it(kind: str, found: FittedEnsemble) -> None:
    given = windows(kind, 7)
    alone = np.concatenate([score(found.scorer, given[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(score(found.scorer, given), alone, rtol=1e-5)


def test_a_missing_value_counts_for_nothing(kind: str, found: FittedEnsemble) -> None:
    given = windows(kind, 5)
    given[:, :, 0] = NAN
    told = outputs(found.scorer, given)
    assert (told["channel_score"][:, 0] == 0).all()
    assert np.isfinite(told["score"]).all()
    for lens in found.scorer.lenses:
        with torch.no_grad():
            errors, judged, _, _ = lens(torch.from_numpy(given))
        assert not (judged.numpy() * np.isnan(given)).any()
        assert (errors.numpy()[np.isnan(given)] == 0).all()


def test_the_score_is_a_weighted_mean_of_rows_that_are_softened(kind: str, found: FittedEnsemble) -> None:
    given = windows(kind, 4)
    given[np.random.default_rng(1).random(given.shape) < 0.2] = NAN
    expected = np.zeros(4)
    for lens in found.scorer.lenses:
        with torch.no_grad():
            errors, judged = (tensor.double().numpy() for tensor in lens(torch.from_numpy(given))[:2])
        squares = np.clip(errors, -lens.glass.farthest, lens.glass.farthest) ** 2
        weights, precision = lens.weights.double().numpy(), lens.precision.double().numpy()
        unit = float(lens.unit)
        for window in range(4):
            above = below = 0.0
            for row in range(given.shape[1]):
                cells = [
                    precision[channel] * squares[window, row, channel]
                    for channel in np.flatnonzero(judged[window, row])
                    if precision[channel] > 0
                ]
                mean = sum(cells) / len(cells) if cells else 0.0
                above += len(cells) * weights[row] * (mean if mean < unit else unit * (1 + math.log(mean / unit)))
                below += len(cells) * weights[row]
            expected[window] += above / below * weights.sum() if below else 0.0
    np.testing.assert_allclose(score(found.scorer, given), expected / found.scorer.terms, rtol=1e-4)


def test_an_empty_window_scores_zero(kind: str, found: FittedEnsemble) -> None:
    told = outputs(found.scorer, np.full_like(windows(kind, 2), NAN))
    assert (told["score"] == 0).all()
    assert (told["channel_score"] == 0).all()
    assert all(np.isfinite(array).all() for array in told.values())


def test_nothing_finite_gives_infinity(kind: str, found: FittedEnsemble) -> None:
    for value in (1e30, -1e30, 3.4e38, -3.4e38, 1e-38):
        given = windows(kind, 3)
        given[1, 4, :] = value
        given[2, :, 0] = value
        given[:, ::3, -1] = NAN
        assert all(np.isfinite(array).all() for array in outputs(found.scorer, given).values())


def test_a_spike_scores_higher_and_is_blamed_on_its_channel(kind: str, found: FittedEnsemble) -> None:
    given = windows(kind, 30, 5)
    given = given[~np.isnan(given[:, -1]).any(axis=1)]
    if KINDS[kind][2]:
        given[:, :, DEAD] = np.nan_to_num(given[:, :, DEAD])
    assert len(given) > 10
    for channel in scored(kind):
        spiked = given.copy()
        spiked[:, -1, channel] += 8 * deviation(kind)[channel]
        before, after = outputs(found.scorer, given), outputs(found.scorer, spiked)
        assert (after["score"] > before["score"]).all()
        assert (after["channel_score"] - before["channel_score"]).mean(0).argmax() == channel


def test_scoring_draws_nothing(kind: str, found: FittedEnsemble) -> None:
    given = windows(kind, 5)
    before = torch.get_rng_state()
    first, second = outputs(found.scorer, given), outputs(found.scorer, given)
    assert torch.equal(before, torch.get_rng_state())
    for name in OUTPUTS:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize(
    "kind",
    [name if name in TRACED else pytest.param(name, marks=pytest.mark.slow) for name in KINDS],
    indirect=True,
)
def test_onnx_agrees_with_pytorch_at_any_batch_size(kind: str, found: FittedEnsemble) -> None:
    given = windows(kind, 64)
    model = export.to_onnx(found.scorer, *given.shape[1:])
    export.check_agreement(model, found.scorer, export.golden_windows(given))
    for count in (1, 7, 64):
        export.check_agreement(model, found.scorer, given[:count])
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


# ----------------------------------------------------------------------------------------- drift, stillness, the past


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_drifting_channel_is_left_out_of_the_score_whatever_it_does(recipe: str) -> None:
    kind = f"{recipe}, odd channels"
    found = fitted(*KINDS[kind])
    assert found.drifts.tolist() == [channel == WANDERING for channel in range(5)]
    given = windows(kind, 20)
    changed = given.copy()
    changed[:, :, WANDERING] += deviation(kind)[WANDERING] * np.random.default_rng(0).normal(0, 3, given.shape[:2])
    for lens in found.scorer.lenses:
        with torch.no_grad():
            before, after = (lens.score(*lens(torch.from_numpy(one))[:2]).numpy() for one in (given, changed))
        if not lens.glass.baseline:  # what is left of it beside its own level does not wander
            np.testing.assert_allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_drifting_channel_that_jumps_is_named(recipe: str) -> None:
    kind = f"{recipe}, odd channels"
    given = windows(kind, 20)
    jumped = given.copy()
    jumped[:, -1, WANDERING] += 8 * deviation(kind)[WANDERING]
    assert (outputs(fitted(*KINDS[kind]).scorer, jumped)["channel_score"].argmax(1) == WANDERING).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_channel_that_never_moved_is_noticed_when_it_does(recipe: str) -> None:
    kind = f"{recipe}, odd channels"
    given = windows(kind, 20)
    moved = given.copy()
    moved[:, -5:, STILL] *= 1.5
    before, after = (outputs(fitted(*KINDS[kind]).scorer, one) for one in (given, moved))
    assert (after["score"] > before["score"]).all()
    assert (after["channel_score"].argmax(1) == STILL).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fault_fades_from_the_score_as_it_ages_and_leaves_no_blame(recipe: str) -> None:
    scorer = fitted(*KINDS[recipe]).scorer
    window = RECIPES[recipe].window
    values = plant(6 * window, KINDS[recipe][1])
    at, channel = 3 * window, values.shape[1] // 2
    faulty = values.copy()
    faulty[at, channel] += 8 * scorer.scaling.deviation.numpy()[channel]
    ages = np.array([0, 10, 20, window])
    told = [outputs(scorer, windows_ending(Stretch("a", 0, rows), window, at + ages)) for rows in (values, faulty)]
    rise = told[1]["score"] - told[0]["score"]
    assert (np.diff(rise[1:]) <= 0).all()  # until then stretches of ten rows still have it in them
    assert (rise[:2] > 0.01).all()
    assert rise[-1] == pytest.approx(0, abs=1e-6)
    blame = (told[1]["channel_score"] - told[0]["channel_score"])[:, channel]
    assert (np.abs(blame[1:]) < 0.05 * blame[0]).all()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("channel", [0, 1])
def test_a_dead_sensor_is_blamed_and_not_what_was_expected_from_it(recipe: str, channel: int) -> None:
    random = np.random.default_rng(0)
    load = np.sin(np.arange(ROWS[recipe]) / 6) + random.normal(0, 0.5, ROWS[recipe])
    values = np.stack([load + random.normal(0, noise, len(load)) for noise in (0.01, 0.1)], 1).astype(np.float32)
    scorer = fit(RECIPES[recipe], [Stretch("a", 0, values)]).scorer
    window = RECIPES[recipe].window
    dead = windows_ending(Stretch("a", 0, values), window, np.arange(window, window + 50))
    dead[:, -1, channel] -= 60 * scorer.scaling.deviation.numpy()[channel]
    assert (outputs(scorer, dead)["channel_score"].argmax(1) == channel).all()


def test_weights_are_those_of_an_exponential_mean() -> None:
    found = faded(6, 4).double().numpy()
    for row in range(6):
        np.testing.assert_allclose(
            found[row], [0.6 ** (row - at) if at <= row else 0.0 for at in range(6)], rtol=1e-6
        )
    every = span_weights(8, 2, 4, 3).numpy()
    expected = np.array([0.6 ** (7 - row) if row >= 2 and (7 - row) % 3 == 0 else 0.0 for row in range(8)])
    np.testing.assert_allclose(every, expected / expected.sum(), rtol=1e-5)
