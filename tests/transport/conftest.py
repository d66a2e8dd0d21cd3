"""The logs that the contract is held against."""

from collections.abc import Iterator

import pytest

from monitor.transport import Transport
from tests.require import require_client
from tests.transport.logs import KafkaLog, Log, MemoryLog

APACHE = [pytest.param("apache", marks=pytest.mark.kafka), pytest.param("confluent", marks=pytest.mark.kafka)]


@pytest.fixture(params=["kafka-python", "confluent"])
def client(request: pytest.FixtureRequest) -> str:
    """Either Kafka client."""
    return require_client(request.param)


@pytest.fixture
def kafka_log(bootstrap: str, client: str, topic: str, request: pytest.FixtureRequest) -> Iterator[KafkaLog]:
    """The embedded broker and Apache Kafka, by either client; the first knows no cooperative assignment."""
    apache = request.node.callspec.params["bootstrap"] == "apache"
    log = KafkaLog(bootstrap, topic, "cooperative-sticky" if apache else "range", client)
    yield log
    log.close()


@pytest.fixture(params=["memory", "embedded", *APACHE])
def log(request: pytest.FixtureRequest, topic: str) -> Iterator[Log]:
    """Every log in turn."""
    yield from made_log(request, topic)


@pytest.fixture(params=["memory", *APACHE])
def shared_log(request: pytest.FixtureRequest, topic: str) -> Iterator[Log]:
    """All logs but the embedded broker's, in which about once in 20 two members wait for each other for ever."""
    yield from made_log(request, topic)


def made_log(request: pytest.FixtureRequest, topic: str) -> Iterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
        return
    if request.param == "embedded":
        made = KafkaLog(request.getfixturevalue("embedded_broker"), topic, "range")
    else:
        client = "kafka-python" if request.param == "apache" else require_client("confluent")
        made = KafkaLog(request.getfixturevalue("kafka_cluster").bootstrap, topic, "cooperative-sticky", client)
    yield made
    made.close()


@pytest.fixture
def member(log: Log) -> Iterator[Transport]:
    """A member of the group on the log, closed after the test."""
    made = log.member()
    yield made
    made.close()
