"""The limit that rises with each raise: what rings, what stays silent, and that it depends on nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.alarms import AlarmState, Policy, limit_at, step
from monitor.calibration import Limits
from monitor.incidents import Window
from monitor.modelfile import Incidents
from monitor.state import StateEntry, decode_entry, encode_entry
from tests import models
from tests.monitor.test_pipeline import T0, assembly, feed, plants, scores_of, started, wide
from tests.monitor.test_pipeline import run as run_pipeline
from tests.naive import alarm_events

STRIDE = 10
BUDGET_NS = 1000  # one raise in so many ns
LIFTING = (4.0, 2.0, 1 / BUDGET_NS)
RULES = Policy(Limits(0.01, 0.1, LIFTING[0], *LIFTING[1:]), 1, 1, STRIDE)
CALM, PEAK = 1.0, 5.0


def p_value(score):
    """0.01 at the limit, 0.1 at 3: falls with the score."""
    return min(1.0, 0.01 ** (score - 3) * 0.1 ** (4 - score)) if score > 2 else 1.0


def window(end, score):
    return Window(end, score, p_value(score), "1")


def run(rules, windows, state=None):
    state, told = state or AlarmState(), []
    for each in windows:
        state, transition = step(rules, state, each)
        told += [transition] if transition else []
    return state, told


def raised(told):
    return [each.window.end for each in told if each.kind == "raised"]


@pytest.mark.parametrize(
    ("end", "score", "rings"),
    [  # after a raise at 100 and its clearing at 110, with the limit 4
        (120, 5.0, False),
        (120, 7.8, False),
        (120, 8.0, True),  # twice the limit
        (120, 50.0, True),
        (600, 5.6, False),  # half of the lift is left: 4 times the root of 2
        (600, 5.7, True),
        (1099, 4.002, False),
        (1100, 4.002, True),  # 1 / budget later
        (1100, 3.9, False),
        (99_999, 4.0, True),
    ],
)
def test_after_a_raise_the_limit_is_doubled_and_comes_down_as_the_budget_allows(end, score, rings):
    _, told = run(RULES, [window(100, PEAK), window(110, CALM), window(end, score)])
    assert raised(told) == [100, *([end] if rings else [])]


def test_raises_that_follow_each_other_lift_the_limit_further():
    state, told = run(RULES, [window(100, 5.0), window(110, CALM), window(120, 9.0), window(130, CALM)])
    assert raised(told) == [100, 120]
    assert limit_at(RULES, state, 130, "1") == pytest.approx(4.0 * 2 ** (2 - 0.02 - 0.01))


def test_an_open_incident_goes_on_by_the_limit_itself_and_clears_by_the_clear_limit():
    state, told = run(RULES, [window(100, PEAK), *(window(100 + 10 * i, 4.1) for i in range(1, 20))])
    assert (raised(told), state.incident.last_over, limit_at(RULES, state, 300, "1")) == ([100], 290, 4.0)
    _, told = run(RULES, [window(300, 3.5), window(310, CALM)], state)
    assert [(each.kind, each.window.end) for each in told] == [("cleared", 310)]


def test_event_time_that_jumps_back_never_lifts_the_limit():
    state, _ = run(RULES, [window(1000, PEAK), window(1010, CALM)])
    assert limit_at(RULES, state, 10, "1") == limit_at(RULES, state, 1000, "1") == 8.0


def test_a_model_without_counted_incidents_never_lifts_its_limit():
    rules = replace(RULES, limits=Limits(0.01, 0.1, 4.0))
    state, told = run(rules, [window(10 * i, PEAK if i % 2 else CALM) for i in range(1, 9)])
    assert raised(told) == [10, 30, 50, 70]
    assert (state.lift, state.lifted_at) == (0.0, 0)


def test_state_without_a_lift_reads_as_it_did_before_there_was_one():
    entry = decode_entry(b'{"v":1,"alarm":{"upto":70}}')
    assert entry.alarm == AlarmState(upto=70)
    assert json.loads(encode_entry(entry))["alarm"] == {"upto": 70}


SCORES = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 7, 40, 300]), st.sampled_from([1.0, 1.0, 3.5, 4.0, 5.0, 6.0, 8.5, 17.0, 40.0])
    ),
    max_size=50,
)
AFTER = st.integers(1, 3)


def windows_of(steps):
    end, made = 0, []
    for strides, score in steps:
        end += strides * STRIDE
        made.append(window(end, score))
    return made


def through_topic(state):
    return decode_entry(encode_entry(StateEntry(1, state))).alarm


@settings(max_examples=300)
@given(SCORES, AFTER, AFTER, st.data())
def test_events_are_those_of_the_oracle_wherever_restarts_fall(steps, raise_after, clear_after, data):
    windows, rules = windows_of(steps), replace(RULES, raise_after=raise_after, clear_after=clear_after)
    cut = data.draw(st.integers(0, len(windows)))
    state, told = run(rules, windows[:cut])
    _, more = run(rules, windows[data.draw(st.integers(0, cut)) :], through_topic(state))
    expected = alarm_events(
        [(w.end, w.score, w.p_value) for w in windows], 0.01, 0.1, raise_after, clear_after, LIFTING
    )
    assert [
        (t.kind, t.window.end, t.incident.start + STRIDE, t.incident.last_over, t.incident.peak.end)
        for t in told + more
    ] == expected


@settings(max_examples=200)
@given(SCORES, AFTER, AFTER, st.data())
def test_windows_in_front_that_rang_nothing_change_no_alarm(steps, raise_after, clear_after, data):
    windows, rules = windows_of(steps), replace(RULES, raise_after=raise_after, clear_after=clear_after)
    _, told = run(rules, windows)
    first = min((t.incident.start for t in told), default=windows[-1].end if windows else 0)
    dropped = data.draw(st.integers(0, sum(w.end <= first for w in windows)))
    assert run(rules, windows[dropped:])[1] == told


# ---------------------------------------------------------------------------------------------------- what it is for

DAY = 86_400 * 10**9
PER_DAY, DAYS = 360, 30


def bursts(seed):
    """Scores of normal data whose level wanders, so that high ones come together."""
    random = np.random.default_rng(seed)
    level, levels = 0.0, []
    for step_of_level in random.normal(scale=0.06, size=PER_DAY * DAYS):
        level = 0.995 * level + step_of_level
        levels.append(level)
    return np.exp(np.array(levels) + random.normal(scale=0.5, size=len(levels)))


def alarms_per_day(scores, limit, clear, factor, budget):
    rules = Policy(Limits(0.01, 0.1, limit, factor, budget / DAY), 1, 1, DAY // PER_DAY)
    ends = (np.arange(len(scores)) + 1) * rules.stride_ns
    p = np.where(scores >= limit, 0.0, np.where(scores >= clear, 0.05, 0.5))
    columns = zip(ends.tolist(), scores.tolist(), p.tolist(), strict=True)
    windows = [Window(end, score, each, "1") for end, score, each in columns]
    return len(raised(run(rules, windows)[1])) / DAYS


def share_of_budget(factor, budget=1.0):
    """Alarms of series of normal data, over the budget that the limit was counted for on others."""
    known = [bursts(0), bursts(1)]
    clear = float(np.quantile(known, 0.99))
    grid = np.quantile(known, [0.9, 0.97, 0.99, 0.995, 0.998, 0.999, 0.9997])
    rates = [np.mean([alarms_per_day(each, limit, clear, factor, budget) for each in known]) for limit in grid]
    limit = float(np.exp(np.interp(-budget, -np.array(rates), np.log(grid))))
    return [alarms_per_day(bursts(seed), limit, clear, factor, budget) / budget for seed in range(100, 106)]


def test_a_limit_that_rises_keeps_every_series_near_the_budget_where_one_that_stands_still_does_not():
    rising, standing = share_of_budget(2.0), share_of_budget(1.0)
    assert 0.7 < min(rising) <= max(rising) < 1.3
    assert min(standing) < 0.3 < 2 < max(standing)


# ------------------------------------------------------------------------------------------------- in the pipeline

INCIDENTS = Incidents(days=1.0, rates=((40_000.0, 0.6), (4_000.0, 1.2), (40.0, 2.4)), clear=0.8)
LIFTED = {"calibration": replace(models.metadata().calibration, incidents=INCIDENTS)}


def loud(first, end, value, asset="pump-1"):
    return [wide(asset, second, value, value) for second in range(first, end)]


def test_scores_and_events_tell_the_limit_that_decided():
    made = started(assembly(**LIFTED))  # its budget is 4000 a day, one in 21.6 s; it clears below 0.8
    quiet = [loud(first, first + 10, 0.1) for first in (0, 20, 40)]
    readings = quiet[0] + loud(10, 20, 2.0) + quiet[1] + loud(30, 40, 2.0) + quiet[2] + loud(50, 60, 6.0)
    output, _ = feed(made, readings)
    limits = {end: row["limit"] for (_, end), row in scores_of(output).items()}
    told = [(each.transition.kind, each.transition.window.end / 1e9 - T0, each.limit) for each in output.transitions]
    assert told[:2] == [("raised", 13, pytest.approx(1.2)), ("cleared", 23, pytest.approx(1.2))]
    assert (limits[11], limits[13], limits[15], limits[23]) == (pytest.approx(1.2),) * 4
    assert limits[25] == pytest.approx(1.2 * 2 ** (1 - 12 / 21.6))
    (kind, at, limit) = told[2]
    assert (kind, limit) == ("raised", pytest.approx(1.2 * 2 ** max(1 - (at - 13) / 21.6, 0)))
    assert limits[at] == pytest.approx(limit)


@settings(max_examples=150, deadline=None)
@given(plants(), st.data())
def test_outputs_are_the_same_wherever_batches_end_and_restarts_fall(readings, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(readings)), max_size=6)))
    some = st.sets(st.sampled_from(cuts)) if cuts else st.just(set())
    silent, restarts = data.draw(some), data.draw(some)
    assert run_pipeline(readings, cuts, silent, restarts, **LIFTED) == run_pipeline(
        readings, sorted(silent), silent, **LIFTED
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.1, 1.5, 3.0, 6.0]), min_size=1, max_size=20), st.integers(0, 56))
def test_rows_dropped_in_front_change_no_alarm_on_the_rest(bursts, dropped):
    calm = loud(0, 60, 0.1)
    rest = [each for i, value in enumerate(bursts) for each in loud(60 + 6 * i, 66 + 6 * i, value)]
    whole = run_pipeline(calm + rest, [], **LIFTED)
    part = run_pipeline(calm[dropped:] + rest, [], **LIFTED)
    assert part[1] == whole[1]
