"""Fitting an ensemble: what teaches, what judges, and that the scores that calibrate are those of the graph."""

import dataclasses

import numpy as np
import pytest
import torch

from monitor.errors import InvalidConfiguration, InvalidData
from tests.training.lenses import DAY, RECIPES, WANDERING, fit, fitted, parts, plant
from training import ensemble, learning
from training.arguments import FitArgs
from training.data import DataSet, History
from training.ensemble import BLOCKS, LONG, NORMAL, SHORT, SINGLE, Errors, edges, outside
from training.incidents import incident_rates
from training.lens import Lens
from training.scorer import scaling_of
from training.stretches import Stretch, windows_ending

NONE = np.zeros(5, np.bool_)
GLASSES = {glass.name: (recipe, glass) for recipe in (LONG, SHORT, SINGLE) for glass in recipe.glasses}
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def data_set(values: np.ndarray, seconds: np.ndarray | None = None) -> DataSet:
    """One asset with these rows (N, C), a second apart where no times are given."""
    ts = (np.arange(len(values)) if seconds is None else seconds) * SECOND
    return DataSet(tuple("abcdefgh"[: values.shape[1]]), (History("a", ts.astype(np.int64), values),), "")


def learnt(data: DataSet, period_ms: int = 1000, **changes: object) -> learning.Learned:
    args = FitArgs(files=(), name="m", family="ensemble", **changes)  # type: ignore[arg-type]
    return learning.ensemble(data, period_ms, args)


def lens_of(name: str, values: np.ndarray) -> Lens:
    """A lens that has learnt from these rows (N, C), without a weight yet."""
    recipe, glass = GLASSES[name]
    scaling = scaling_of(values) if glass.scale == "deviation" else ensemble.by_range(values)
    lens = ensemble.new_lens(glass, scaling, recipe.window, np.zeros(values.shape[1], np.bool_))
    return ensemble.learn(lens, [Stretch("a", 0, values)])


def judged_by_blocks(lens: Lens, whole: Stretch) -> Errors:
    """Errors of all rows, by the one lens for all blocks."""
    errors = Errors.unknown([whole])
    for block in range(BLOCKS):
        ensemble.judge_block(lens, whole, block, errors.squares[0], errors.judged[0])
    return errors


# ------------------------------------------------------------------------------- calibration is of the graph's scores


@pytest.mark.parametrize("name", GLASSES)
def test_scores_that_calibrate_are_those_of_the_graph_where_the_network_is_the_same(name: str) -> None:
    values = plant(700)
    lens, whole = lens_of(name, values), Stretch("a", 0, values)
    (found,) = ensemble.weigh(lens, judged_by_blocks(lens, whole), NONE)
    if lens.glass.every > 1:
        lens.network.every = lens.glass.every  # type: ignore[assignment]
    window = len(lens.weights)
    rows = np.arange(window, 700, 7)
    with torch.no_grad():
        errors, judged, _, _ = lens(torch.from_numpy(windows_ending(whole, window, rows)))
        expected = lens.score(errors, judged).numpy()
    # A row's own recent level is taken over what its window, or its block, shows of the past.
    tolerance = 0.1 if lens.glass.baseline else 1e-4
    np.testing.assert_allclose(found[rows], expected, rtol=tolerance)
    assert np.corrcoef(found[rows], expected)[0, 1] > 0.999


@pytest.mark.parametrize("name", GLASSES)
def test_one_normal_row_in_a_thousand_exceeds_one_unit_of_a_lens(name: str) -> None:
    values = plant(1500)
    lens = lens_of(name, values)
    (found,) = ensemble.weigh(lens, judged_by_blocks(lens, Stretch("a", 0, values)), NONE)
    known = found[lens.glass.lead :]  # before that no row has a whole past
    count = len(lens.glass.spans)  # whose units are added up
    assert count * 0.5 < np.quantile(known, NORMAL) <= count * (1 + 1e-6)


def test_smoothing_is_a_weighted_mean_over_what_counts() -> None:
    random = np.random.default_rng(0)
    totals, counts, weights = random.random(40), random.integers(0, 3, 40).astype(float), random.random(6)
    counts[10:18] = 0
    totals *= counts
    found = ensemble.smoothed(totals, counts, weights)
    for row in range(40):
        pairs = [(weights[5 - age], row - age) for age in range(6) if row >= age]
        below = sum(weight * counts[at] for weight, at in pairs)
        above = sum(weight * totals[at] for weight, at in pairs)
        assert np.isnan(found[row]) if below == 0 else found[row] == pytest.approx(above / below)


