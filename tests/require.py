"""What a test needs of its machine: skipped where it is missing, or failed where nothing may be."""

import os
from importlib.util import find_spec

import pytest


def require(condition: bool, reason: str) -> None:
    """Skip the test unless `condition` holds; fail it instead when TOCSIN_REQUIRE_ALL=1."""
    if condition:
        return
    if os.environ.get("TOCSIN_REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_client(name: str) -> str:
    """A Kafka client by its name in `delivery.client`."""
    missing = name == "confluent" and find_spec("confluent_kafka") is None
    require(not missing, "confluent-kafka is missing: pip install 'tocsin[confluent]'")
    return name
