"""Faults of kafka-python's transactional producer, used as its documentation shows it.

Each is why the transport does something that looks needless: it flushes and asks every future before it commits, has
a deadline of its own on every call, and throws the producer away after any doubt. A test that fails here with a newer
version of the client says which of these may go.
"""

import threading
from collections.abc import Iterator

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    BrokerResponseError,
    InvalidProducerEpochError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumberError,
)
from kafka.structs import OffsetAndMetadata

from monitor.transport.kafka_group import finish_rejoining, keep_answers
from tests.transport.logs import until
from tests.transport.scripted_broker import EVER, REFUSED, ScriptedBroker

WHERE = TopicPartition("readings", 0)
DELIVERY_S = 1.5
DEADLINES = {"request_timeout_ms": 500, "max_block_ms": 1000, "retry_backoff_ms": 5, "bootstrap_timeout_ms": 5000}


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    """A broker without a script yet."""
    with ScriptedBroker({"readings": 1, "scores": 1}) as broker:
        yield broker


@pytest.fixture
def consumer(broker: ScriptedBroker) -> Iterator[KafkaConsumer]:
    """A member of the group that has its partition."""
    consumer = KafkaConsumer(
        "readings", bootstrap_servers=broker.bootstrap, group_id="group", group_instance_id="one",
        enable_auto_commit=False, isolation_level="read_committed",
    )  # fmt: skip
    keep_answers(consumer._coordinator)  # it joins as Tocsin's does: how it joins is not what is shown here

    def assigned() -> bool:
        finish_rejoining(consumer._coordinator)
        consumer.poll(200)
        return bool(consumer.assignment())

    until(assigned, "the partition is assigned")
    yield consumer
    consumer.close()


def made_producer(broker: ScriptedBroker, **settings: float) -> KafkaProducer:
    settings = DEADLINES | {"delivery_timeout_ms": 1000 * DELIVERY_S} | settings
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id="one", **settings)
    producer.init_transactions()
    return producer


def transaction(producer: KafkaProducer, consumer: KafkaConsumer, flush: bool = True) -> None:
    """A record and a position in one transaction, up to its commit."""
    producer.begin_transaction()
    producer.send("scores", b"x", partition=0)
    if flush:
        producer.flush(10)
    producer.send_offsets_to_transaction({WHERE: OffsetAndMetadata(7, "", -1)}, consumer.group_metadata())


def committed(broker: ScriptedBroker) -> tuple[list[bytes | None], int]:
    """Values that were committed, and the committed position."""
    return broker.log.values("scores"), broker.log.committed.get(("group", tuple(WHERE)), (0, ""))[0]


def test_transaction_without_a_fault_is_committed_whole(broker: ScriptedBroker, consumer: KafkaConsumer) -> None:
    producer = made_producer(broker)
    transaction(producer, consumer)
    assert committed(broker) == ([], 0)
    producer.commit_transaction()
    assert committed(broker) == ([b"x"], 7)
    producer.close(timeout=5)


def test_naive_commit_loses_records_that_expired_and_keeps_their_offsets(
    broker: ScriptedBroker, consumer: KafkaConsumer
) -> None:
    producer = made_producer(broker)
    broker.script("Produce", NotLeaderForPartitionError, times=EVER)
    transaction(producer, consumer)
    producer.commit_transaction()
    assert committed(broker) == ([], 7)
    producer.close(timeout=0)


@pytest.mark.parametrize("error", [InvalidProducerEpochError, OutOfOrderSequenceNumberError])
def test_naive_commit_that_flushes_into_an_error_returns_and_ends_nothing(
    broker: ScriptedBroker, consumer: KafkaConsumer, error: type[BrokerResponseError]
) -> None:
    producer = made_producer(broker, linger_ms=900)
    broker.script("Produce", error, times=EVER)
    transaction(producer, consumer, flush=False)
    producer.commit_transaction()
    assert "EndTxn" not in broker.requests
    assert committed(broker) == ([], 0)
    producer.close(timeout=0)


def test_naive_commit_waits_for_ever_where_its_coordinator_refused_connections_once(
    broker: ScriptedBroker, consumer: KafkaConsumer
) -> None:
    producer = made_producer(broker)
    transaction(producer, consumer)
    broker.script("EndTxn", REFUSED)
    commit = threading.Thread(target=producer.commit_transaction, daemon=True)
    commit.start()
    commit.join(2 * DELIVERY_S)  # it was refused, and the client has dropped its request
    broker.go_on()
    commit.join(2 * DELIVERY_S)
    assert commit.is_alive()
    assert broker.requests.count("EndTxn") == 1
    assert committed(broker) == ([], 0)
    producer.close(timeout=0)
