"""The alarm list: its order, what each row says, and what became of commands."""

import csv
import io
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dashboard.audit import audit_csv, audit_rows, harmless
from dashboard.book import Book
from dashboard.facts import AlarmStream, facts_of
from dashboard.payload_alarms import SENSOR_WORDS, WORDS, Facts, alarm_sections, first_first, permissions
from monitor.events import ANNUNCIATED, Contribution, State, Verdict
from tests.dashboard.control_room import WALL, alarm, answer, at, command, group, sensor

NOW_S = WALL.timestamp() + 60


def row(asset: str, sections: dict, name: str = "alarms") -> dict:
    """The row of an asset."""
    return next(each for each in sections[name] if each["asset"] == asset)


def test_what_waits_comes_first_then_priority_then_the_newest() -> None:
    alarms = [
        alarm("old", start=10, priority="low"),
        alarm("new", start=20, priority="low"),
        alarm("medium", start=5, priority="medium"),
        alarm("acknowledged-high", "acknowledged", start=90, priority="high"),
        alarm("returned-high", "returned", start=90, priority="high"),
        alarm("latched", "latched_acknowledged", priority="high"),
        alarm("quiet", "normal"),
    ]
    shown = alarm_sections(Facts(alarms=alarms), NOW_S)
    assert [each["asset"] for each in shown["alarms"]] == [
        "medium",
        "new",
        "old",
        "returned-high",
        "acknowledged-high",
        "latched",
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(WORDS)), st.sampled_from(["low", "medium", "high"]), st.integers(0, 99))
    )
)
def test_every_alarm_stands_in_the_list_of_its_state_and_in_no_other(
    made: list[tuple[str, str, int]],
) -> None:
    alarms = [alarm(f"pump-{n}", state, start, priority=p) for n, (state, p, start) in enumerate(made)]
    shown = alarm_sections(Facts(alarms=alarms), NOW_S)
    for name in ("shelved", "suppressed", "out_of_service"):
        assert {each["asset"] for each in shown[name]} == {e.asset for e in alarms if e.state == name}
    assert {each["asset"] for each in shown["alarms"]} == {e.asset for e in alarms if e.state in ANNUNCIATED}
    ringing = [e for e in alarms if e.state in ANNUNCIATED]
    assert [each["asset"] for each in shown["alarms"]] == [e.asset for e in sorted(ringing, key=first_first)]


def test_a_row_says_where_the_alarm_is_and_how_bad_it_was() -> None:
    event = alarm("pump-1", start=3, peak=8.0, labels={"site": "north"}, runbook="https://wiki/pumps")
    shown = row("pump-1", alarm_sections(Facts(alarms=[event]), NOW_S))
    assert (shown["site"], shown["peak"], shown["since"]) == ("north", 8.0, event.start.timestamp())
    assert shown["channels"][0] == {"name": "vibration 1", "share": 0.52}
    assert shown["runbook"] == "https://wiki/pumps"


def test_an_address_that_runs_code_is_no_runbook() -> None:
    event = alarm("pump-1", runbook="javascript:alert(1)")
    assert row("pump-1", alarm_sections(Facts(alarms=[event]), NOW_S))["runbook"] == ""


def test_numbers_that_json_does_not_have_are_null() -> None:
    event = replace(alarm("pump-1"), peak=float("inf"), channels=(Contribution("a", float("nan")),))
    shown = row("pump-1", alarm_sections(Facts(alarms=[event]), NOW_S))
    assert (shown["peak"], shown["channels"][0]["share"]) == (None, None)
    json.dumps(shown, allow_nan=False)


def test_who_acknowledged_and_what_was_labelled_stay_after_later_events() -> None:
    given = command("acknowledge", "pump-1")
    ringing = alarm("pump-1", "acknowledged")
    said = command("label", "pump-1", 2, label="false", incident_id=ringing.occurrence_id)
    facts = Facts(
        alarms=[ringing],
        decisions=[answer(given, "acknowledged"), answer(said, "labelled", actor="ann")],
        commands=[given, said],
    )
    shown = row("pump-1", alarm_sections(facts, NOW_S))
    assert (shown["acknowledged_by"], shown["acknowledged_at"]) == ("ann", given.at.timestamp() + 1)
    assert shown["label"] == "false"