def test_windows_with_too_little_in_them_do_not_calibrate_and_strides_are_the_grid_s() -> None:
    values = plant(60)
    values[20:35] = np.nan
    scores = np.arange(60.0)
    found = ensemble.of_windows(scores, Stretch("a", 7, values), 10, 4, 0.5)
    rows = [row for row in range(60) if (row + 7) % 4 == 0]
    expected = [
        row if np.count_nonzero(~np.isnan(values[max(row - 9, 0) : row + 1, 0])) >= 5 else np.nan for row in rows
    ]
    np.testing.assert_array_equal(found, expected)


def test_blocks_are_judged_by_what_the_others_taught() -> None:
    whole = Stretch("a", 0, plant(103))
    covered = []
    for block in range(BLOCKS):
        start, stop = edges(103, block)
        covered += range(start, stop)
        rows = np.concatenate([part.rows for part in outside(whole, block)])
        np.testing.assert_array_equal(rows, np.delete(whole.rows, range(start, stop), axis=0))
    assert covered == list(range(103))


@pytest.mark.parametrize("recipe", RECIPES)
def test_calibration_counts_the_incidents_of_the_scores_out_of_block(recipe: str) -> None:
    found = fitted(recipe, assets=2)
    assert len(found.scores) == 2
    assert found.calibration.n == sum(map(len, found.scores))
    counted = found.calibration.incidents
    assert counted is not None
    assert counted.days == pytest.approx(found.calibration.n / DAY)
    assert (
        counted.rates
        == incident_rates(
            [np.concatenate([[np.nan] * 40, each]) for each in found.scores], DAY, RECIPES[recipe].lift
        ).rates
    )


# ---------------------------------------------------------------------------------------------------- what is learnt


def mean_square(lens: Lens, values: np.ndarray) -> float:
    """Mean squared error of a lens over the cells that it judges."""
    errors = judged_by_blocks(lens, Stretch("a", 0, values))
    return float(errors.squares[0].sum() / errors.judged[0].sum())


@pytest.mark.parametrize("name", sorted(GLASSES.keys() - {"value"}))  # which has but the mean to learn
@pytest.mark.parametrize("lost", [0.05, 0.2])
def test_a_lens_learns_from_data_with_rows_lost_here_and_there(name: str, lost: float) -> None:
    values = plant(1500)
    lossy = values.copy()
    lossy[np.random.default_rng(0).random(1500) < lost] = np.nan
    lens = lens_of(name, lossy)
    blank = ensemble.new_lens(lens.glass, lens.scaling, len(lens.weights), NONE)
    assert mean_square(lens, plant(700, seed=1)) < 0.6 * mean_square(blank, plant(700, seed=1))


def test_lone_readings_between_long_gaps_change_little() -> None:
    values = plant(900)
    far = np.concatenate([np.arange(900), 10_000 + np.arange(1), 20_000 + np.arange(2)])
    found = learnt(data_set(plant(903), far))
    alone = learnt(data_set(values))
    assert found.window == alone.window == SHORT.window
    assert found.calibration.n == pytest.approx(alone.calibration.n, abs=5)


@pytest.mark.parametrize(
    ("rows", "channels", "recipe"), [(1100, 5, LONG), (1000, 5, SHORT), (300, 2, SHORT), (1100, 1, SINGLE)]
)
def test_the_recipe_is_that_of_the_rows_on_the_grid_and_the_channels(
    rows: int, channels: int, recipe: ensemble.Recipe
) -> None:
    found = learnt(data_set(plant(rows, channels)))
    assert found.window == recipe.window
    assert found.metrics["lenses"] == [glass.name for glass in recipe.glasses]


def test_a_channel_that_is_the_only_one_with_values_is_by_itself() -> None:
    values = plant(1100, channels=3)
    values[:, 1:] = np.nan
    assert learnt(data_set(values)).metrics["lenses"] == [glass.name for glass in SINGLE.glasses]


def test_readings_that_come_more_often_than_the_period_are_no_further_rows() -> None:
    found = learnt(data_set(plant(4000, channels=2)), period_ms=10_000)
    assert found.window == SHORT.window


