"""Sensors that are not to be believed: what a window says of them, against an oracle and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.modelfile import Channel
from monitor.sensing import SensorState, step
from monitor.sensor_rules import explained, sensor_rules
from monitor.sensor_settings import SensorChannel, Sensors
from monitor.sensors import OK, TOO_LITTLE, UNKNOWN, VERDICTS, Profiles, judge
from tests import models, naive

NAN = math.nan
PERIOD_S, SECOND = 2.0, 1_000_000_000


def rules_for(channels, window, stride, sensors, entries=(), min_observed=0.5):
    meta = models.metadata(channels=channels, window=window, stride=stride, period_ms=2000, min_observed=min_observed)
    return sensor_rules(meta, sensors, entries)


def code(verdict):
    return UNKNOWN if verdict is None else VERDICTS.index(verdict)


@st.composite
def columns(draw, length):
    """A channel's values in a window: noise, or stretches of few values, some of them missing."""
    values = []
    while len(values) < length:
        value = draw(st.sampled_from([0.0, 1.0, 2.5, 5.0, -7.0, NAN, None]))
        run = draw(st.integers(1, length))
        values += [draw(st.floats(0, 4, width=32)) for _ in range(run)] if value is None else [value] * run
    lost = draw(st.sampled_from([0, 0, 1, 4]))
    gone = draw(st.lists(st.booleans(), min_size=length, max_size=length)) if lost else [False] * length
    return [NAN if n % 5 < lost and is_gone else v for n, (v, is_gone) in enumerate(zip(values, gone, strict=False))]


