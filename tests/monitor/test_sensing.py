"""Sensor faults over the step: told once, hidden from the model, the same wherever batches end and restarts fall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.assembly import assemble, watch
from monitor.config import Config, parse
from monitor.errors import InvalidConfiguration
from monitor.events import SensorEvent, SensorFault, decode_message
from monitor.modelfile import Channel
from monitor.publish import Publisher
from monitor.serving import Serving
from monitor.state import decode_entry, encode_entry
from tests import models
from tests.monitor.test_pipeline import T0, WHERE, feed, scores_of, started, wide

CHANNELS = tuple(Channel(name, "mm/s", low=-5.0, high=5.0, flat_s=0.0, missing=0.0) for name in "ab")
AFTER = 2


def configuration(guarantee: str = "exactly-once", **more) -> Config:
    return parse(
        {
            "delivery": {"guarantee": guarantee},
            "input": {"ts_unit": "s", "idle_limit_s": 30, "reset_after_s": 60},
            "detectors": [{"name": "d", "model": "unused", "assets": ["pump-*"], "alarm_budget_per_day": 4000}],
            "sensors": {"fault_after": AFTER},
        }
        | more
    )


def assembly(config: Config | None = None, **model):
    config = config or configuration()
    fields = {"channels": CHANNELS, "window": 12, "min_observed": 0.4} | model
    return assemble(config, {"d": models.model(**fields)})


def told(output):
    return [
        (each.asset, each.change.channel, each.change.verdict, each.change.previous) for each in output.sensor_events
    ]


def readings(count, first=0, a=lambda s: 0.1 * (s % 7), b=lambda s: -0.1 * (s % 5), asset="pump-1"):
    return [wide(asset, s, a(s), b(s)) for s in range(first, first + count)]


def test_a_flat_sensor_is_told_once_and_again_when_it_is_well():
    made = started(assembly())
    output, _ = feed(made, readings(20) + readings(40, 20, a=lambda s: 0.3) + readings(40, 60))
    assert told(output) == [("pump-1", "a", "flat", "ok"), ("pump-1", "a", "ok", "flat")]
    first, second = (each.change for each in output.sensor_events)
    assert (first.seq, second.seq) == (1, 2)
    assert T0 + 20 <= first.since / 1e9 < first.end / 1e9 <= T0 + 36
    assert T0 + 59 <= second.since / 1e9 < second.end / 1e9 <= T0 + 68


def test_a_broken_sensor_rings_no_alarm_and_a_process_fault_beside_it_does():
    config = configuration(channels=[{"match": "a", "low": -10, "high": 10}])
    made = started(assembly(config))
    output, _ = feed(made, readings(30) + readings(60, 30, a=lambda s: 400.0))
    assert told(output) == [("pump-1", "a", "out_of_range", "ok")]
    assert output.transitions == []
    output, _ = feed(made, readings(30, 90, a=lambda s: 400.0, b=lambda s: 50.0 + s % 3), 90)
    raised = output.transitions[0]
    assert raised.transition.kind == "raised"
    assert raised.transition.incident.channels[0].channel == "b"
    assert raised.sensors == (SensorFault("out_of_range", "a"),)
    assert told(output) == []


def test_without_the_mask_the_same_sensor_rings_and_is_told():
    config = configuration(
        channels=[{"match": "a", "low": -10, "high": 10}], sensors={"mask": False, "fault_after": 2}
    )
    output, _ = feed(started(assembly(config)), readings(30) + readings(60, 30, a=lambda s: 400.0))
    assert told(output) == [("pump-1", "a", "out_of_range", "ok")]
    assert [each.transition.kind for each in output.transitions] == ["raised"]


def test_an_asset_of_which_too_little_is_left_says_so_and_is_not_scored():
    made = started(assembly(min_observed=0.6))
    output, _ = feed(made, readings(20) + readings(30, 20, a=lambda s: None))
    assert told(output) == [
        ("pump-1", "a", "dropping_out", "ok"),
        ("pump-1", "", "too_little", "ok"),
        ("pump-1", "a", "dead", "dropping_out"),
    ]
    assert output.counts.windows_not_scored > 5
    output, _ = feed(made, readings(30, 50), 50)
    assert told(output)[-2:] == [("pump-1", "a", "ok", "dropping_out"), ("pump-1", "", "ok", "too_little")]


def test_an_asset_that_sends_nothing_is_stale_by_stream_time_and_well_with_its_next_windows():
    made = started(assembly())
    feed(made, readings(20))
    output, _ = feed(made, readings(40, 20, asset="pump-2"), 20)
    (stale,) = output.sensor_events
    assert told(output) == [("pump-1", "", "stale", "ok")]
    assert T0 + 19 <= stale.change.since / 1e9 <= T0 + 22
    output, _ = feed(made, readings(40, 60, asset="pump-2"), 60)
    assert told(output) == []  # it is told once
    output, _ = feed(made, readings(20, 100), 100)
    assert told(output) == [("pump-1", "", "ok", "stale")]


def test_a_partition_that_is_silent_as_a_whole_makes_no_asset_stale_but_what_does_not_come_back_is():
    made = started(assembly())
    feed(made, [each for pair in zip(readings(20), readings(20, asset="pump-2"), strict=True) for each in pair])
    assert told(made.pipeline.close_silent([WHERE])) == []
    output, _ = feed(made, readings(20, 300, asset="pump-2"), 40)
    assert {(asset, verdict) for asset, _, verdict, _ in told(output)} >= {("pump-1", "stale")}


def test_a_clock_that_jumps_back_is_told_instead_of_silence():
    made = started(assembly())
    feed(made, readings(60) + readings(20, 20, asset="pump-2"))
    again = [
        each for s in range(60, 100) for each in (wide("pump-1", s - 45, 0.1, 0.1), wide("pump-2", s, s % 3, s % 5))
    ]
    output, _ = feed(made, again, 80)
    assert [(asset, verdict) for asset, _, verdict, _ in told(output)] == [("pump-1", "clock")]


def test_an_asset_whose_readings_come_late_in_masses_has_trouble_with_its_clock():
    made = started(assembly())
    both = [
        each for s in range(30, 60) for each in (wide("pump-1", s, 0.1 * (s % 7), 0.3), wide("pump-1", s - 9, 1, 1))
    ]
    output, _ = feed(made, readings(30) + both + readings(30, 60))
    changes = [each.change for each in output.sensor_events if not each.change.channel]
    assert [(each.verdict, each.previous) for each in changes] == [("clock", "ok"), ("ok", "clock")]
    assert output.counts.late == 30


def test_one_late_reading_is_no_trouble():
    made = started(assembly())
    output, _ = feed(made, [*readings(30), wide("pump-1", 20, 1, 1), *readings(30, 30)])
    assert (output.counts.late, told(output)) == (1, [])


def test_silence_that_turns_out_to_be_a_wrong_clock_is_told_as_that():
    made = started(assembly())
    output, _ = feed(made, readings(20) + readings(60, 20, asset="pump-2"))
    assert told(output) == [("pump-1", "", "stale", "ok")]
    output, _ = feed(made, readings(6, 2), 80)
    assert told(output) == [("pump-1", "", "clock", "stale")]


def test_an_event_is_a_message_that_can_be_read_back():
    config = configuration(assets=[{"match": "pump-*", "labels": {"line": "2"}}])
    output, _ = feed(started(assembly(config)), readings(20) + readings(40, 20, a=lambda s: 0.3))
    (message,) = [each for each in Publisher(config, 10**6).outputs(output) if each.topic == "tocsin.anomalies"]
    event = decode_message(message.headers, message.value)
    assert isinstance(event, SensorEvent)
    assert (event.asset, event.channel, event.verdict, event.labels) == ("pump-1", "a", "flat", {"line": "2"})
    assert dict(message.headers)["ce_type"] == b"tocsin.sensor.flat.v1"
    assert message.key == b"pump-1"
    assert "when the model learnt" in event.detail


def test_state_of_sensors_survives_the_state_topic():
    output, _ = feed(started(assembly()), readings(20) + readings(40, 20, a=lambda s: 0.3))
    [(_, _, entry)] = output.state
    assert decode_entry(encode_entry(entry)) == entry
    assert entry.sensors.channels["a"].verdict == "flat"


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"sensors": {"flatness": 1}}, "flatness"),
        ({"sensors": {"fault_after": 0}}, "fault_after"),
        ({"channels": [{"low": 1}]}, "match"),
        ({"channels": [{"match": "a", "off": ["rusty"]}]}, "off"),
        ({"channels": [{"match": "a", "low": 3, "high": 3}]}, "low"),
    ],
)
def test_a_wrong_setting_is_named(tables, sentence):
    with pytest.raises(InvalidConfiguration, match=sentence):
        configuration(**tables)


def test_windows_that_are_made_again_are_judged_as_the_first_time():
    config, model = configuration(), models.model(channels=CHANNELS, window=12)
    serving = Serving(watch(config, config.detectors[0], model, 4))
    windows = np.random.default_rng(0).uniform(0.1, 0.3, (2, 12, 2)).astype(np.float32)
    windows[1, :, 0] = 4.0  # a stuck sensor
    scored = serving.rescore(np.array([3, 5]), windows.copy())
    assert scored.score[1] < 0.5 < models.score(windows, ("score",))[0][1]


# ------------------------------------------------------------------------------------------------- laws


@st.composite
def plants(draw):
    """Readings of two pumps whose sensors break in all ways, one after the other, some late, with silent spells."""
    now, made = 0, []
    for _ in range(draw(st.integers(1, 9))):
        kinds = [draw(st.sampled_from(["good", "good", "flat", "gone", "lossy", "wild", "limit"])) for _ in "ab"]
        assets = draw(st.sampled_from([["pump-1"], ["pump-2"], ["pump-1", "pump-2"]]))
        behind = draw(st.sampled_from([0, 0, 0, 0, 5, 40]))
        now += draw(st.sampled_from([0, 0, 0, 9, 35, 70]))
        for _ in range(draw(st.integers(1, 30))):
            now += draw(st.sampled_from([1, 1, 1, 1, 2, 0]))
            late = behind if now % 3 else 0
            for asset in assets:
                made.append(wide(asset, max(now - late, 0), *(_value(kind, now) for kind in kinds)))
    return made


def _value(kind, now):
    values = {"good": 0.1 * (now * now % 7), "flat": 0.25, "gone": None, "wild": 70.0 + now % 3, "limit": 5.0}
    return (0.1 * (now % 3) if now % 4 == 0 else None) if kind == "lossy" else values[kind]


def configured(guarantee="exactly-once"):
    return configuration(guarantee, channels=[{"match": "?", "assets": "pump-2", "low": -10, "high": 10}])


def run(made_of, cuts, silent=(), restarts=(), snapshots=()):
    """What a run gives that reads up to each cut, where the clock may close it and it may restart.

    By reading again, or with windows that were kept.
    """
    config = configured()
    made, outputs, state, at = started(assembly(config)), [], {}, 0
    for cut in [*cuts, len(made_of)]:
        outputs.append(feed(made, made_of[at:cut], at)[0])
        if cut in silent:
            outputs.append(made.pipeline.close_silent([WHERE]))
        state |= {key: decode_entry(encode_entry(entry)) for output in outputs for _, key, entry in output.state}
        if cut in restarts:
            position, entries = outputs[-1].positions[WHERE], list(state.items())
            rebuilt = made.pipeline.partitions[WHERE].export() if cut in snapshots else None
            made = assembly(config)
            made.pipeline.assign(WHERE, position, entries, rebuilt)
            if rebuilt is None:
                refill, _ = feed(made, made_of[position.low : cut], position.low)
                assert (scores_of(refill), told(refill)) == ({}, [])
        at = cut
    scores = [row for output in outputs for row in scores_of(output).items()]
    return dict(scores), sensor_events(outputs), transitions(outputs), standing(state)


def sensor_events(outputs):
    """Events in their order within each asset: between assets no order is promised."""
    return sorted((each for output in outputs for each in output.sensor_events), key=lambda each: each.asset)


def transitions(outputs):
    return sorted((each for output in outputs for each in output.transitions), key=lambda each: each.asset)


def standing(state):
    return {key: entry.sensors for key, entry in state.items() if entry.sensors}


@settings(max_examples=100, deadline=None)
@given(plants(), st.data())
def test_restart_at_any_commit_gives_the_same_masks_scores_and_events(made_of, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(made_of)), max_size=6)))
    some = st.sets(st.sampled_from(cuts)) if cuts else st.just(set())
    silent, restarts, snapshots = data.draw(some), data.draw(some), data.draw(some)
    assert run(made_of, cuts, silent, restarts, snapshots) == run(made_of, sorted(silent), silent)


@settings(max_examples=100, deadline=None)
@given(plants(), st.data())
def test_what_was_delivered_but_not_committed_is_the_same_when_delivered_again(made_of, data):
    commit, crash = sorted(data.draw(st.tuples(*[st.integers(0, len(made_of))] * 2)))
    config = configured("at-least-once")
    made = started(assembly(config))
    first, _ = feed(made, made_of[:commit])
    lost, _ = feed(made, made_of[commit:crash], commit)
    state = {key: entry for output in (first, lost) for _, key, entry in output.state}
    position = first.positions[WHERE]
    second = started(assembly(config), position, list(state.items()))
    feed(second, made_of[position.low : commit], position.low)
    again, _ = feed(second, made_of[commit:], commit)
    undisturbed, _ = feed(started(assembly(config)), made_of)
    assert scores_of(first) | scores_of(again) == scores_of(undisturbed)
    assert sensor_events([first, lost, again]) == sensor_events([undisturbed])