def test_the_same_data_give_the_same_model() -> None:
    first, second = (fit(SHORT, parts("short", odd=True, gaps=True)) for _ in range(2))
    assert first.calibration == second.calibration
    for one, other in zip(first.scorer.state_dict().values(), second.scorer.state_dict().values(), strict=True):
        assert torch.equal(one, other)


# ----------------------------------------------------------------------------------------------------------- refusals


def test_too_few_rows_are_refused_with_how_many_would_do() -> None:
    with pytest.raises(InvalidData, match=r"only 200 periods of readings .* at least 256 are needed"):
        learnt(data_set(plant(200)))


def test_too_few_observed_windows_are_refused_by_what_is_missing() -> None:
    values = plant(900, channels=4)
    values[:, 1:] = np.nan
    values[:5, 1:] = 1.0
    with pytest.raises(InvalidData, match="only 0 windows with at least 90% of their values"):
        learnt(data_set(values), min_observed=0.9)


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="drifting: all channels"):
        learnt(data_set(plant(900, channels=2)), drifting=("a", "b"))


def test_an_ensemble_s_window_cannot_be_chosen() -> None:
    with pytest.raises(InvalidConfiguration, match="window: an ensemble has a window of its own"):
        learnt(data_set(plant(900)), window=16)


# -------------------------------------------------------------------------------------------------------------- facts


def test_the_file_says_which_channels_drift_and_which_were_empty() -> None:
    values = plant(3200, odd=True)
    values[:, 4] = np.nan
    found = learnt(data_set(values))
    assert found.dropped == ("e",)
    assert [channel.name for channel in found.channels if channel.drifting] == ["abcde"[WANDERING]]
    told = learnt(data_set(values), drifting=("a",))
    assert [channel.name for channel in told.channels if channel.drifting] == ["a"]


def test_what_is_shown_is_the_newest_fifth_of_each_stretch() -> None:
    part = Stretch("a", 100, plant(1000))
    shown = learning.newest(part, 32, 1000)
    assert shown.windows.shape == (201, 32, 5)
    assert shown.ends[[0, -1]].tolist() == [900 * SECOND, 1100 * SECOND]
    np.testing.assert_array_equal(shown.windows[-1], part.rows[-32:])
    assert len(learning.newest(part.part(0, 2), 32, 1000).ends) == 1
    many = dataclasses.replace(part, rows=np.zeros((5000, 1), np.float32))
    assert len(learning.newest(many, 32, 1000).ends) == learning.SHOWN


# ------------------------------------------------------------------------------------------------ a channel by itself


def cycle(rows: int, seed: int = 0) -> np.ndarray:
    """Rows (N, 1) of a slow cycle of one channel, with noise."""
    random = np.random.default_rng(seed)
    return (20 + np.sin(np.arange(rows) / 12) + random.normal(0, 0.05, rows)).astype(np.float32)[:, None]


@pytest.mark.parametrize("fault", ["level", "shape"])
def test_a_channel_by_itself_rings_for_a_level_and_for_a_shape_that_it_never_had(fault: str) -> None:
    found = learnt(data_set(cycle(2000)))
    values = cycle(400, 1)
    # The shape stands still at the middle of the cycle, where the level is as ordinary as can be.
    values[300:] = 24.0 if fault == "level" else 20.0
    rows = np.arange(100, 360)
    scores = learning.score(found.scorer, windows_ending(Stretch("a", 0, values), SINGLE.window, rows))
    assert found.calibration.incidents is not None
    limit = found.calibration.incidents.rates[-1][1]
    assert (scores[rows < 300] < limit).all()
    assert (scores[rows > 300 + SINGLE.window // 2] > limit).any()


def test_a_reading_that_is_missing_leaves_the_score_of_the_one_before_it() -> None:
    found = learnt(data_set(cycle(2000)))
    values = cycle(200, 1)
    values[150:160] = 24.0
    gappy = values.copy()
    gappy[156:159] = np.nan
    scores = [
        learning.score(found.scorer, windows_ending(Stretch("a", 0, one), SINGLE.window, np.array([155, 157])))
        for one in (values, gappy)
    ]
    assert scores[1][0] == scores[0][0]
    assert scores[1][1] > 0.5 * scores[0][1]