@pytest.mark.parametrize(
    ("age_s", "transition", "expected"),
    [
        (3, None, ("asked", "")),
        (11, None, ("not confirmed", "")),
        (3, "acknowledged", ("accepted", "")),
        (3, "rejected", ("rejected", "the incident is over")),
        (100, "rejected", ("rejected", "the incident is over")),
    ],
)
def test_what_became_of_a_command_stands_at_its_row(
    age_s: float, transition: str | None, expected: tuple[str, str]
) -> None:
    given = command("acknowledge", "pump-1")
    answers = [answer(given, transition, reason="the incident is over")] if transition else []
    facts = Facts(alarms=[alarm("pump-1")], decisions=answers, commands=[given])
    asked = row("pump-1", alarm_sections(facts, given.at.timestamp() + age_s))["asked"]
    assert (asked["answer"], asked["detail"]) == expected
    assert (asked["action"], asked["user"]) == ("acknowledge", "ann")


def test_what_was_accepted_is_not_told_at_the_row_for_long() -> None:
    given = command("acknowledge", "pump-1")
    facts = Facts(alarms=[alarm("pump-1")], decisions=[answer(given, "acknowledged")], commands=[given])
    assert row("pump-1", alarm_sections(facts, given.at.timestamp() + 16))["asked"] is None


def test_a_command_to_all_detectors_of_an_asset_is_told_at_each() -> None:
    facts = Facts(
        alarms=[alarm("pump-1"), alarm("pump-1", detector="slow")],
        commands=[command("acknowledge", "pump-1", detector="")],
    )
    shown = alarm_sections(facts, WALL.timestamp() + 2)["alarms"]
    assert [each["asked"]["answer"] for each in shown] == ["asked", "asked"]


def test_one_rejection_is_told_before_acceptances() -> None:
    given = command("acknowledge", "pump-1", detector="")
    answers = [answer(given, "acknowledged"), answer(given, "rejected", reason="nothing to acknowledge")]
    trail = audit_rows([given], answers, NOW_S)
    assert (trail[0]["answer"], trail[0]["detail"]) == ("rejected", "nothing to acknowledge")


def test_shelved_alarms_come_in_the_order_in_which_they_return() -> None:
    later, sooner = (replace(alarm(a, "shelved"), until=WALL.replace(hour=h)) for a, h in (("a", 20), ("b", 14)))
    without = alarm("c", "shelved")
    shown = alarm_sections(Facts(alarms=[later, without, sooner]), NOW_S)["shelved"]
    assert [each["asset"] for each in shown] == ["b", "a", "c"]


def test_who_hid_an_alarm_and_why_stays_when_it_is_raised_underneath() -> None:
    given = command("shelve", "pump-1", reason="known leak", until=WALL.replace(hour=14))
    hid = replace(answer(given, "shelved"), state="shelved")
    raised = replace(alarm("pump-1", "shelved", active=True), transition="raised", alarm_seq=9)
    book = Book()
    for event in (hid, raised):
        book.add(event)
    shown = row("pump-1", alarm_sections(facts_of(book), NOW_S), "shelved")
    assert (shown["actor"], shown["reason"], shown["active"]) == ("ann", "known leak", True)
    assert shown["until"] == WALL.replace(hour=14).timestamp()


def test_a_quiet_alarm_that_is_hidden_has_no_incident_and_no_peak() -> None:
    quiet = alarm("pump-1", "shelved", occurrence_id="")
    quiet = replace(quiet, incident_id=quiet.alarm_id, peak=0.0)
    shown = row("pump-1", alarm_sections(Facts(alarms=[quiet]), NOW_S), "shelved")
    assert (shown["incident"], shown["since"], shown["peak"]) == ("", None, None)


def test_what_clocks_and_rules_did_is_in_the_trail_once() -> None:
    book = Book()
    back = replace(alarm("pump-1", alarm_seq=4), transition="unshelved", reason="its time is up", decided=WALL)
    hidden = replace(alarm("pump-2", "suppressed", alarm_seq=4), transition="suppressed", reason="start-up of line 3")
    for event in (back, hidden, back):
        book.add(event)
    facts = facts_of(book)
    trail = audit_rows(facts.commands, facts.decisions, NOW_S)
    assert sorted((each["who"], each["what"], each["why"]) for each in trail) == [
        ("a rule", "suppressed", "start-up of line 3"),
        ("the clock", "unshelved", "its time is up"),
    ]


def test_a_past_incident_tells_the_state_that_its_alarm_has_now() -> None:
    over = replace(alarm("pump-1", "normal", start=1), end=at(9), label="")
    now = alarm("pump-1", "shelved", start=50)
    shown = alarm_sections(Facts(alarms=[now], incidents=[over]), NOW_S)["past"][0]
    assert (shown["state"], shown["id"], shown["waits"]) == ("shelved", over.incident_id, False)


