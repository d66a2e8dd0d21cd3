"""What only a broker can show: that it is away, that it forgets, that another process has the same name."""

import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition

from monitor.broker import EmbeddedBroker, free_port
from monitor.config import parse
from monitor.errors import FencedError, InvalidConfiguration, RetriableError
from monitor.state import Position
from monitor.transport import Outgoing, Transport
from monitor.transport.clients import connect
from tests.kafka_cluster import KafkaCluster
from tests.transport.logs import KafkaLog, assigned, polled_until, read_from, until, values


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker that the test may stop."""
    with EmbeddedBroker() as broker:
        yield broker


def test_no_broker_is_an_error_that_passes_and_names_the_address(client: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = parse(
        {"kafka": {"bootstrap_servers": address, "bootstrap_timeout_ms": 500}, "delivery": {"client": client}}
    )
    with pytest.raises(RetriableError, match=address):
        connect(config)


@pytest.mark.slow
def test_broker_that_goes_away_is_an_error_that_passes_and_no_call_hangs(
    broker: EmbeddedBroker, topic: str, client: str
) -> None:
    log = KafkaLog(broker.bootstrap, topic, "range", client)
    where = (log.readings, 0)
    member = connect(log.configuration(), timeout_s=1)
    assigned(member)
    broker.kill()
    for call in (
        lambda: member.committed(where),
        lambda: member.bounds(where),
        lambda: member.read_state(where),
        lambda: member.deliver([Outgoing(log.outputs, b"x")], [], {}),
        lambda: member.deliver([], [], {where: Position(1, 1)}),
    ):
        begun = time.monotonic()
        with pytest.raises(RetriableError):
            call()
        assert time.monotonic() - begun < 10
    begun = time.monotonic()
    member.close()
    log.close()
    assert time.monotonic() - begun < 15


def test_work_goes_on_when_the_broker_is_back(broker: EmbeddedBroker, topic: str, client: str) -> None:
    log = KafkaLog(broker.bootstrap, topic, "range", client)
    where = (log.readings, 0)
    log.append(0, b"before")
    member = connect(log.configuration(), timeout_s=1)
    assigned(member)
    assert values(read_from(member, where, 0, 1)) == [b"before"]
    broker.stop()
    with pytest.raises(RetriableError):
        member.deliver([Outgoing(log.outputs, b"lost", partition=0)], [], {})
    broker.start()
    until(
        lambda: delivered(member, [Outgoing(log.outputs, b"again", partition=0)]), "the broker takes messages again"
    )
    log.append(0, b"after")
    seen = polled_until(member, lambda seen: b"after" in values(seen), {where: 0})
    assert b"after" in values(seen)
    member.close()
    log.close()


def delivered(member: Transport, outputs: list[Outgoing]) -> bool:
    try:
        member.deliver(outputs, [], {})
    except RetriableError:
        return False
    return True


def test_messages_that_retention_deleted_move_the_first_bound(kafka_log: KafkaLog) -> None:
    for value in (b"0", b"1", b"2"):
        kafka_log.append(0, value)
    admin = KafkaAdminClient(bootstrap_servers=kafka_log.bootstrap)
    admin.delete_records({TopicPartition(kafka_log.readings, 0): 2})
    admin.close()
    member = kafka_log.member()
    assigned(member)
    assert member.bounds((kafka_log.readings, 0)) == (2, 3)
    member.close()


@pytest.mark.kafka
def test_member_whose_name_another_process_took_is_told_when_it_commits(
    kafka_cluster: KafkaCluster, topic: str, client: str
) -> None:
    log = KafkaLog(kafka_cluster.bootstrap, topic, "cooperative-sticky", client)
    first, second = log.member("same"), log.member("same")
    assigned(first)
    assigned(second)
    with pytest.raises(FencedError, match="instance 'same'"):
        first.deliver([], [], {(log.readings, 0): Position(0, 0)})
    for each in (first, second):
        each.close()
    log.close()


def test_session_that_the_broker_does_not_allow_is_a_wrong_setting(kafka_log: KafkaLog) -> None:
    member = connect(kafka_log.configuration(session_timeout_s=0.5))
    with pytest.raises(InvalidConfiguration, match="session_timeout_s"):
        assigned(member)
    member.close()


@pytest.mark.parametrize("name", ["group_id", "enable_auto_commit", "isolation_level", "acks", "transactional_id"])
def test_client_setting_that_the_guarantees_rest_on_is_refused(name: str, client: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"kafka.{name}"):
        connect(parse({"kafka": {name: "x"}, "delivery": {"client": client}}))