@st.composite
def known_channels(draw):
    """What is known of a channel, as the oracle has it."""
    ranged = draw(st.booleans())
    return {
        "flat_s": draw(st.sampled_from([None, 0.0, 2.0, 5.0, 14.0])),
        "missing": draw(st.sampled_from([None, 0.0, 0.05, 0.4, 0.9])),
        "low": draw(st.sampled_from([0.0, -9.0])),
        "high": draw(st.sampled_from([2.5, 9.0])),
        "range_low": draw(st.sampled_from([-5.0, 0.0, None])) if ranged else None,
        "range_high": draw(st.sampled_from([4.0, 5.0, None])) if ranged else None,
        "off": draw(st.sampled_from([(), (), ("flat",), ("stuck",), ("dead", "out_of_range"), ("dropping_out",)])),
    }


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_verdicts_and_what_is_hidden_are_those_of_the_oracle(data):
    length, count = data.draw(st.integers(2, 26)), data.draw(st.integers(1, 3))
    stride, least = data.draw(st.integers(1, length)), data.draw(st.sampled_from([0.3, 0.5, 0.8]))
    known = [data.draw(known_channels()) for _ in range(count)]
    sensors = Sensors(
        flat=data.draw(st.sampled_from([0.0, 1.0, 3.0])),
        flat_share=data.draw(st.sampled_from([0.25, 0.6, 1.0])),
        dropout_share=data.draw(st.sampled_from([0.2, 0.5, 1.0])),
    )
    channels = [
        Channel(f"c{n}", low=each["low"], high=each["high"], flat_s=each["flat_s"], missing=each["missing"])
        for n, each in enumerate(known)
    ]
    entries = [
        SensorChannel(match=f"c{n}", low=each["range_low"], high=each["range_high"], off=each["off"])
        for n, each in enumerate(known)
    ]
    rules = rules_for(channels, length, stride, sensors, entries, least)
    made = [
        np.array([data.draw(columns(length)) for _ in known], np.float32).T
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    windows = np.stack(made)
    said = judge(rules, windows)
    codes = said.together(count)
    for number, window in enumerate(made):
        expected, hidden, too_little = naive.sensor_verdicts(
            window.tolist(), stride, PERIOD_S, least, known, sensors.flat, sensors.flat_share, sensors.dropout_share
        )
        assert codes[number, :-1].tolist() == [code(each) for each in expected]
        np.testing.assert_array_equal(windows[number], np.where(hidden, np.nan, window))
        assert said.enough[number] == (not too_little)
        faulty = any(each not in (None, "ok") for each in expected)
        assert codes[number, -1] == (OK if not too_little else TOO_LITTLE if faulty else UNKNOWN)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_window_is_judged_alike_alone_and_among_others(data):
    rules = rules_for([Channel("c0", flat_s=2.0, missing=0.0), Channel("c1")], 16, 4, Sensors())
    count = data.draw(st.integers(2, 6))
    windows = np.stack([np.array([data.draw(columns(16)) for _ in range(2)], np.float32).T for _ in range(count)])
    together = windows.copy()
    codes = judge(rules, together).together(2)
    for number in range(count):
        alone = windows[number : number + 1].copy()
        assert judge(rules, alone).together(2).tolist() == codes[number : number + 1].tolist()
        np.testing.assert_array_equal(alone[0], together[number])


def noise(length=16, channels=2, seed=0):
    return np.random.default_rng(seed).standard_normal((1, length, channels)).astype(np.float32)


def verdict_of(window, channel=0, channels=None, entries=(), **changes):
    """The verdict of a channel, and its column after the judgement."""
    channels = channels or [Channel(name, low=-3.0, high=3.0, flat_s=2.0, missing=0.0) for name in "ab"]
    rules = rules_for(channels, window.shape[1], 4, Sensors(**changes), entries)
    code = int(judge(rules, window).together(window.shape[2])[0, channel])
    return "unknown" if code == UNKNOWN else VERDICTS[code], window[0, :, channel]


def test_a_healthy_window_is_left_as_it_is():
    window = noise()
    assert verdict_of(window)[0] == "ok"
    np.testing.assert_array_equal(window, noise())


def test_a_flat_sensor_loses_the_flat_stretch_only_and_is_well_once_it_moves():
    window = noise()
    window[0, 3:12, 0] = 0.5
    verdict, column = verdict_of(window)
    assert verdict == "ok"  # as it is at the end
    assert np.isnan(column[3:12]).all()
    assert not np.isnan(np.delete(column, range(3, 12))).any()
    window = noise()
    window[0, 7:, 0] = 0.5
    assert verdict_of(window)[0] == "flat"


def test_a_channel_that_stood_still_for_long_in_training_may_do_so():
    window = noise()
    window[0, :, 0] = 0.5
    still = [Channel("a", low=-3.0, high=3.0, flat_s=20.0, missing=0.0), Channel("b", flat_s=0.0, missing=0.0)]
    verdict, column = verdict_of(window, channels=still)
    assert verdict == "ok"
    assert not np.isnan(column).any()


def test_a_model_file_that_knows_nothing_of_it_has_no_flat_sensors_and_no_dropouts():
    window = noise()
    window[0, :, 0], window[0, ::2, 1] = 0.5, NAN
    window[0, :14, 1] = NAN
    rules = rules_for([Channel("a", low=-3.0, high=3.0), Channel("b")], 16, 4, Sensors())
    assert judge(rules, window).codes is None


@pytest.mark.parametrize(("value", "entries"), [(3.0, ()), (-4.0, ()), (2.0, (SensorChannel(match="a", high=2.0),))])
def test_a_constant_at_a_limit_is_stuck(value, entries):
    window = noise()
    window[0, :, 0] = value
    assert verdict_of(window, entries=entries)[0] == "stuck"


def test_impossible_values_are_hidden_one_by_one_and_a_fault_where_they_last():
    entry = (SensorChannel(match="a", low=-10, high=10),)
    window = noise()
    window[0, 5, 0] = -9999
    verdict, column = verdict_of(window, entries=entry)
    assert (verdict, np.flatnonzero(np.isnan(column)).tolist()) == ("ok", [5])
    window = noise()
    window[0, 14:, 0] = -9999, 12
    assert verdict_of(window, entries=entry)[0] == "out_of_range"


def test_a_sensor_without_a_value_is_dead_unless_the_whole_asset_was_hardly_there():
    window = noise()
    window[0, :, 0] = NAN
    assert verdict_of(window)[0] == "dead"
    window[0, :12] = NAN
    assert verdict_of(window)[0] == "unknown"


def test_lost_values_are_a_dropout_where_the_others_arrive():
    window = noise()
    window[0, [0, 1, 3, 4, 6, 7, 9, 10, 12], 0] = NAN
    verdict, column = verdict_of(window)
    assert verdict == "dropping_out"
    assert np.isnan(column).all()
    window = noise()
    window[0, [0, 1, 3, 4, 6, 7, 9]] = NAN  # of all channels: the asset's readings, not a sensor's
    assert verdict_of(window)[0] == "ok"


def test_without_a_mask_faults_are_told_and_nothing_is_hidden():
    window = noise()
    window[0, :, 0] = 0.5
    before = window.copy()
    assert verdict_of(window, mask=False)[0] == "flat"
    np.testing.assert_array_equal(window, before)


def test_too_little_is_the_assets_own_verdict_where_its_sensors_are_to_blame():
    window = np.concatenate([noise(), noise()])
    window[0, :, 0], window[0, 3:, 1] = 0.5, 0.25
    window[1, :9] = NAN
    rules = rules_for([Channel(name, flat_s=0.0, missing=0.0) for name in "ab"], 16, 4, Sensors(), min_observed=0.6)
    said = judge(rules, window)
    assert said.enough.tolist() == [False, False]
    assert said.asset.tolist() == [TOO_LITTLE, UNKNOWN]


def test_assets_have_their_own_rules_where_the_configuration_says_so():
    meta = models.metadata(channels=[Channel(name, flat_s=0.0, missing=0.0) for name in "ab"], window=16, stride=4)
    entries = [SensorChannel(match="*", off=("flat", "stuck")), SensorChannel(match="a", assets="pump-*", high=1.0)]
    profiles = Profiles(meta, Sensors(), entries)
    pump, valve = profiles.number("pump-1"), profiles.number("valve-1")
    assert (pump != valve, profiles.number("pump-2")) == (True, pump)
    windows = np.repeat(noise(), 3, axis=0)
    windows[:, -4:, 0] = 2.0
    codes = profiles.judge(np.array([pump, valve, pump]), windows).together(2)
    assert [VERDICTS[each] for each in codes[:, 0]] == ["out_of_range", "ok", "out_of_range"]
    assert np.isnan(windows[:, -4:, 0]).all(axis=1).tolist() == [True, False, True]


def test_a_verdict_that_one_entry_switches_off_stays_off_whatever_another_says_of_limits():
    window = noise()
    window[0, :, 0] = 0.5
    entries = (SensorChannel(match="*", off=("flat", "stuck")), SensorChannel(match="a", low=-4, high=4))
    assert verdict_of(window, entries=entries)[0] == "ok"
    assert verdict_of(window, entries=entries[1:])[0] == "flat"


def test_every_verdict_says_what_it_rests_on():
    meta = models.metadata(
        channels=[Channel("a", unit="bar", low=0.0, high=1.0, flat_s=4.0, missing=0.01)], window=64
    )
    rules = sensor_rules(meta, Sensors(), [SensorChannel(match="a", low=-1, high=2)])
    told = {verdict: explained(meta, rules, 0, verdict) for verdict in VERDICTS[1:6]}
    assert told["out_of_range"] == "outside -1 to 2 bar"
    assert told["flat"] == "one value for 16 s or more; 4 s at most when the model learnt"
    assert all(told.values())
    assert all(explained(meta, rules, None, verdict) for verdict in VERDICTS[6:])


# --------------------------------------------------------------------------------------------- what lasts


@given(
    st.lists(st.sampled_from([None, "ok", "ok", "ok", "flat", "flat", "dead", "stuck"]), max_size=40),
    st.integers(1, 4),
)
def test_changes_are_told_after_as_many_windows_in_a_row_as_the_oracle_counts(said, after):
    state, told = SensorState(), []
    for number, verdict in enumerate(said):
        end = (number + 1) * SECOND
        state, changes = step(after, state, end, end - SECOND, {} if verdict is None else {"a": verdict})
        told += [(number, change.verdict, change.previous, change.seq) for change in changes]
    expected = naive.sensor_events(said, after)
    assert told == [(*event, seq) for seq, event in enumerate(expected, 1)]


def test_a_window_that_was_counted_before_a_restart_changes_nothing():
    state, _ = step(3, SensorState(), 10, 9, {"a": "flat"})
    assert step(3, state, 10, 9, {"a": "flat"}) == (state, [])
    assert step(3, state, 8, 7, {"a": "ok"}) == (state, [])


def test_a_fault_is_since_the_first_window_that_showed_it():
    state, changes = SensorState(), []
    for end in range(10, 60, 10):
        state, told = step(3, state, end, end - 10, {"a": "ok" if end < 30 else "flat"})
        changes += told
    assert [(each.verdict, each.since, each.end) for each in changes] == [("flat", 20, 50)]