def test_a_command_about_another_incident_is_not_told_at_this_one() -> None:
    said = command("label", "pump-1", label="true", incident_id="long ago")
    shown = row("pump-1", alarm_sections(Facts(alarms=[alarm("pump-1")], commands=[said]), WALL.timestamp() + 2))
    assert shown["asked"] is None


def test_only_sections_that_changed_travel_and_the_whole_is_always_there() -> None:
    book = Book()
    book.add(alarm("pump-1"))
    stream = AlarmStream(book)
    assert {"alarms", "audit", "now"} <= stream.step(NOW_S).keys()
    assert stream.step(NOW_S + 1) == {"now": NOW_S + 1}
    book.add(alarm("pump-2"))
    assert stream.step(NOW_S + 2).keys() == {"alarms", "now"}
    assert len(stream.whole()["alarms"]) == 2
    assert stream.whole()["now"] == NOW_S + 2


def test_a_command_without_an_answer_becomes_not_confirmed_though_nothing_comes() -> None:
    book, given = Book(), command("acknowledge", "pump-1")
    book.add(alarm("pump-1"))
    book.add_command(given)
    stream, asked_s = AlarmStream(book), given.at.timestamp()
    assert row("pump-1", stream.step(asked_s + 1))["asked"]["answer"] == "asked"
    assert row("pump-1", stream.step(asked_s + 11))["asked"]["answer"] == "not confirmed"


def test_sensors_that_are_healthy_again_are_not_listed() -> None:
    shown = alarm_sections(Facts(sensors=[sensor("pump-1"), sensor("pump-2", verdict="ok")]), NOW_S)["sensors"]
    assert [(each["asset"], each["word"]) for each in shown] == [("pump-1", "Stuck")]


def test_a_group_is_led_by_its_origin_and_told_at_its_members_rows() -> None:
    first, second = alarm("pump-1", start=5), alarm("pump-2", start=9)
    shown = alarm_sections(Facts(alarms=[first, second], groups=[group(first, second)]), NOW_S)
    assert [(m["asset"], m["origin"]) for m in shown["groups"][0]["members"]] == [("pump-1", True), ("pump-2", False)]
    assert row("pump-1", shown)["group"]["first"] is True
    assert row("pump-2", shown)["group"]["origin"] == "pump-1"


def test_the_trail_has_commands_with_their_answers_and_what_timers_did() -> None:
    given = command("shelve", "pump-1", 1, reason="known leak", until=WALL.replace(hour=14))
    open_ = command("acknowledge", "pump-2", 30)
    timer = replace(alarm("pump-1", "normal"), transition="unshelved", actor="timer", decided=WALL.replace(hour=14))
    trail = audit_rows([given, open_], [answer(given, "shelved"), timer], open_.at.timestamp() + 2)
    assert [(r["who"], r["what"], r["answer"]) for r in trail] == [
        ("timer", "unshelved", "accepted"),
        ("ann", "acknowledge", "asked"),
        ("ann", "shelve", "accepted"),
    ]


def test_the_trail_as_csv_reads_back_and_begins_no_formula() -> None:
    given = command("shelve", "=cmd|' /C calc'!A0", reason='say "why",\nplease', until=WALL)
    rows = list(csv.DictReader(io.StringIO(audit_csv(audit_rows([given], [], NOW_S)), newline="")))
    assert rows[0]["asset"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["why"] == 'say "why",\nplease'
    assert rows[0]["when"] == "2026-01-01T12:00:01.000+00:00"
    assert rows[0]["answer"] == "not confirmed"


@given(st.text())
def test_no_cell_begins_what_a_spreadsheet_takes_for_a_formula(cell: str) -> None:
    assert not harmless(cell).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert harmless(cell).endswith(cell)


def test_a_viewer_may_do_nothing_and_only_an_engineer_takes_out_of_service() -> None:
    assert permissions("viewer") == {}
    assert "take_out_of_service" not in permissions("operator")
    assert permissions("engineer")["accept"] == {"reason": True}
    assert permissions("operator")["acknowledge"] == {"reason": False}


def test_every_state_and_every_verdict_has_a_word() -> None:
    assert set(get_args(State)) == set(WORDS)
    assert set(get_args(Verdict)) == set(SENSOR_WORDS)
