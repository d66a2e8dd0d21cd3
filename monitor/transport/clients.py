"""Which Kafka client runs, by `delivery.client`; the second one is loaded only where it is asked for."""

from importlib.metadata import version

import kafka.record.util
from kafka import KafkaConsumer

from monitor.cluster import client_settings
from monitor.config import Config
from monitor.errors import InvalidConfiguration
from monitor.transport import Transport
from monitor.transport.kafka import KafkaTransport
from monitor.transport.member import OURS, refuse


def connect(config: Config, timeout_s: float | None = None) -> Transport:
    """A member of the group by the configured client; raises as the client's own transport does."""
    if config.delivery.client == "kafka-python":
        return KafkaTransport(config, timeout_s)
    require(config)
    from monitor.transport.confluent import ConfluentTransport

    return ConfluentTransport(config, timeout_s)


def require(config: Config) -> None:
    """Raises InvalidConfiguration where the client is not installed, or a setting of `[kafka]` is none, or ours."""
    refuse(config.kafka, OURS, "kafka")
    client_settings(config.kafka, KafkaConsumer)
    if config.delivery.client == "kafka-python":
        return
    try:
        import confluent_kafka  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        text = "delivery.client: the package confluent-kafka is not installed: pip install 'tocsin[confluent]'"
        raise InvalidConfiguration(text) from None


def client_version(config: Config) -> str:
    """The client's name and version; raises InvalidConfiguration where it is not installed."""
    if config.delivery.client == "kafka-python":
        return f"kafka-python {version('kafka-python')}"
    require(config)
    import confluent_kafka

    return f"confluent-kafka {version('confluent-kafka')}, librdkafka {confluent_kafka.libversion()[0]}"


def checksums_are_slow(config: Config) -> bool:
    """Whether this client computes checksums in Python: kafka-python does where the package crc32c is missing."""
    return config.delivery.client == "kafka-python" and kafka.record.util.crc32c_c is None
