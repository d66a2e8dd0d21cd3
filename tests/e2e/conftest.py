"""Installations on the embedded broker and on Apache Kafka."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from monitor.broker import EmbeddedBroker, free_port
from tests.e2e.site import Site, site
from tests.kafka_cluster import KafkaCluster
from tests.require import require_client

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(bootstrap: str, topic: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeSite]:
    """Makes an installation with settings of its own; the test runs once on each broker."""
    assignor = "cooperative-sticky" if request.node.callspec.params["bootstrap"] == "apache" else "range"
    with ExitStack() as stack:

        def make(**settings: Any) -> Site:
            return stack.enter_context(site(bootstrap, topic, tmp_path, assignor, **settings))

        yield make


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker that is not started yet, and that the test may stop."""
    broker = EmbeddedBroker(port=free_port())
    yield broker
    broker.close()


@pytest.fixture
def early(broker: EmbeddedBroker, topic: str, tmp_path: Path) -> Iterator[Site]:
    """An installation whose broker and topics do not exist yet."""
    with site(broker.bootstrap, topic, tmp_path, "range", create=False) as made:
        yield made


@pytest.fixture(params=["kafka-python", "confluent"])
def apache(kafka_cluster: KafkaCluster, topic: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """An installation on Apache Kafka, by either client."""
    settings = {"idle_limit_s": 30, "client": require_client(request.param)}
    with site(kafka_cluster.bootstrap, topic, tmp_path, "cooperative-sticky", **settings) as made:
        yield made
