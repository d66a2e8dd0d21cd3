"""Installations of `tocsin notify` on either broker, and receivers in the place of endpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.kafka_cluster import KafkaCluster
from tests.notify.receiver import Receiver
from tests.notify.site import NotifySite, notify_site


@pytest.fixture
def site(kafka_cluster: KafkaCluster, topic: str, tmp_path: Path) -> Iterator[NotifySite]:
    """An installation on Apache Kafka."""
    with notify_site(kafka_cluster.bootstrap, topic, tmp_path, exactly_once=True) as made:
        yield made


@pytest.fixture
def either(bootstrap: str, topic: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NotifySite]:
    """An installation; the test runs once on each broker."""
    exactly_once = request.node.callspec.params["bootstrap"] == "apache"
    with notify_site(bootstrap, topic, tmp_path, exactly_once) as made:
        yield made


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """The lines that are logged, whatever other tests have set."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**before)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of requests."""
    with Receiver() as made:
        yield made
