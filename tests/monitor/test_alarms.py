"""Alarms: every state and window against its transition, delays in whole windows, and one incident for one event."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alarms import AlarmState, Policy, policy, step
from monitor.calibration import Limits
from monitor.events import Contribution
from monitor.incidents import MAX_EXPLAINED, MAX_PAST, Height, Incident, Seen, Window
from monitor.revisions import limited, published, with_remade
from tests.naive import alarm_events

LIMITS = Limits(raise_p=0.01, clear_p=0.1, score=3.0)
STRIDE = 10
P = {"over": 0.005, "at the limit": 0.01, "between": 0.05, "at the clear limit": 0.1, "under": 0.5}


def rules(raise_after=3, clear_after=2):
    return Policy(LIMITS, raise_after, clear_after, STRIDE)


def window(end, level="over", score=5.0, version="1"):
    return Window(end, score, P[level], version)


def run(given_rules, *windows, state=None):
    """State after all windows, and the transitions on the way."""
    state, told = state or AlarmState(), []
    for each in windows:
        state, transition = step(given_rules, state, each)
        told += [transition] if transition else []
    return state, told


def after(*levels, **given_rules):
    """State and kinds of transitions after windows of these levels, one a stride."""
    windows = [window((i + 1) * STRIDE, level) for i, level in enumerate(levels)]
    state, told = run(rules(**given_rules), *windows)
    return state, [transition.kind for transition in told]


# ------------------------------------------------------------------------------------------------- every transition


@pytest.mark.parametrize(
    ("before", "level", "expected", "kind"),
    [  # (state, over, under), raised after 3 over, cleared after 2 under
        (("normal", 0, 0), "over", ("normal", 1, 0), None),
        (("normal", 0, 0), "at the limit", ("normal", 1, 0), None),
        (("normal", 0, 0), "between", ("normal", 0, 0), None),
        (("normal", 0, 0), "under", ("normal", 0, 0), None),
        (("normal", 1, 0), "over", ("normal", 2, 0), None),
        (("normal", 2, 0), "over", ("unacknowledged", 3, 0), "raised"),
        (("normal", 2, 0), "between", ("normal", 0, 0), None),
        (("normal", 2, 0), "under", ("normal", 0, 0), None),
        (("unacknowledged", 3, 0), "over", ("unacknowledged", 4, 0), None),
        (("unacknowledged", 3, 0), "between", ("unacknowledged", 3, 0), None),
        (("unacknowledged", 3, 0), "at the clear limit", ("unacknowledged", 3, 0), None),
        (("unacknowledged", 3, 0), "under", ("unacknowledged", 3, 1), None),
        (("unacknowledged", 3, 1), "over", ("unacknowledged", 4, 0), None),
        (("unacknowledged", 3, 1), "between", ("unacknowledged", 3, 0), None),
        (("unacknowledged", 3, 1), "under", ("returned", 0, 0), "cleared"),
    ],
)
def test_every_state_and_window_has_its_transition(before, level, expected, kind):
    name, over, under = before
    incident = Incident(0, 90, window(90), seq=1) if over else None
    state, transition = step(rules(), AlarmState(name, over, under, 90, incident), window(100, level))
    assert (state.state, state.over, state.under) == expected
    assert (transition.kind if transition else None) == kind
    assert state.upto == 100
    if transition:
        assert (transition.before, transition.after) == (name, expected[0])
        assert transition.window.end == 100


# ---------------------------------------------------------------------------------------------------------- delays


@pytest.mark.parametrize(
    ("delay_s", "stride_s", "windows"),
    [(0, 10, 1), (1, 10, 2), (10, 10, 2), (10.001, 10, 3), (20, 10, 3), (0.3, 0.1, 4), (86_400, 0.1, 864_001)],
)
def test_delay_is_rounded_up_to_whole_strides(delay_s, stride_s, windows):
    made = policy(LIMITS, round(stride_s * 1e9), delay_s, 0)
    assert (made.raise_after, made.clear_after) == (windows, 1)
    made = policy(LIMITS, round(stride_s * 1e9), 0, delay_s)
    assert (made.raise_after, made.clear_after) == (1, windows)


def test_without_delays_the_first_window_over_raises_and_the_first_under_clears():
    assert after("over", "under", "over", raise_after=1, clear_after=1)[1] == ["raised", "cleared", "raised"]


def test_interrupted_on_delay_begins_anew():
    assert after("over", "over", "under", "over", "over")[1] == []
    assert after("over", "over", "under", "over", "over", "over")[1] == ["raised"]


def test_a_window_within_the_deadband_neither_clears_nor_counts_towards_it():
    raised = ["over"] * 3
    assert after(*raised, *["between"] * 20)[1] == ["raised"]
    assert after(*raised, "under", "between", "under", "between", "under")[1] == ["raised"]
    assert after(*raised, "under", "under")[1] == ["raised", "cleared"]


def test_windows_that_were_not_scored_neither_count_nor_reset():
    state, told = run(rules(), window(10), window(50), window(130), window(500, "under"), window(900, "under"))
    assert [(transition.kind, transition.window.end) for transition in told] == [("raised", 130), ("cleared", 900)]
    assert state.at_rest


# -------------------------------------------------------------------------------------------------------- incidents


def test_one_event_is_one_incident_however_many_windows_it_spans():
    levels = ["over"] * 50 + ["under", "over"] * 20 + ["between"] * 20 + ["under"] * 2
    state, kinds = after(*levels)
    assert kinds == ["raised", "cleared"]
    assert (state.state, state.over, state.incident, state.upto) == ("returned", 0, None, len(levels) * STRIDE)


def test_incident_begins_one_stride_before_its_first_window_over_ends_and_its_events_are_counted():
    levels = ["under", "over", "over", "over", "over", "under", "under"]
    windows = [window((i + 1) * STRIDE, level) for i, level in enumerate(levels)]
    _, (raised, cleared) = run(rules(), *windows)
    assert (raised.incident.start, raised.incident.last_over, raised.incident.seq) == (10, 40, 1)
    assert (cleared.incident.start, cleared.incident.last_over, cleared.incident.seq) == (10, 50, 2)


def test_peak_channels_and_version_are_those_of_the_highest_window():
    state = AlarmState()
    seen = []
    for i, score in enumerate([4.0, 9.0, 9.0, 5.0]):
        channels = Seen((Contribution(f"c{i}", 1.0),))
        state, _ = step(rules(), state, window(10 * (i + 1), score=score, version="v0"), channels)
        seen.append((state.incident.peak.end, state.incident.peak.model_version, state.incident.channels[0].channel))
    assert seen == [(10, "v0", "c0"), (20, "v0", "c1"), (20, "v0", "c1"), (20, "v0", "c1")]


def test_windows_of_different_models_are_compared_by_their_p_values():
    windows = [Window(10, 50.0, 1e-4, "1"), Window(20, 2.0, 1e-3, "2"), Window(30, 3.0, 1e-9, "2")]
    state, peaks = AlarmState(), []
    for each in windows:
        state, _ = step(rules(), state, each)
        peaks.append(state.incident.peak.end)
    assert peaks == [10, 10, 30]


def test_a_new_incident_knows_nothing_of_the_last():
    windows = [window(10, score=99.0), window(20, "under"), window(30, score=4.0)]
    _, told = run(rules(1, 1), *windows)
    assert [(t.incident.start, t.incident.peak.score, t.incident.seq) for t in told] == [
        (0, 99.0, 1),
        (0, 99.0, 2),
        (20, 4.0, 1),
    ]


# -------------------------------------------------------------------------------------------------------- revisions


def revisable(heights=20, bound=100, raise_after=1, clear_after=1):
    return Policy(LIMITS, raise_after, clear_after, STRIDE, bound, heights)


def remembered_ends(incident):
    return [height.window.end for height in incident.heights]


def test_without_a_revision_bound_an_incident_remembers_its_peak_only():
    state, told = run(rules(1, 1), window(10), window(20, score=9.0), window(30, "under"))
    assert all((each.incident.heights, each.incident.revision_bound) == ((), 0) for each in told)
    assert state.past == ()


def test_an_incident_remembers_its_highest_windows_of_equal_ones_the_first():
    scores = [4.0, 9.0, 5.0, 5.0, 7.0, 3.0]
    state, _ = run(revisable(heights=3), *(window(10 * (i + 1), score=score) for i, score in enumerate(scores)))
    assert remembered_ends(state.incident) == [20, 30, 50]


def test_what_contributed_is_kept_of_the_highest_few_windows():
    state = AlarmState()
    for i in range(MAX_EXPLAINED + 3):
        state, _ = step(revisable(), state, window(10 * (i + 1), score=1.0 + i), Seen((Contribution("a", 1.0),)))
    explained = [height.window.end for height in state.incident.heights if height.channels]
    assert explained == [10 * (i + 1) for i in range(3, MAX_EXPLAINED + 3)]


def test_cleared_incidents_are_remembered_within_the_bound_and_only_the_last_few():
    pairs = [(window(20 * i + 10), window(20 * i + 20, "under")) for i in range(8)]
    state, told = run(revisable(bound=10_000), *(each for pair in pairs for each in pair))
    assert [each.start for each in state.past] == [20 * i for i in range(8 - MAX_PAST, 8)]
    assert state.past[-1] == told[-1].incident
    assert state.at_rest
    state, _ = run(revisable(bound=100), *pairs[0], window(1000), window(1010, "under"))
    assert [each.start for each in state.past] == [990]


def test_remembering_changes_no_transition():
    levels = ["over", "under", "over", "over", "between", "under", "over", "under", "under"]
    windows = [window((i + 1) * STRIDE, level, score=5.0 - i) for i, level in enumerate(levels)]
    _, plain = run(rules(2, 2), *windows)
    _, remembering = run(revisable(raise_after=2, clear_after=2), *windows)
    assert [(each.kind, each.window, each.incident.peak, each.incident.seq) for each in remembering] == [
        (each.kind, each.window, each.incident.peak, each.incident.seq) for each in plain
    ]


@pytest.mark.parametrize(
    ("scores", "remade", "peak", "told"),
    [
        ([4.0, 9.0, 5.0], {10: 11.0}, (10, 11.0), True),
        ([4.0, 9.0, 5.0], {20: 10.0}, (20, 10.0), True),
        ([4.0, 9.0, 5.0], {20: 6.0}, (20, 6.0), True),
        ([4.0, 9.0, 5.0], {20: 1.0}, (30, 5.0), True),
        ([4.0, 9.0, 5.0], {20: 1.0, 30: 0.5}, (10, 4.0), True),
        ([4.0, 9.0, 5.0], {10: 8.0}, (20, 9.0), False),
        ([4.0, 9.0, 5.0], {10: 9.0}, (10, 9.0), True),  # of equal windows the first
        ([4.0, 9.0, 5.0], {30: 9.0}, (20, 9.0), False),
        ([4.0, 9.0, 5.0], {25: 12.0}, (25, 12.0), True),  # a window that was not over the limit
    ],
)
def test_peak_of_an_incident_whose_windows_are_made_again(scores, remade, peak, told):
    state, _ = run(revisable(), *(window(10 * (i + 1), score=score) for i, score in enumerate(scores)))
    why = (Contribution("late", 1.0),)
    heights = [Height(window(end, score=score), 7, why) for end, score in remade.items()]
    found, changed = with_remade(revisable(), state.incident, heights, lambda height: (Contribution("known", 1.0),))
    assert (found.peak.end, found.peak.score, changed) == (*peak, told)
    assert found.seq == state.incident.seq + told
    expected = "late" if peak[0] in remade else "known"
    assert not told or [each.channel for each in found.channels] == [expected]
    assert (found.start, found.last_over) == (state.incident.start, state.incident.last_over)


def test_an_incident_of_which_readings_are_not_known_far_enough_back_is_never_revised():
    state, _ = run(revisable(bound=100), window(10), window(20, "under"), window(30))
    assert [each.start for each in published(revisable(bound=100), state)] == [0, 20]
    assert published(revisable(bound=101), state) == []
    assert published(revisable(bound=100), limited(state, 99)) == []
    assert limited(state, 100) == state
    forgotten = limited(state, 0)
    assert (forgotten.past, forgotten.incident.heights) == ((), ())
    assert forgotten.incident.peak == state.incident.peak


LEVELS = st.lists(st.tuples(st.sampled_from(sorted(P)), st.sampled_from([1.0, 2.0, 3.0])), max_size=60)
AFTER = st.integers(1, 4)


def windows_of(levels):
    return [window((i + 1) * STRIDE, level, score) for i, (level, score) in enumerate(levels)]


@settings(max_examples=300)
@given(LEVELS, AFTER, AFTER)
def test_events_are_those_of_the_oracle(levels, raise_after, clear_after):
    windows = windows_of(levels)
    _, told = run(rules(raise_after, clear_after), *windows)
    expected = alarm_events([(w.end, w.score, w.p_value) for w in windows], 0.01, 0.1, raise_after, clear_after)
    assert [
        (t.kind, t.window.end, t.incident.start + STRIDE, t.incident.last_over, t.incident.peak.end) for t in told
    ] == expected


@settings(max_examples=200)
@given(LEVELS, AFTER, AFTER, st.data())
def test_windows_that_are_read_again_change_nothing(levels, raise_after, clear_after, data):
    windows = windows_of(levels)
    cut = data.draw(st.integers(0, len(windows)))
    back = data.draw(st.integers(0, cut))
    made = rules(raise_after, clear_after)
    first, told = run(made, *windows[:cut])
    again, repeated = run(made, *windows[back:cut], state=first)
    assert (again, repeated) == (first, [])
    last, more = run(made, *windows[back:], state=first)
    assert (last, told + more) == run(made, *windows)


@settings(max_examples=200)
@given(LEVELS, AFTER, AFTER)
def test_at_rest_a_window_within_the_limits_changes_nothing_but_the_time(levels, raise_after, clear_after):
    made = rules(raise_after, clear_after)
    windows = windows_of(levels)
    state, _ = run(made, *windows)
    end = (len(windows) + 1) * STRIDE
    for level in ("between", "under"):
        following, transition = step(made, state, window(end, level))
        unchanged = (following.state, following.over, following.incident) == (state.state, 0, None)
        assert not state.at_rest or (unchanged and transition is None)
