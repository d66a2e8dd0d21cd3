"""Dead letters on a broker: the newest few, and later only what came since."""

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from dashboard.deadletters import DeadLetters, reasons
from monitor.config import Config
from monitor.topics import Topics
from tests.dashboard.control_room import send_dead_letter
from tests.dashboard.plant import Publisher
from tests.kafka_cluster import unique


@pytest.fixture
def publisher(embedded_broker: str) -> Iterator[Publisher]:
    """A publisher to a dead letter topic of two partitions."""
    publisher = Publisher(embedded_broker, Topics(deadletter=unique("deadletter")))
    admin = KafkaAdminClient(bootstrap_servers=embedded_broker)
    admin.create_topics([NewTopic(publisher.topics.deadletter, 2, 1)])
    admin.close()
    yield publisher
    publisher.close()


@pytest.fixture
def letters(publisher: Publisher) -> Iterator[DeadLetters]:
    """A reader that holds four."""
    config = Config(kafka={"bootstrap_servers": publisher.bootstrap}, topics=publisher.topics)
    reader = DeadLetters(config, most=4)
    yield reader
    reader.close()


def test_the_newest_are_read_with_their_reasons_and_later_only_new_ones(
    publisher: Publisher, letters: DeadLetters
) -> None:
    assert letters.read() == ()
    for offset in range(6):
        send_dead_letter(publisher, "not_json", "expected value at byte 0", offset)
    found = letters.read()
    assert [letter.where for letter in found] == [f"tocsin.readings-1-{offset}" for offset in (5, 4, 3, 2)]
    assert (found[0].reason, found[0].detail, found[0].key, found[0].size) == (
        "not_json", "expected value at byte 0", "pump-1", 1,
    )  # fmt: skip
    assert letters.read() == found
    send_dead_letter(publisher, "too_large", "1,204,113 bytes", 6)
    assert [letter.where[-1] for letter in letters.read()] == ["6", "5", "4", "3"]
    assert reasons(letters.letters) == {"not_json": 3, "too_large": 1}


def test_a_message_without_our_headers_is_listed_all_the_same(publisher: Publisher, letters: DeadLetters) -> None:
    publisher.producer.send(publisher.topics.deadletter, None, key=b"\xff\x00")
    publisher.producer.flush()
    (letter,) = letters.read()
    assert (letter.reason, letter.where, letter.size) == ("unknown", "?-?-?", 0)


def test_a_topic_that_is_not_there_is_no_letters(embedded_broker: str) -> None:
    config = Config(kafka={"bootstrap_servers": embedded_broker}, topics=Topics(deadletter=unique("none")))
    reader = DeadLetters(config)
    assert reader.read() == ()
    reader.close()
