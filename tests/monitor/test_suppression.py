"""Suppressed by design: by event time, by the level of a channel, and what that means for the alarms of assets."""

from datetime import UTC, datetime, time, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.assembly import assemble, suppressions
from monitor.config import parse
from monitor.errors import InvalidConfiguration
from monitor.events import to_ns
from monitor.modelfile import Channel
from monitor.suppression import Condition, Rule, conditions_met, first_holding, within
from tests import models
from tests.monitor.test_pipeline import T0, WHERE, feed, messages, started, wide


def ns(*moment, zone=UTC):
    return to_ns(datetime(*moment, tzinfo=zone))


def everyone(asset):
    return True


NIGHT = Rule("night", everyone, daily=(time(22), time(6)), zone=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("moment", "holds"),
    [  # Berlin is two hours ahead of UTC in summer, one in winter
        (ns(2026, 7, 1, 19, 59), False),
        (ns(2026, 7, 1, 20, 0), True),
        (ns(2026, 7, 2, 3, 59), True),
        (ns(2026, 7, 2, 4, 0), False),
        (ns(2026, 1, 1, 20, 30), False),
        (ns(2026, 1, 1, 21, 0), True),
    ],
)
def test_a_daily_rule_goes_by_the_time_of_its_zone_and_over_midnight(moment, holds):
    assert within(NIGHT, moment) == holds


def test_a_night_belongs_to_the_day_on_which_it_begins():
    friday = Rule("n", everyone, daily=(time(22), time(6)), days=frozenset({4}), zone=UTC)
    assert within(friday, ns(2026, 5, 1, 23))  # a Friday
    assert within(friday, ns(2026, 5, 2, 5))
    assert not within(friday, ns(2026, 5, 2, 23))
    assert not within(friday, ns(2026, 5, 1, 5))


def test_maintenance_holds_from_its_begin_until_its_end():
    rule = Rule("m", everyone, begin=ns(2026, 5, 1, 8), end=ns(2026, 5, 1, 10))
    assert [within(rule, ns(2026, 5, 1, hour)) for hour in (7, 8, 9, 10)] == [False, True, True, False]


def test_a_condition_asks_the_newest_stride_of_a_channel_and_a_missing_one_holds_nothing():
    windows = np.array([[[9, 1], [9, 1]], [[0, 1], [0, 1]], [[0, 1], [9, 1]], [[0, 1], [np.nan, 1]]], np.float32)
    slow, fast = Condition(0, below=5.0), Condition(0, above=5.0)
    assert conditions_met([slow, fast], windows, 1).tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]
    assert conditions_met([slow], windows, 2).tolist() == [[0], [1], [1], [1]]
    assert conditions_met([], windows, 1).shape == (4, 0)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 72), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 23), st.integers(0, 23),
)  # fmt: skip
def test_the_first_rule_that_holds_is_that_of_asking_one_window_at_a_time(windows, begin, end):
    rules = [
        Rule("off", everyone, condition=0),
        Rule("nights", everyone, daily=(time(begin), time(end)), zone=timezone(timedelta(hours=3))),
        Rule("both", everyone, begin=T0 * 10**9 + 10 * 3_600_000_000_000, condition=0),
    ]
    ends = np.array([T0 * 10**9 + hour * 3_600_000_000_000 for hour, *_ in windows])
    met = np.array([[each[1]] for each in windows])
    applies = np.array([[each[2], each[3], True] for each in windows])
    expected = []
    for place, moment in enumerate(ends.tolist()):
        hold = [
            number
            for number, rule in enumerate(rules)
            if applies[place, number] and (rule.condition is None or met[place, 0]) and within(rule, moment)
        ]
        expected.append(hold[0] if hold else -1)
    assert first_holding(rules, applies, ends, met).tolist() == expected


# ----------------------------------------------------------------------------------------------- in the pipeline


def suppressed(*rules, **model):
    detector = {"name": "d", "model": "m", "assets": ["*"], "alarm_budget_per_day": 4000} | models.STEADY
    document = {"input": {"ts_unit": "s", "idle_limit_s": 30, "reset_after_s": 40}, "detectors": [detector]}
    return assemble(parse(document | {"suppressions": list(rules)}), {"d": models.model(**model)})


OFF = {"name": "off", "assets": ["pump-*"], "channel": "a", "below": -10.0, "hold_s": 4.0}


