"""Commands of people in the daemon: obeyed once, answered always, by whoever owns the asset."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from monitor.commands import Command, encode_command
from monitor.events import alarm_id
from monitor.transport import Outgoing
from monitor.transport.memory import MemoryTransport
from tests.monitor.test_daemon import T0, Doubtful, Plant

NOW = datetime.fromtimestamp(T0, UTC)


def command(action, asset="pump-0", **changes):
    asked = {"command_id": f"{action}-1", "action": action, "asset": asset, "user": "bea", "role": "engineer"}
    return encode_command(Command(**(asked | {"at": NOW, "reason": "because"} | changes)))


def posts(plant, body):
    plant.broker.append(Outgoing("tocsin.commands", body, partition=0))
    plant.daemon.turn()


def rings(plant, partition=0, first=0, seconds=20):
    """The pump of a partition is far from normal for a while."""
    plant.reads(partition, *range(first, first + seconds), value=50.0)


def told(plant):
    return [(event.transition, event.state, event.command_id) for event in plant.events()]


def test_an_acknowledgement_is_answered_and_kept_over_a_restart():
    plant = Plant()
    rings(plant)
    posts(plant, command("acknowledge"))
    assert told(plant)[-1] == ("acknowledged", "acknowledged", "acknowledge-1")
    event = plant.events()[-1]
    assert (event.actor, event.reason, event.decided, event.seq) == ("bea", "because", NOW, 2)
    plant.restart()
    plant.reads(0, *range(20, 40), value=0.1)
    assert told(plant)[-1] == ("cleared", "normal", "")
    assert len([event for event in plant.events() if event.command_id]) == 1


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_command_is_obeyed_once_though_its_delivery_is_in_doubt(fails):
    plant = Plant(Doubtful)
    rings(plant)
    plant.transport.fails = fails
    posts(plant, command("acknowledge"))
    for _ in range(3):  # back to what is committed, read again, obey again
        plant.passes(1)
    answers = [event for event in plant.events() if event.command_id]
    assert [event.transition for event in answers] == ["acknowledged"]


def test_commands_that_came_while_nobody_ran_are_obeyed_at_the_next_start():
    plant = Plant()
    rings(plant)
    plant.transport.close()
    plant.broker.append(Outgoing("tocsin.commands", command("acknowledge"), partition=0))
    plant.start()
    plant.passes(1)
    plant.passes(1)
    assert told(plant)[-1] == ("acknowledged", "acknowledged", "acknowledge-1")


def test_a_new_group_does_not_obey_what_was_decided_before_it():
    plant = Plant()
    plant.transport.close()
    plant.broker.append(Outgoing("tocsin.commands", command("shelve", until=NOW + timedelta(hours=1)), partition=0))
    plant.start()
    rings(plant)
    assert [event.transition for event in plant.events()] == ["raised"]


def test_each_daemon_obeys_for_the_assets_that_it_owns_and_no_other():
    plant = Plant()
    second = Plant(broker=plant.broker)
    for _ in range(3):
        plant.passes(0)
        second.passes(0)
    for each in (plant, second):
        each.reads(0, *range(20), value=50.0) if each is plant else each.reads(1, *range(20), value=50.0)
    for asset in ("pump-0", "pump-1", "pump-9"):
        plant.broker.append(Outgoing("tocsin.commands", command("acknowledge", asset, command_id=asset), partition=0))
    for _ in range(2):
        plant.passes(0)
        second.passes(0)
    answers = sorted(
        (event.command_id, event.asset, event.transition) for event in plant.events() if event.command_id
    )
    assert answers == [("pump-0", "pump-0", "acknowledged"), ("pump-1", "pump-1", "acknowledged")]


def test_a_shelved_alarm_rings_for_nobody_and_comes_back_when_its_time_is_up_though_its_machine_is_silent():
    plant = Plant()
    plant.reads(0, *range(8))
    posts(plant, command("shelve", until=NOW + timedelta(seconds=600)))
    rings(plant, first=8)
    shelved, raised = plant.events()
    assert (shelved.state, shelved.until) == ("shelved", NOW + timedelta(seconds=600))
    assert (shelved.incident_id, shelved.occurrence_id) == (alarm_id("tocsin.readings", 0, "pump-0", "d"), "")
    assert (raised.transition, raised.state, raised.active) == ("raised", "shelved", True)
    plant.restart()
    plant.passes(599)
    assert len(plant.events()) == 2
    plant.passes(1)
    back = plant.events()[-1]
    assert (back.transition, back.state, back.decided) == ("unshelved", "unacknowledged", shelved.until)
    assert back.incident_id == raised.incident_id


def test_what_cannot_be_obeyed_is_answered_with_why():
    plant = Plant()
    plant.reads(0, *range(8))
    posts(plant, command("acknowledge"))
    posts(plant, command("acknowledge", detector="other", command_id="c2"))
    body = json.loads(command("acknowledge", command_id="c3")) | {"action": "explode"}
    posts(plant, json.dumps(body).encode())
    answers = [(event.transition, event.command_id, event.reason) for event in plant.events()]
    assert [each[:2] for each in answers] == [
        ("rejected", "acknowledge-1"), ("rejected", "c2"), ("rejected", "c3"),
    ]  # fmt: skip
    assert "nothing to acknowledge" in answers[0][2]
    assert "no detector 'other'" in answers[1][2]
    assert "explode" in answers[2][2]
    assert "it is one of acknowledge, shelve" in answers[2][2]
    assert [event.alarm_seq for event in plant.events()] == [1, 2, 3]
    assert plant.metric("tocsin_commands_total", outcome="rejected") == 2


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b'{"asset": 7}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_command_at_all_is_passed_over_and_counted(body):
    plant = Plant()
    rings(plant)
    posts(plant, body)
    posts(plant, command("acknowledge"))
    assert told(plant)[-1] == ("acknowledged", "acknowledged", "acknowledge-1")
    assert plant.metric("tocsin_commands_total", outcome="unreadable") == 1


def test_a_command_for_an_incident_that_is_over_is_rejected():
    plant = Plant()
    rings(plant)
    first = plant.events()[0].incident_id
    plant.reads(0, *range(20, 40), value=0.1)
    plant.reads(0, *range(40, 60), value=80.0)
    posts(plant, command("acknowledge", incident_id=first))
    assert told(plant)[-1] == ("rejected", "unacknowledged", "acknowledge-1")
    posts(plant, command("label", incident_id=first, label="false"))
    last = plant.events()[-1]
    assert (last.transition, last.label, last.occurrence_id) == ("labelled", "false", first)


def test_a_command_waits_until_its_partition_is_rebuilt():
    """The log is longer than one poll: while windows are refilled, nothing is decided."""

    class Slow(MemoryTransport):
        def __init__(self, *arguments):
            super().__init__(*arguments, max_poll_records=5)

    plant = Plant(Slow)
    for first in range(0, 20, 5):
        plant.reads(0, *range(first, first + 5), value=50.0)
    assert plant.events()[0].transition == "raised"
    plant.transport.close()
    plant.broker.append(Outgoing("tocsin.commands", command("acknowledge"), partition=0))
    plant.start()
    for _ in range(8):
        plant.passes(0)
    assert [event.transition for event in plant.events() if event.command_id] == ["acknowledged"]
