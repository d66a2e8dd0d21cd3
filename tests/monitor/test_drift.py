"""Drift: three signals told apart, by the oracle wherever batches end, seldom on normal data, and with no effect."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.drift import HORIZON, KINDS, DriftRules, Drifts, drift_rules, outside_share
from monitor.modelfile import Channel
from tests import models
from tests.monitor.test_pipeline import assembly, feed, scores_of, started, wide
from tests.naive import drift_changes

META = models.metadata()
CLEAR_P = 0.05


def rules(horizon=10, channels=2, spread=1.0):
    edge = np.ones(channels, np.float32)
    return DriftRules(-edge, edge, spread, horizon)


def update(drifts, rows, numbers, scores, p, outside, is_open=None):
    """Changes as (row, number of the window, kind, began)."""
    given_open = np.zeros(len(rows), np.bool_) if is_open is None else np.asarray(is_open)
    arrays = np.asarray(scores, np.float32), np.asarray(p, np.float64), CLEAR_P, np.asarray(outside, np.float32)
    told = drifts.update(np.asarray(rows), np.asarray(numbers), *arrays, given_open)
    return [(each.row, each.end, each.kind, each.began) for each in told]


def kinds(scores, p, outside, is_open=False, **given_rules):
    """Which kinds of drift one asset is in after such windows, one channel outside."""
    count = len(scores)
    drifts = Drifts(rules(**given_rules))
    shares = np.stack([np.broadcast_to(outside, count), np.zeros(count)], axis=1)
    update(drifts, np.zeros(count, np.int64), np.arange(count), scores, p, shares, np.full(count, is_open))
    return {kind for kind, number in drifts.counts().items() if number}


# ------------------------------------------------------------------------------------------------ the three signals

CALM = np.random.default_rng(7).uniform(size=200)  # p-values of normal windows
RISING = np.exp(np.linspace(0, 60, 200))  # a fault that goes on growing


@pytest.mark.parametrize(
    ("scores", "p", "outside", "is_open", "expected"),
    [
        (1 - CALM, CALM, 0.0, False, set()),
        (1 - CALM, CALM, 0.4, False, set()),
        (1 - CALM, CALM, 0.9, False, {"inputs"}),
        (1 - CALM, CALM * 0.4, 0.0, False, {"scores"}),
        (1 - CALM, 0.8 + CALM * 0.2, 0.0, False, {"scores"}),  # frozen: too good to be true
        (8 + CALM, CALM * 0.01, 0.9, True, {"level"}),
        (8 + CALM, CALM * 0.01, 0.9, False, set(KINDS)),
        (RISING, CALM * 0.01, 0.9, True, set()),
        (np.where(CALM > 0.5, 1, 60), CALM * 0.01, 0.0, True, set()),
    ],
)
def test_inputs_scores_and_level_are_told_apart_and_an_open_alarm_is_no_drift(scores, p, outside, is_open, expected):
    assert kinds(scores, p, outside, is_open) == expected


def test_drift_begins_and_ends_once_and_not_at_its_first_windows():
    drifts, rows = Drifts(rules()), np.zeros(200, np.int64)
    outside = np.stack([np.repeat([1.0, 0.0], 100), np.zeros(200)], axis=1)
    told = update(drifts, rows, np.arange(200), np.ones(200), np.full(200, 0.5), outside)
    (_, begun, *_), (_, ended, *_) = told
    assert [each[2:] for each in told] == [("inputs", True), ("inputs", False)]
    assert 5 < begun < 10
    assert 105 < ended < 115


def test_seldom_on_normal_windows_that_overlap():
    """300 assets, 3,000 windows each of which shares 3/4 of its readings with the next, as p-values uniform."""
    noise = np.random.default_rng(1).normal(size=(300, 3003))
    total = (noise[:, :-3] + noise[:, 1:-2] + noise[:, 2:-1] + noise[:, 3:]).ravel() / 2
    ranks = (np.argsort(np.argsort(total)) + 0.5) / total.size
    rows = np.repeat(np.arange(300), 3000)
    drifts = Drifts(drift_rules(META.calibration, META.channels, 4, 1))
    assert drifts.rules.horizon == 4 * HORIZON
    shares = np.zeros((len(rows), 2))
    assert update(drifts, rows, np.tile(np.arange(3000), 300), ranks, 1 - ranks, shares) == []


# ----------------------------------------------------------------------------------------------------- the arithmetic


def test_share_outside_is_of_the_newest_values_that_are_there():
    channels = (Channel("a", "", -1.0, 1.0), Channel("b"), Channel("c", "", 0.0))
    found = drift_rules(META.calibration, channels, 4, 2)
    windows = np.zeros((2, 4, 3), np.float32)
    windows[0, :, 0] = [9, 9, 0, 1.5]
    windows[0, :, 1] = 1e9
    windows[1, :, 0] = [0, 0, np.nan, 3]
    windows[1, :, 2] = [0, 0, np.nan, np.nan]
    assert outside_share(found, windows, 2).tolist() == [[0.5, 0, 0], [1, 0, 0]]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 400),
    st.sampled_from([1, 4, 20]),
    st.sampled_from([1, 3, 40]),
    st.data(),
)
def test_changes_are_those_of_the_oracle_wherever_batches_end(seed, count, horizon, assets, data):
    random = np.random.default_rng(seed)
    rows = random.integers(0, assets, count) if data.draw(st.booleans()) else np.zeros(count, np.int64)
    phase = np.repeat(random.choice([0.01, 0.3, 1.0], count), 20)[:count]  # so that drift comes and goes
    p = random.uniform(size=count) * phase
    scores = np.exp(random.normal(size=count).round(1) * phase).astype(np.float32)
    outside = random.choice([0.0, 1.0], (count, 2)) * (phase[:, None] < 0.5)
    is_open = random.uniform(size=count) < 0.2 * (random.uniform() < 0.5)
    drifts, told, cuts = Drifts(rules(horizon)), [], sorted(data.draw(st.sets(st.integers(0, count), max_size=4)))
    for first, end in zip([0, *cuts], [*cuts, count], strict=True):
        part = slice(first, end)
        told += update(
            drifts, rows[part], np.arange(count)[part], scores[part], p[part], outside[part], is_open[part]
        )
    expected = []
    for row in set(rows.tolist()):
        mine = np.flatnonzero(rows == row)
        given_windows = [(float(scores[i]), p[i], outside[i].tolist(), bool(is_open[i])) for i in mine]
        expected += [
            (row, int(mine[number]), *rest) for number, *rest in drift_changes(given_windows, horizon, CLEAR_P, 1.0)
        ]
    assert sorted(told) == sorted(expected)


# ------------------------------------------------------------------------------------------------- in the pipeline


def test_an_asset_that_drifts_is_told_counted_and_changes_no_score_and_no_alarm():
    ranges = {"channels": (Channel("a", "", -1.0, 0.3), Channel("b", "", -1.0, 1.0))}
    values = [wide("pump-1", second, 0.4, 0.6) for second in range(600)]
    drifting, steady = started(assembly(**ranges)), started(assembly())
    output, _ = feed(drifting, values)
    plain, _ = feed(steady, values)
    [told] = output.drifts
    assert (told.asset, told.detector, told.kind, told.began) == ("pump-1", "d", "inputs", True)
    assert told.channel == "a"
    assert drifting.pipeline.drifting() == {("d", "inputs"): 1, ("d", "scores"): 0, ("d", "level"): 0}
    assert (scores_of(output), output.transitions, output.state) == (scores_of(plain), plain.transitions, plain.state)
    assert plain.drifts == []


def test_a_shift_that_settles_is_a_level_and_not_drift_of_scores():
    made = started(assembly())
    values = [wide("pump-1", second, 0.1 + second % 7 / 10, 0.1 + second % 5 / 10) for second in range(200)]
    values += [wide("pump-1", second, 5.0 + second % 3, 5.0) for second in range(200, 1400)]
    output, _ = feed(made, values)
    assert [(each.kind, each.began) for each in output.drifts] == [("level", True)]
    assert [each.transition.kind for each in output.transitions] == ["raised"]
