"""The life of an alarm by ISA-18.2: every state against everything that can happen to it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.alarms import AlarmState, Decision, Hold, Policy
from monitor.calibration import Limits
from monitor.commands import ALLOWED, Command
from monitor.events import ACTIVE, ANNUNCIATED, Contribution, to_datetime, to_ns
from monitor.incidents import Incident, Seen, Window
from monitor.lifecycle import UNSHELVED_BY_TIME, expire, follow, obey, suppress

STRIDE = 10
OLD = 32 * "0"  # an incident's id
NOW = to_ns(datetime(2026, 5, 1, 12, tzinfo=UTC))
HOUR = 3_600_000_000_000
PLAIN = Policy(Limits(0.01, 0.1, 3.0), 1, 1, STRIDE)
LATCHING = replace(PLAIN, latching=True)
WINDOWS = {"over": (5.0, 0.005), "between": (2.0, 0.05), "under": (0.5, 0.5)}

PEAK = Window(90, 6.0, 0.001, "1")
INCIDENT = Incident(70, 90, PEAK, (Contribution("a", 1.0),), seq=1)
ACTIVE_ONE = {"over": 2, "incident": INCIDENT}
HELD = Hold("ann", "noisy", NOW - HOUR, NOW + HOUR)
STATES = {
    "normal": AlarmState(upto=90),
    "unacknowledged": AlarmState("unacknowledged", upto=90, **ACTIVE_ONE),
    "acknowledged": AlarmState("acknowledged", upto=90, **ACTIVE_ONE),
    "returned": AlarmState("returned", upto=90, ended=INCIDENT),
    "latched": AlarmState("latched", upto=90, ended=INCIDENT),
    "latched_acknowledged": AlarmState("latched_acknowledged", upto=90, ended=INCIDENT),
    "shelved, normal": AlarmState(upto=90, shelved=HELD),
    "shelved, active": AlarmState("unacknowledged", upto=90, shelved=HELD, **ACTIVE_ONE),
    "shelved, latched": AlarmState("latched", upto=90, shelved=HELD, ended=INCIDENT),
    "suppressed, normal": AlarmState(upto=90, suppressed="night"),
    "suppressed, active": AlarmState("unacknowledged", upto=90, suppressed="night", **ACTIVE_ONE),
    "suppressed, latched": AlarmState("latched", upto=90, suppressed="night", ended=INCIDENT),
    "out of service, normal": AlarmState(upto=90, out_of_service=HELD),
    "out of service, active": AlarmState("unacknowledged", upto=90, out_of_service=HELD, **ACTIVE_ONE),
    "out of service, latched": AlarmState("latched", upto=90, out_of_service=HELD, ended=INCIDENT),
}
# What happens to an alarm in each state: the event, and the state that a person sees then. "-" is no event at all,
# "no" is a command that is rejected. Columns: a window over the limit, one under the clear limit (with and without
# latching), acknowledge, reset, shelve, unshelve, its time up, out of service, back in service, accept, a rule of
# suppression begins, and ends.
TABLE = """
state                   | over                 | under                | under, latching              | acknowledge                       | reset        | shelve          | unshelve                 | time up                  | take_out_of_service                 | return_to_service                  | accept                 | rule begins            | rule ends
normal                  | raised unacknowledged| -                    | -                            | no                                | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | no                     | suppressed suppressed  | -
unacknowledged          | -                    | cleared returned     | cleared latched              | acknowledged acknowledged         | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | cleared normal         | suppressed suppressed  | -
acknowledged            | -                    | cleared normal       | cleared latched_acknowledged | no                                | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | cleared normal         | suppressed suppressed  | -
returned                | raised unacknowledged| -                    | -                            | acknowledged normal               | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | no                     | suppressed suppressed  | -
latched                 | raised unacknowledged| -                    | -                            | acknowledged latched_acknowledged | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | no                     | suppressed suppressed  | -
latched_acknowledged    | raised unacknowledged| -                    | -                            | no                                | reset normal | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | no                     | suppressed suppressed  | -
shelved, normal         | raised shelved       | -                    | -                            | no                                | no           | shelved shelved | unshelved normal         | unshelved normal         | taken_out_of_service out_of_service | no                                 | no                     | suppressed shelved     | -
shelved, active         | -                    | cleared shelved      | cleared shelved              | no                                | no           | shelved shelved | unshelved unacknowledged | unshelved unacknowledged | taken_out_of_service out_of_service | no                                 | cleared shelved        | suppressed shelved     | -
shelved, latched        | raised shelved       | -                    | -                            | no                                | no           | shelved shelved | unshelved latched        | unshelved latched        | taken_out_of_service out_of_service | no                                 | no                     | suppressed shelved     | -
suppressed, normal      | raised suppressed    | -                    | -                            | no                                | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | no                     | -                      | unsuppressed normal
suppressed, active      | -                    | cleared suppressed   | cleared suppressed           | no                                | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | cleared suppressed     | -                      | unsuppressed unacknowledged
suppressed, latched     | raised suppressed    | -                    | -                            | no                                | no           | shelved shelved | no                       | -                        | taken_out_of_service out_of_service | no                                 | no                     | -                      | unsuppressed latched
out of service, normal  | raised out_of_service| -                    | -                            | no                                | no           | no              | no                       | -                        | no                                  | returned_to_service normal         | no                     | suppressed out_of_service | -
out of service, active  | -                    | cleared out_of_service | cleared out_of_service     | no                                | no           | no              | no                       | -                        | no                                  | returned_to_service unacknowledged | cleared out_of_service | suppressed out_of_service | -
out of service, latched | raised out_of_service| -                    | -                            | no                                | no           | no              | no                       | -                        | no                                  | returned_to_service latched        | no                     | suppressed out_of_service | -
"""  # noqa: E501


def cells():
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    return [(row[0], what, expected) for row in rows for what, expected in zip(head[1:], row[1:], strict=True)]


def command(action, **changes):
    asked = {
        "command_id": "c1", "action": action, "asset": "pump-1", "user": "bea", "role": "engineer",
        "reason": "because",
        "at": to_datetime(NOW), "until": to_datetime(NOW + HOUR) if action == "shelve" else None,
    }  # fmt: skip
    return Command(**(asked | changes))


def obeyed(state, asked, policy=PLAIN, incident_id="the one", longest_s=43_200):
    return obey(policy, state, asked, NOW, "1", incident_id, longest_s)


def happens(what, state):
    """The state and the events after this."""
    rule = state.suppressed  # a window says the same of the rules as the one before it
    match what:
        case "over" | "between" | "under":
            return follow(PLAIN, state, Window(100, *WINDOWS[what], "1"), rule=rule)
        case "under, latching":
            return follow(LATCHING, state, Window(100, *WINDOWS["under"], "1"), rule=rule)
        case "time up":
            after, told = expire(state, NOW + HOUR, "1")
        case "rule begins" | "rule ends":
            window = Window(100, *WINDOWS["between"], "1")
            after, told = suppress(state, window, "night" if what == "rule begins" else "", 0)
        case _:
            after, told = obeyed(state, command(what))
    return after, [told] if told else []


def test_the_table_has_every_state_and_everything_that_can_happen():
    assert {state for state, _, _ in cells()} == set(STATES)
    assert set(ALLOWED) - {what for _, what, _ in cells()} == {"label"}


@pytest.mark.parametrize(("name", "what", "expected"), cells())
def test_every_state_and_what_happens_to_it(name, what, expected):
    before = STATES[name]
    after, told = happens(what, before)
    if expected == "-":
        assert told == []
        assert after.shown == before.shown
        return
    [event] = told
    kind, shown = ("rejected", before.shown) if expected == "no" else expected.split()
    assert (event.kind, event.before, event.after, after.shown) == (kind, before.shown, shown, shown)
    assert (event.number, after.told) == (before.told + 1, before.told + 1)
    assert event.active == after.active
    if expected == "no":
        assert event.reason
        assert replace(after, told=before.told) == before


@pytest.mark.parametrize("name", STATES)
def test_a_window_between_the_limits_changes_no_state(name):
    after, told = happens("between", STATES[name])
    assert (after.shown, after.state, told) == (STATES[name].shown, STATES[name].state, [])


@pytest.mark.parametrize("name", STATES)
def test_a_label_is_told_and_changes_nothing(name):
    after, told = obeyed(STATES[name], command("label", label="false", incident_id=OLD))
    assert (told.kind, told.label, told.labelled, told.incident) == ("labelled", "false", OLD, None)
    assert replace(after, told=0) == STATES[name]


# ------------------------------------------------------------------------------------------------- the finer rules


def test_a_decision_says_who_why_when_and_by_which_command():
    after, told = obeyed(STATES["unacknowledged"], command("acknowledge"))
    assert told.decision == Decision("bea", "because", NOW, "c1")
    assert (told.incident.seq, after.incident.seq) == (2, 2)


def test_an_acknowledged_return_belongs_to_the_incident_that_has_ended():
    after, told = obeyed(STATES["returned"], command("acknowledge"))
    assert (told.incident.start, told.incident.seq, after.ended) == (INCIDENT.start, 2, None)


def test_an_alarm_that_rings_again_before_it_was_acknowledged_is_a_new_incident():
    after, [told] = happens("over", STATES["returned"])
    assert (told.before, told.incident.start, told.incident.seq) == ("returned", 90, 1)
    assert after.ended is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"until": to_datetime(NOW)}, "passed"),
        ({"until": to_datetime(NOW + 13 * HOUR)}, "12 hours at most"),
        ({"until": None}, "takes a time"),
        ({"until": to_datetime(NOW + HOUR).replace(tzinfo=None)}, "no zone"),
        ({"reason": " "}, "takes a reason"),
        ({"role": "viewer"}, "the role viewer may not"),
        ({"incident_id": "another"}, "is over"),
    ],
)
def test_a_command_that_cannot_be_obeyed_says_why(changes, why):
    after, told = obeyed(STATES["unacknowledged"], command("shelve", **changes))
    assert told.kind == "rejected"
    assert why in told.reason
    assert after.shelved is None


@pytest.mark.parametrize("action", sorted(ALLOWED))
@pytest.mark.parametrize("role", ["viewer", "operator", "engineer"])
def test_a_role_may_what_it_is_allowed(action, role):
    given = {"label": "true", "incident_id": OLD} if action == "label" else {}
    _, told = obeyed(STATES["unacknowledged"], command(action, role=role, **given))
    assert ("may not" in told.reason) == (role not in ALLOWED[action])


def test_shelving_again_moves_the_end():
    asked = command("shelve", until=to_datetime(NOW + 2 * HOUR))
    after, told = obeyed(STATES["shelved, active"], asked)
    assert (after.shelved.until, told.until) == (NOW + 2 * HOUR, NOW + 2 * HOUR)


def test_a_shelved_alarm_comes_back_by_itself_and_rings_if_its_condition_stands():
    state = STATES["shelved, active"]
    assert expire(state, NOW + HOUR - 1, "1") == (state, None)
    after, told = expire(state, NOW + 5 * HOUR, "1")
    assert (told.kind, told.after, told.reason) == ("unshelved", "unacknowledged", UNSHELVED_BY_TIME)
    assert told.decision.at == NOW + HOUR  # not when somebody looked
    assert not after.hidden


def test_what_nobody_hears_lifts_no_limit():
    lifting = replace(PLAIN, limits=Limits(0.01, 0.1, 3.0, 2.0, 1e-9))
    for name in ("shelved, normal", "suppressed, normal", "out of service, normal"):
        after, [told] = follow(lifting, STATES[name], Window(100, 5.0, 0.005, "1"), rule=STATES[name].suppressed)
        assert (told.kind, after.lift) == ("raised", 0.0)
    assert follow(lifting, STATES["normal"], Window(100, 5.0, 0.005, "1"))[0].lift == 1.0


def test_a_rule_holds_on_for_its_time_after_its_condition():
    state, told = AlarmState(), []
    for end, rule in [(10, "start-up"), (20, ""), (30, ""), (40, "start-up"), (50, ""), (60, ""), (70, ""), (80, "")]:
        state, events = follow(PLAIN, state, Window(end, *WINDOWS["under"], "1"), rule=rule, hold_ns=25)
        told += [(end, event.kind) for event in events]
    assert told == [(10, "suppressed"), (80, "unsuppressed")]


def test_the_first_window_under_a_rule_rings_for_nobody():
    _, told = follow(PLAIN, STATES["normal"], Window(100, *WINDOWS["over"], "1"), rule="night")
    assert [(event.kind, event.after) for event in told] == [("suppressed", "suppressed"), ("raised", "suppressed")]


def test_an_incident_that_grows_graver_rings_again_though_it_was_acknowledged():
    graded = replace(PLAIN, steps=(2.0, 4.0))
    state, [raised] = follow(graded, AlarmState(), Window(10, 3.5, 0.005, "1"))
    state, _ = obeyed(state, command("acknowledge"))
    state, quiet = follow(graded, state, Window(20, 5.0, 0.005, "1"))
    state, [medium] = follow(graded, state, Window(30, 6.0, 0.005, "1"))
    state, [high] = follow(graded, state, Window(40, 99.0, 0.005, "1"))
    state, lower = follow(graded, state, Window(50, 6.0, 0.005, "1"))
    assert (raised.incident.priority, quiet, lower) == ("low", [], [])
    assert [(t.kind, t.before, t.after, t.incident.priority) for t in (medium, high)] == [
        ("escalated", "acknowledged", "unacknowledged", "medium"),
        ("escalated", "unacknowledged", "unacknowledged", "high"),
    ]


def test_the_weight_of_an_asset_makes_its_incidents_graver():
    graded = replace(PLAIN, steps=(2.0, 4.0))
    found = [
        follow(graded, AlarmState(), Window(10, 3.5, 0.005, "1"), weight=weight)[1][0].incident.priority
        for weight in (0.5, 1.0, 2.0, 4.0)
    ]
    assert found == ["low", "low", "medium", "high"]


# ----------------------------------------------------------------------------------------------- n of m windows


def density(levels, needed, last, clear_after=1):
    policy = Policy(Limits(0.01, 0.1, 3.0), 99, clear_after, STRIDE, density=(needed, last))
    state, told = AlarmState(), []
    for i, level in enumerate(levels):
        seen = Seen((Contribution(str(i), 1.0),))
        state, events = follow(policy, state, Window(10 * (i + 1), *WINDOWS[level], "1"), seen)
        told += [(event.kind, event.window.end, event.incident.start) for event in events]
    return state, told


def test_n_of_the_last_m_windows_raise_and_the_incident_begins_with_the_oldest_of_them():
    assert density(["over", "under", "under", "over", "under", "over"], 3, 5)[1] == []
    assert density(["over", "under", "over", "under", "over"], 3, 5)[1] == [("raised", 50, 0)]
    assert density(["over", *["under"] * 4, "over", "over", "over"], 3, 5)[1] == [("raised", 80, 50)]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["over", "under"]), max_size=40), st.integers(1, 8), st.integers(0, 8))
def test_n_of_m_is_what_counting_over_and_over_gives(levels, needed, more):
    expected, since, last = [], 0, needed + more
    raised = False
    for i, level in enumerate(levels):
        recent = [k for k in range(max(since, i + 1 - last), i + 1) if levels[k] == "over"]
        if raised and level == "under":
            expected.append(("cleared", 10 * (i + 1)))
            raised, since = False, i + 1
        elif not raised and len(recent) >= needed:
            expected.append(("raised", 10 * (i + 1)))
            raised = True
    assert [(kind, end) for kind, end, _ in density(levels, needed, last)[1]] == expected


# ------------------------------------------------------------------------------------------------ any order of things

THINGS = st.lists(
    st.one_of(
        st.sampled_from(sorted(WINDOWS)).map(lambda level: ("window", level)),
        st.sampled_from(sorted(set(ALLOWED) - {"label"})).map(lambda action: ("command", action)),
        st.sampled_from(["", "night"]).map(lambda rule: ("rule", rule)),
        st.just(("time", "")),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(THINGS, st.booleans())
def test_whatever_happens_events_are_a_chain_and_incidents_are_whole(things, latching):
    policy = LATCHING if latching else PLAIN
    state, told, rule, now = AlarmState(), [], "", NOW
    for kind, what in things:
        now += HOUR // 4
        if kind == "rule":
            rule = what
        elif kind == "window":
            state, events = follow(policy, state, Window(state.upto + STRIDE, *WINDOWS[what], "1"), rule=rule)
            told += events
        elif kind == "command":
            asked = command(what, at=to_datetime(now), until=to_datetime(now) + timedelta(hours=1))
            state, event = obey(policy, state, asked, now, "1", "", 43_200)
            told.append(event)
        else:
            state, event = expire(state, now, "1")
            told += [event] if event else []
        assert (state.state in ACTIVE) == (state.incident is not None and state.active)
        assert state.state not in ("returned", "latched", "latched_acknowledged") or state.ended is not None
        assert not (state.hidden and state.state in ("acknowledged", "returned", "latched_acknowledged"))
    shown = "normal"
    for number, event in enumerate(told, 1):
        assert (event.number, event.before) == (number, shown)
        shown = event.after
    for start in {event.incident.start for event in told if event.incident}:
        mine = [event for event in told if event.incident and event.incident.start == start]
        assert [event.incident.seq for event in mine] == list(range(1, len(mine) + 1))
        assert mine[0].kind == "raised"
        assert [event.kind for event in mine].count("cleared") <= 1
    rung = [event for event in told if event.after in ANNUNCIATED and event.before not in ANNUNCIATED]
    assert all(event.kind in ("raised", "unshelved", "unsuppressed", "returned_to_service") for event in rung)
