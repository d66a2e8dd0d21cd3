"""Commands: who may give them, that they arrive, and what becomes of them."""

from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaConsumer
from msgspec.structs import replace

from dashboard.access import User
from dashboard.book import Book
from dashboard.commands import Commands, build
from monitor.broker import free_port
from monitor.commands import decode_command
from monitor.config import Config
from monitor.errors import InvalidCommand, RetriableError
from tests.dashboard.plant import Publisher, incident, own_topics

OPERATOR = User("ann", "operator")


def commands_at(bootstrap: str, topics: object = None) -> Commands:
    """Commands to a broker, with a book of their own."""
    config = Config(kafka={"bootstrap_servers": bootstrap}, **({"topics": topics} if topics else {}))
    return Commands(config, Book())


def test_a_command_arrives_keyed_by_its_asset(bootstrap: str) -> None:
    publisher = Publisher(bootstrap, own_topics())
    publisher.create_topics()
    commands = commands_at(bootstrap, publisher.topics)
    sent = commands.publish(OPERATOR, "acknowledge", "pump-1", incident_id="abc")
    consumer = KafkaConsumer(
        publisher.topics.commands, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None
    )
    record = next(consumer)
    consumer.close()
    commands.close()
    publisher.close()
    assert record.key == b"pump-1"
    assert decode_command(record.value) == sent
    assert (sent.user, sent.role, sent.incident_id) == ("ann", "operator", "abc")
    assert commands.answer(sent.command_id) == ("asked", "")


@pytest.mark.parametrize(
    ("user", "action", "fields", "why"),
    [
        (User("eve", "viewer"), "acknowledge", {}, "may not acknowledge"),
        (User("eve", None), "acknowledge", {}, "no role"),
        (OPERATOR, "take_out_of_service", {"reason": "x"}, "may not take out of service"),
        (OPERATOR, "shelve", {"until": datetime(2026, 1, 1, tzinfo=UTC)}, "takes a reason"),
        (OPERATOR, "shelve", {"reason": "noise"}, "takes a time"),
        (OPERATOR, "explode", {}, "action"),
        (OPERATOR, "acknowledge", {"reason": "x" * 3000}, "reason"),
    ],
)
def test_what_may_not_be_asked_is_refused_before_it_is_sent(
    user: User, action: str, fields: dict[str, object], why: str
) -> None:
    with pytest.raises(InvalidCommand, match=why):
        build(user, action, "pump-1", "c1", 0.0, **fields)  # type: ignore[arg-type]


def test_a_broker_that_is_away_is_said() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RetriableError, match=f"{address} has not confirmed the command to acknowledge pump-1"):
        commands_at(address).publish(OPERATOR, "acknowledge", "pump-1")


def test_a_command_is_asked_then_done_or_rejected_or_not_confirmed() -> None:
    now = [1_800_000_000.0]
    commands = Commands(Config(), Book(), clock=lambda: now[0])
    for name in ("c1", "c2", "c3"):
        commands.book.add_command(build(OPERATOR, "acknowledge", "pump-1", name, now[0]))
    raised = incident("pump-1", 10)
    done = replace(raised, seq=2, alarm_seq=2, transition="acknowledged", state="acknowledged", command_id="c1")
    refused = replace(raised, seq=3, alarm_seq=3, transition="rejected", reason="it is over", command_id="c2")
    commands.book.add(done)
    commands.book.add(refused)
    assert commands.answer("c1") == ("done", "")
    assert commands.answer("c2") == ("rejected", "it is over")
    assert commands.answer("c3") == ("asked", "")
    now[0] += timedelta(seconds=11).total_seconds()
    assert commands.answer("c3") == ("not confirmed", "")
