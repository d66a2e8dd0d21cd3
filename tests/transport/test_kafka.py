"""What only a broker can show: that it is away, that it forgets, that another process has the same name."""

import sys
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from monitor.broker import EmbeddedBroker, free_port
from monitor.config import parse
from monitor.errors import FencedError, InvalidConfiguration, RetriableError
from monitor.state import Position
from monitor.transport import Outgoing, Transport
from monitor.transport.clients import connect
from monitor.transport.kafka import KafkaTransport
from tests.kafka_cluster import KafkaCluster
from tests.require import require_client
from tests.transport.logs import PARTITIONS, KafkaLog, assigned, polled_until, read_from, until, values, working


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
        lambda: committed_now(member, where, Position(1, 1)),
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


def committed_now(member: Transport, where: tuple[str, int], position: Position) -> None:
    """Commit, and hear what became of it: one client tells by the next call."""
    member.deliver([], [], {where: position})
    member.poll(0.0)
    member.deliver([], [], {where: position})


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
        committed_now(first, (log.readings, 0), Position(0, 0))
    for each in (first, second):
        each.close()
    log.close()


@pytest.mark.kafka
def test_commit_that_is_on_its_way_is_done_before_the_member_has_left(
    kafka_cluster: KafkaCluster, topic: str, client: str
) -> None:
    log = KafkaLog(kafka_cluster.bootstrap, topic, "cooperative-sticky", client)
    where = (log.readings, 0)
    for offset in range(1, 6):
        member = log.member()
        assigned(member)
        member.deliver([], [], {where: Position(offset, 0)})
        member.close()
        after = log.member()
        assigned(after)
        found = after.committed(where)
        after.close()
        assert found is not None
        assert found.offset == offset
    log.close()


@pytest.mark.kafka
def test_message_that_came_while_the_member_was_busy_is_read_with_the_one_that_lay_ready(
    kafka_cluster: KafkaCluster, topic: str
) -> None:
    log = KafkaLog(kafka_cluster.bootstrap, topic, "cooperative-sticky")
    member = log.member()
    assert isinstance(member, KafkaTransport)
    assigned(member)
    member.start((log.readings, 0), 0)
    together = 0
    for _ in range(20):
        until(lambda: not values(member.poll(0.01)), "everything is read, and a question left open")
        log.append(0, b"first")
        deadline = time.monotonic() + 0.2
        while not member._buffered() and time.monotonic() < deadline:  # the question may have ended by itself
            time.sleep(0.001)
        log.append(0, b"second")
        together += len(values(member.poll(0.1))) == 2
    assert together > 5  # an answer that takes longer than usual is not waited for
    member.close()
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


def test_client_whose_package_is_missing_is_a_wrong_setting_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)  # as Python knows a module that is not there
    monkeypatch.delitem(sys.modules, "monitor.transport.confluent", raising=False)
    with pytest.raises(InvalidConfiguration, match=r"delivery\.client: .*pip install 'tocsin\[confluent\]'"):
        connect(parse({"delivery": {"client": "confluent"}}))


@pytest.mark.kafka
def test_log_that_ends_with_the_end_of_a_transaction_is_read_to_its_end(
    kafka_cluster: KafkaCluster, topic: str, client: str
) -> None:
    log = KafkaLog(kafka_cluster.bootstrap, topic, "cooperative-sticky", client)
    where = (log.readings, 0)
    producer = KafkaProducer(bootstrap_servers=log.bootstrap, transactional_id=topic)
    producer.init_transactions()
    for value, end in ((b"kept", producer.commit_transaction), (b"taken back", producer.abort_transaction)):
        producer.begin_transaction()
        producer.send(log.readings, value, partition=0)
        producer.flush()
        end()
    producer.close()
    member = log.member()
    assigned(member)
    seen = read_from(member, where, 0, 1)
    until(lambda: not values(member.poll(0.1)) and member.lag(where) == 0, "nothing is behind")
    assert member.bounds(where) == (0, 4)
    assert values(seen) == [b"kept"]
    member.close()
    log.close()


@pytest.mark.kafka
def test_key_chooses_the_same_partition_whatever_the_client(kafka_cluster: KafkaCluster, topic: str) -> None:
    found = []
    for client in ("kafka-python", require_client("confluent")):
        log = KafkaLog(kafka_cluster.bootstrap, f"{topic}-{client}", "cooperative-sticky", client)
        member = log.member()
        member.deliver([Outgoing(log.outputs, b"x", b"pump-%d" % number) for number in range(40)], [], {})
        outputs = [(log.outputs, partition) for partition in range(PARTITIONS)]
        ends = dict.fromkeys(outputs, 0)

        def ended(member: Transport = member, ends: dict[tuple[str, int], int] = ends) -> bool:
            ends.update({where: member.bounds(where)[1] for where in ends})
            return min(ends.values()) > 0  # the broker writes the end of a transaction after it has answered

        until(ended, "the transaction is seen on every partition")
        found.append(list(ends.values()))
        member.close()
        log.close()
    assert found[0] == found[1]
    assert min(found[0]) > 0


@pytest.mark.kafka
def test_members_by_different_clients_share_the_partitions_of_one_group(
    kafka_cluster: KafkaCluster, topic: str
) -> None:
    log = KafkaLog(kafka_cluster.bootstrap, topic, "cooperative-sticky")
    other = connect(log.configuration("two", client=require_client("confluent")))
    with working(log.member("one"), other) as (one, two):
        until(lambda: len(one.owned) == len(two.owned) == 2, "each of the two owns its half")
        assert one.owned.isdisjoint(two.owned)
    log.close()
