"""Accepted as normal: the open alarm ends, its level rings no more without a retrain, and worse still does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.alarms import AlarmState, Policy, step
from monitor.calibration import Limits
from monitor.decisions import accept_as_normal
from monitor.incidents import Window
from monitor.level import MARGIN, REMEMBERED, observe, quiet_from
from monitor.lifecycle import accept
from monitor.lifecycle import accept_no_more as reset
from monitor.modelfile import Incidents
from monitor.state import Position, StateEntry, decode_entry, encode_entry
from tests import models
from tests.monitor.test_pipeline import T0, WHERE, assembly, feed, scores_of, started, wide

STRIDE = 10
RULES = Policy(Limits(0.01, 0.1, 4.0, 2.0, 1 / 1000), 1, 1, STRIDE)
PLAIN = replace(RULES, limits=Limits(0.01, 0.1, 4.0))


def window(end, score, version="1"):
    return Window(end, score, 0.001 if score >= 4 else 0.5, version)


def run(state, *scores, rules=RULES, version="1"):
    """State after windows with these scores, one a stride, and what happened."""
    kinds = []
    for score in scores:
        state, transition = step(rules, state, window(state.upto + STRIDE, score, version))
        kinds += [transition.kind] if transition else []
    return state, kinds


def accepted(*scores, rules=RULES):
    state, _ = run(AlarmState(), *scores, rules=rules)
    return accept(rules, state, state.upto + 3)


@pytest.mark.parametrize("rules", [RULES, PLAIN])
def test_the_alarm_ends_its_level_is_quiet_and_twice_as_much_rings_at_once(rules):
    state, transition = accepted(*[10.0] * 20, rules=rules)
    assert (transition.kind, transition.reason, transition.after) == ("cleared", "accepted", "normal")
    assert (transition.window.end, transition.incident.seq) == (203, 2)
    state, kinds = run(state, *[10.0, 11.5, 9.0] * 30, rules=rules)
    assert kinds == []
    assert run(state, 20.0, rules=rules)[1] == ["raised"]


def test_an_alarm_above_the_accepted_level_clears_when_it_is_back_there():
    state, _ = accepted(*[10.0] * 20)
    assert run(state, 25.0, 25.0, 10.0)[1] == ["raised", "cleared"]


def test_nothing_is_accepted_where_no_alarm_is_open():
    delayed = replace(RULES, raise_after=3)
    for state in (AlarmState(), run(AlarmState(), 10.0, rules=delayed)[0], run(AlarmState(), 10.0, 1.0)[0]):
        assert accept(RULES, state, 1000) == (state, None)


def test_what_was_accepted_of_one_model_says_nothing_of_anothers_scores():
    state, _ = accepted(*[10.0] * 20)
    assert run(state, 10.0, version="2")[1] == ["raised"]
    assert run(state, 10.0, version="1")[1] == []


def test_a_reset_takes_it_back():
    state, _ = accepted(*[10.0] * 20)
    assert run(reset(state), 10.0)[1] == ["raised"]


def test_accepting_more_never_accepts_less():
    state, _ = accepted(*[50.0] * 20)
    state, _ = run(state, *[200.0] * 3)
    higher, _ = accept(RULES, state, 0)
    assert higher.accepted > state.accepted


def test_one_spike_and_the_transient_of_a_shift_hardly_count():
    transient, _ = accepted(*[1000.0] * 5, *[10.0] * 3 * REMEMBERED)
    spike, _ = accepted(*[10.0] * REMEMBERED, 1000.0)
    assert transient.accepted < 20
    assert spike.accepted < 20


def test_what_was_accepted_is_read_back_from_the_state_topic():
    state, _ = accepted(*[10.0] * 20)
    entry = StateEntry(1, state)
    assert decode_entry(encode_entry(entry)) == entry
    opened, _ = run(AlarmState(), *[10.0] * 5)
    assert decode_entry(encode_entry(StateEntry(1, opened))).alarm == opened


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=REMEMBERED))
def test_what_is_quiet_lies_above_the_geometric_mean_by_the_margin_at_least_and_not_above_what_was_seen(scores):
    level = None
    for score in scores:
        level = observe(level, score, "1")
    logs = np.log(scores)
    assert level.mean == pytest.approx(logs.mean())
    quiet = quiet_from(level, max(scores))
    assert quiet >= MARGIN * np.exp(logs.mean()) * (1 - 1e-9)
    assert quiet <= max(MARGIN * np.exp(logs.mean()) * (1 + 1e-9), max(scores))


# ------------------------------------------------------------------------------------------------- in the pipeline

INCIDENTS = Incidents(days=1.0, rates=((40_000.0, 0.6), (4_000.0, 1.2), (40.0, 2.4)), clear=0.8)
COUNTED = {"calibration": replace(models.metadata().calibration, incidents=INCIDENTS)}


def loud(first, end, value):
    return [wide("pump-1", second, value, value) for second in range(first, end)]


@pytest.mark.parametrize("model", [{}, COUNTED])
def test_it_holds_in_the_pipeline_and_survives_a_restart(model):
    made = started(assembly(**model))
    readings = loud(0, 20, 0.1) + loud(20, 60, 3.0)
    first, _ = feed(made, readings)
    decided = accept_as_normal(made.pipeline, WHERE, "pump-1", (T0 + 60) * 10**9)
    assert [told.transition.reason for told in decided.transitions] == ["accepted"]
    assert accept_as_normal(made.pipeline, WHERE, "pump-1", (T0 + 60) * 10**9).transitions == []
    assert accept_as_normal(made.pipeline, WHERE, "pump-2", (T0 + 60) * 10**9).transitions == []
    state = {key: entry for output in (first, decided) for _, key, entry in output.state}
    [(_, _, entry)], position = decided.state, decided.positions[WHERE]
    limit = entry.alarm.accepted
    assert 3.3 < limit < 4
    again = started(assembly(**model), position, list(state.items()))
    feed(again, readings[position.low :], position.low)
    for each in (made, again):
        quiet, _ = feed(each, loud(60, 100, 3.0), 60)
        assert quiet.transitions == []
        assert [row["limit"] for row in scores_of(quiet).values()] == pytest.approx([limit] * 20)
        worse, _ = feed(each, loud(100, 140, 6.0), 100)
        assert [told.transition.kind for told in worse.transitions] == ["raised"]


def test_an_alarm_restored_of_an_asset_not_yet_seen_can_be_accepted():
    first, _ = feed(started(assembly()), loud(0, 20, 0.1) + loud(20, 60, 3.0))
    state = {key: entry for _, key, entry in first.state}
    made = started(assembly(), Position(60, 60), list(state.items()))
    decided = accept_as_normal(made.pipeline, WHERE, "pump-1", (T0 + 60) * 10**9, "d")
    assert [told.transition.reason for told in decided.transitions] == ["accepted"]
    assert accept_as_normal(made.pipeline, WHERE, "pump-1", 0, "other").transitions == []
