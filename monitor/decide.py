"""`tocsin decide`: puts a person's command on its topic, and waits for the answer."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from monitor.cluster import addresses, command_producer_settings, made, reader_settings
from monitor.commands import Command, encode_command, objection
from monitor.config import Config
from monitor.errors import InvalidCommand, RetriableError
from monitor.events import IncidentEvent, decode_message

ANSWER_WITHIN_S = 10.0
_ANSWER_MS = 5000


def decide(config: Config, command: Command, within_s: float = ANSWER_WITHIN_S) -> list[IncidentEvent]:
    """Publish a command and return its answers; none where nobody answered within the time.

    Raises InvalidCommand for one that no daemon would obey, RetriableError where no broker answers.
    """
    if problem := objection(command):
        raise InvalidCommand(problem)
    consumer = producer = None
    try:
        consumer = made(KafkaConsumer, **reader_settings({"bootstrap_timeout_ms": _ANSWER_MS, **config.kafka}))
        numbers = consumer.partitions_for_topic(config.topics.anomalies) or ()
        where = [TopicPartition(config.topics.anomalies, number) for number in numbers]
        consumer.assign(where)
        for partition, end in consumer.end_offsets(where, timeout_ms=_ANSWER_MS).items():
            consumer.seek(partition, end)
        producer = made(KafkaProducer, **command_producer_settings(config.kafka, _ANSWER_MS / 1000))
        producer.send(config.topics.commands, encode_command(command), command.asset.encode()).get(timeout=10)
        return _answers(consumer, command.command_id, within_s)
    except (KafkaError, OSError) as error:
        raise RetriableError(f"No answer from the broker at {addresses(config.kafka)}: {error}.") from None
    finally:
        for client in (consumer, producer):
            if client is not None:
                client.close()


def _answers(consumer: Any, command_id: str, within_s: float) -> list[IncidentEvent]:
    """The answers; a command for several detectors is answered by all of them in one transaction."""
    deadline, found = time.monotonic() + within_s, list[IncidentEvent]()
    while not found and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=200).values():
            found += answers_in(records, command_id)
    return found


def answers_in(records: Iterable[Any], command_id: str) -> Iterator[IncidentEvent]:
    """Events that answer a command; what is no event of ours is passed over."""
    for record in records:
        try:
            event = decode_message(record.headers, record.value or b"")
        except msgspec.DecodeError:
            continue
        if isinstance(event, IncidentEvent) and event.command_id == command_id:
            yield event
