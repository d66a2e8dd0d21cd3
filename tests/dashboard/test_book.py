"""What events said last: of alarms, incidents, sensors, groups; and who asked for what."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dashboard.book import Book, Limits, is_open
from monitor.commands import Command
from monitor.events import GroupEvent, IncidentEvent, Member, alarm_id
from tests.dashboard.plant import incident, moment, sensor_fault

ALARM = alarm_id("tocsin.readings", 0, "pump-1", "pumps")


def event(start: int, alarm_seq: int, state: str, **more: object) -> IncidentEvent:
    """An event of pump-1's alarm."""
    return replace(
        incident("pump-1", start),
        alarm_id=ALARM,
        alarm_seq=alarm_seq,
        seq=alarm_seq,
        state=state,
        active=state in ("unacknowledged", "acknowledged"),
        **more,
    )


def states(book: Book) -> list[str]:
    """States of all alarms."""
    return [event.state for event in book.alarms()]


LIFE = [
    event(10, 1, "unacknowledged"),
    event(10, 2, "acknowledged", transition="acknowledged"),
    event(10, 3, "normal", transition="cleared", end=moment(20)),
    event(30, 4, "unacknowledged"),
    event(30, 5, "returned", transition="cleared", end=moment(40)),
]


@given(st.permutations(LIFE))
def test_an_alarm_is_what_its_latest_event_says_in_whatever_order_they_come(events: list[IncidentEvent]) -> None:
    book = Book()
    for each in events:
        book.add(each)
    assert states(book) == ["returned"]
    assert [e.seq for e in book.incidents()] == [5, 3]
    assert not any(is_open(e) for e in book.incidents())


def test_what_is_said_of_a_past_incident_leaves_the_present_one_as_it_is() -> None:
    book = Book()
    for each in LIFE[:4]:
        book.add(each)
    label = event(10, 5, "unacknowledged", transition="labelled", end=moment(20), label="false")
    book.add(label)
    now = book.alarms()[0]
    assert (now.start, now.state) == (moment(30), "unacknowledged")
    assert [(is_open(e), e.label) for e in book.incidents()] == [(True, ""), (False, "false")]


def test_a_rejected_command_changes_no_alarm() -> None:
    book = Book()
    book.add(LIFE[0])
    book.add(event(10, 2, "normal", transition="rejected", reason="nothing to acknowledge", command_id="c1"))
    assert states(book) == ["unacknowledged"]
    decision = book.decision("c1")
    assert decision is not None
    assert decision.rejection == "nothing to acknowledge"


def test_a_shelved_quiet_alarm_is_an_alarm_and_no_incident() -> None:
    book = Book()
    book.add(replace(event(10, 1, "shelved", transition="shelved"), incident_id=ALARM))
    assert states(book) == ["shelved"]
    assert book.incidents() == []


@pytest.mark.parametrize("state", ["shelved", "suppressed", "out_of_service"])
def test_an_incident_is_open_while_its_condition_stands_whatever_hides_the_alarm(state: str) -> None:
    hidden = replace(event(10, 1, state), active=True)
    assert is_open(hidden)
    assert not is_open(replace(hidden, end=moment(20), active=False))


def test_events_from_before_alarms_had_ids_are_those_of_the_same_alarm() -> None:
    book = Book()
    book.add(incident("pump-1", 10))
    book.add(event(30, 1, "unacknowledged"))
    assert [e.start for e in book.alarms()] == [moment(30)]


def test_a_sensor_is_faulty_until_its_latest_event_says_otherwise() -> None:
    book = Book()
    book.add(sensor_fault("pump-1", "a", "stuck", 50, seq=1))
    book.add(sensor_fault("pump-1", "b", "dead", 40, seq=1))
    book.add(sensor_fault("pump-2", "a", "ok", 60, seq=2))
    assert not book.add(sensor_fault("pump-2", "a", "stuck", 50, seq=1))
    assert [(e.asset, e.channel) for e in book.sensor_faults()] == [("pump-1", "b"), ("pump-1", "a")]
    assert book.sensor_faults("pump-2") == []


def test_groups_are_kept_by_their_latest_event() -> None:
    book = Book()
    first = Member("i1", "pump-1", "pumps", moment(10))
    opened = GroupEvent("g1", 1, "opened", {"line": "2"}, first, (first,), moment(10), None, moment(11))
    joined = replace(opened, seq=2, transition="joined", members=(first, replace(first, incident_id="i2")))
    assert book.add(joined)
    assert not book.add(opened)
    assert [len(group.members) for group in book.groups()] == [2]


def command(number: int) -> Command:
    """A command to pump-1."""
    return Command(
        command_id=f"c{number}",
        action="acknowledge",
        asset="pump-1",
        user="ann",
        role="operator",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_command_and_its_answer_meet_whichever_is_known_first() -> None:
    for order in ((True, False), (False, True)):
        book = Book()
        for is_command in order:
            if is_command:
                book.add_command(command(1))
            else:
                book.add(event(10, 2, "acknowledged", transition="acknowledged", command_id="c1"))
        (decision,) = book.decisions()
        assert decision.command == command(1)
        assert [answer.transition for answer in decision.answers] == ["acknowledged"]
    assert not book.add_command(command(1))


def test_everything_is_bounded_and_what_matters_stays() -> None:
    book = Book(Limits(incidents=10, alarms=10, sensors=10, groups=10, decisions=10))
    for n in range(100):
        name = f"pump-{n}"
        ends = None if n < 3 else n + 20
        book.add(incident(name, n, end=ends, seq=2))
        book.add(sensor_fault(name, "a", "stuck" if n < 3 else "ok", n + 10))
        book.add_command(command(n))
    assert [len(kept) for kept in (book.incidents(), book.alarms(), book.decisions())] == [10, 10, 10]
    assert {e.asset for e in book.incidents() if is_open(e)} == {"pump-0", "pump-1", "pump-2"}
    assert {e.asset for e in book.alarms() if e.state != "normal"} == {"pump-0", "pump-1", "pump-2"}
    assert {e.asset for e in book.sensor_faults()} == {"pump-0", "pump-1", "pump-2"}
    assert book.decisions()[0].command_id == "c99"
