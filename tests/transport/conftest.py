"""The logs that the contract is held against."""

from collections.abc import Iterator

import pytest

from monitor.transport import Transport
from tests.transport.logs import KafkaLog, Log, MemoryLog

LOGS = ["memory", "embedded", pytest.param("apache", marks=pytest.mark.kafka)]


@pytest.fixture
def kafka_log(bootstrap: str, topic: str, request: pytest.FixtureRequest) -> Iterator[KafkaLog]:
    """The embedded broker and, once more, Apache Kafka; the first knows no cooperative assignment."""
    apache = request.node.callspec.params["bootstrap"] == "apache"
    log = KafkaLog(bootstrap, topic, "cooperative-sticky" if apache else "range")
    yield log
    log.close()


@pytest.fixture(params=LOGS)
def log(request: pytest.FixtureRequest, topic: str) -> Iterator[Log]:
    """Every log in turn."""
    yield from made_log(request, topic)


@pytest.fixture(params=["memory", pytest.param("apache", marks=pytest.mark.kafka)])
def shared_log(request: pytest.FixtureRequest, topic: str) -> Iterator[Log]:
    """Logs that several members share: about once in 20 the embedded broker lets two wait for each other for ever."""
    yield from made_log(request, topic)


def made_log(request: pytest.FixtureRequest, topic: str) -> Iterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
        return
    if request.param == "embedded":
        made = KafkaLog(request.getfixturevalue("embedded_broker"), topic, "range")
    else:
        made = KafkaLog(request.getfixturevalue("kafka_cluster").bootstrap, topic, "cooperative-sticky")
    yield made
    made.close()


@pytest.fixture
def member(log: Log) -> Iterator[Transport]:
    """A member of the group on the log, closed after the test."""
    made = log.member()
    yield made
    made.close()