def shown(output):
    """What was told: what happened, the state after it, and when, in s since the start."""
    transitions = [told.transition for told in output.transitions]
    return [(each.kind, each.after, each.window.end // 10**9 - T0) for each in transitions]


def run(made, values, cuts=()):
    """Events (kind, state, s since the start) of one pump whose channel `a` has these values, one a second."""
    started(made)
    told, bounds = [], [0, *sorted(cuts), len(values)]
    body = [wide("pump-1", second, value, 0.1) for second, value in enumerate(values)]
    for first, last in pairwise(bounds):
        batch = messages(body[first:last], first)
        output = made.pipeline.step({WHERE: (made.decoder.decode(batch), batch.next_offset)})
        told += [
            (t.transition.kind, t.transition.after, t.transition.window.end // 10**9 - T0) for t in output.transitions
        ]
    return told


VALUES = [0.1] * 8 + [-50.0] * 12 + [0.1] * 16 + [50.0] * 8 + [0.1] * 10


def test_an_asset_that_is_off_is_scored_and_logged_and_rings_for_nobody():
    told = run(suppressed(OFF), VALUES)
    assert told == [
        ("suppressed", "suppressed", 9),
        ("raised", "suppressed", 9),
        ("cleared", "suppressed", 25),
        ("unsuppressed", "normal", 27),  # the condition was gone at 23
        ("raised", "unacknowledged", 37),
        ("cleared", "returned", 49),
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.1, 50.0, -50.0]), max_size=60), st.sets(st.integers(1, 59), max_size=5))
def test_where_batches_end_changes_no_suppression(values, cuts):
    assert run(suppressed(OFF), values, {cut for cut in cuts if cut < len(values)}) == run(suppressed(OFF), values)


def test_a_restart_in_the_middle_of_a_suppression_changes_nothing():
    whole = run(suppressed(OFF), VALUES)
    first = started(suppressed(OFF))
    output, _ = feed(first, [wide("pump-1", second, value, 0.1) for second, value in enumerate(VALUES[:16])])
    told = shown(output)
    state = {key: entry for _, key, entry in output.state}
    again = suppressed(OFF)
    again.pipeline.assign(WHERE, output.positions[WHERE], state.items())
    low = output.positions[WHERE].low
    body = [wide("pump-1", second, value, 0.1) for second, value in enumerate(VALUES)]
    more, _ = feed(again, body[low:], low)
    told += shown(more)
    assert told == whole


def test_a_rule_for_one_detector_needs_its_channel_and_one_for_all_passes_others_over():
    meta = models.metadata()
    document = {"detectors": [{"name": "d", "model": "m", "assets": ["*"]}]}
    rule = {"name": "off", "assets": ["*"], "channel": "speed", "below": 1.0}
    made = suppressions(parse(document | {"suppressions": [rule]}), "d", meta)
    assert [each.matches("pump-1") for each in made] == [False]
    with pytest.raises(InvalidConfiguration, match="has no channel 'speed'"):
        suppressions(parse(document | {"suppressions": [rule | {"detectors": ["d"]}]}), "d", meta)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"assets": []}, "needs `assets`"),
        ({"channel": ""}, "needs a channel|need a channel"),
        ({"below": None}, "needs `below`"),
        ({"channel": "", "below": None}, "neither when nor"),
        ({"detectors": ["x"]}, "no detector 'x'"),
        ({"timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"begin": datetime(2026, 1, 1)}, "has no zone"),  # noqa: DTZ001 - that is the fault
        ({"daily": ["25:00", "26:00"]}, "daily"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_name(changes, why):
    rule = {"name": "off", "assets": ["*"], "channel": "a", "below": 1.0} | changes
    document = {"detectors": [{"name": "d", "model": "m", "assets": ["*"]}], "suppressions": [rule]}
    with pytest.raises(InvalidConfiguration, match=why):
        parse(document)


def test_a_machine_that_stands_is_off_though_its_speed_is_taken_for_a_sensor_that_sticks():
    """What is hidden from the model is still asked by a rule: zero for hours is what "off" looks like."""
    channels = tuple(Channel(name, "1/s", low=-100.0, high=100.0, flat_s=0.0, missing=0.0) for name in "ab")
    rule = {"name": "off", "assets": ["pump-*"], "channel": "a", "below": 0.01}
    made = suppressed(rule, channels=channels, window=12, min_observed=0.4)
    values = [0.1 + 0.01 * (s % 7) for s in range(20)] + [0.0] * 40
    output, _ = feed(
        started(made), [wide("pump-1", second, value, 0.1 * (second % 3)) for second, value in enumerate(values)]
    )
    assert ("a", "flat") in [(each.change.channel, each.change.verdict) for each in output.sensor_events]
    assert [each[:2] for each in shown(output)] == [("suppressed", "suppressed")]
