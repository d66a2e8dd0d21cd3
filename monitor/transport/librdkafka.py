"""The table `[kafka]`, which is written in kafka-python's names, as librdkafka's settings.

Names and meanings on its side: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from monitor.config import Config
from monitor.errors import InvalidConfiguration
from monitor.transport.member import METADATA_MS, OURS, instance_of, refuse, transactional_id

OWN_TABLE = "librdkafka"  # [kafka.librdkafka]: its own names, which go to it as they stand
OF_BOTH = {
    "bootstrap_servers": "bootstrap.servers",
    "check_crcs": "check.crcs",
    "client_dns_lookup": "client.dns.lookup",
    "client_id": "client.id",
    "client_rack": "client.rack",
    "connections_max_idle_ms": "connections.max.idle.ms",
    "metadata_max_age_ms": "topic.metadata.refresh.interval.ms",
    "receive_buffer_bytes": "socket.receive.buffer.bytes",
    "receive_message_max_bytes": "receive.message.max.bytes",
    "reconnect_backoff_max_ms": "reconnect.backoff.max.ms",
    "reconnect_backoff_ms": "reconnect.backoff.ms",
    "request_timeout_ms": "socket.timeout.ms",
    "retry_backoff_ms": "retry.backoff.ms",
    "sasl_kerberos_service_name": "sasl.kerberos.service.name",
    "sasl_mechanism": "sasl.mechanism",
    "sasl_plain_password": "sasl.password",
    "sasl_plain_username": "sasl.username",
    "security_protocol": "security.protocol",
    "send_buffer_bytes": "socket.send.buffer.bytes",
    "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location",
    "ssl_check_hostname": "ssl.endpoint.identification.algorithm",
    "ssl_ciphers": "ssl.cipher.suites",
    "ssl_crlfile": "ssl.crl.location",
    "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password",
}
OF_CONSUMER = {
    "fetch_max_bytes": "fetch.max.bytes",
    "fetch_max_wait_ms": "fetch.wait.max.ms",
    "fetch_min_bytes": "fetch.min.bytes",
    "heartbeat_interval_ms": "heartbeat.interval.ms",
    "max_partition_fetch_bytes": "max.partition.fetch.bytes",
    "max_poll_interval_ms": "max.poll.interval.ms",
}
OF_PRODUCER = {
    "batch_size": "batch.size",
    "compression_type": "compression.type",
    "delivery_timeout_ms": "delivery.timeout.ms",
    "linger_ms": "linger.ms",
    "max_in_flight_requests_per_connection": "max.in.flight.requests.per.connection",
    "max_request_size": "message.max.bytes",
    "retries": "retries",
}
OF_TRANSPORT = ("bootstrap_timeout_ms",)  # what the transport itself heeds
# The same in librdkafka's names: what the daemon's guarantees rest on.
OURS_THERE = {
    "bootstrap.servers": "kafka.bootstrap_servers",
    "metadata.broker.list": "kafka.bootstrap_servers",
    "group.id": "delivery.group",
    "group.instance.id": "delivery.instance_id",
    "partition.assignment.strategy": "delivery.assignor",
    "session.timeout.ms": "delivery.session_timeout_s",
    "transactional.id": "delivery.instance_id",
    "transaction.timeout.ms": "delivery.transaction_timeout_s",
    **dict.fromkeys(
        (
            "group.protocol",
            "group.remote.assignor",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "enable.partition.eof",
            "auto.offset.reset",
            "offset.store.method",
            "isolation.level",
            "allow.auto.create.topics",
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "partitioner",
        )
    ),
}
_SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)
ASSIGNORS = ("range", "roundrobin", "cooperative-sticky")


def consumer_settings(config: Config, timeout_s: float) -> dict[str, Any]:
    """Settings of the member; raises InvalidConfiguration for those that librdkafka does not know or may not have."""
    delivery = config.delivery
    if delivery.assignor not in ASSIGNORS:
        known = ", ".join(ASSIGNORS)
        raise InvalidConfiguration(f"delivery.assignor: the client confluent knows no '{delivery.assignor}': {known}")
    session_ms = int(delivery.session_timeout_s * 1000)
    return {
        **reader_settings(config, timeout_s),
        "heartbeat.interval.ms": max(session_ms // 4, 100),
        "max.poll.interval.ms": max(session_ms, 300_000),
        **_given(config.kafka, OF_CONSUMER),
        **_own(config.kafka),
        "group.instance.id": instance_of(config),
        "partition.assignment.strategy": delivery.assignor,
        "session.timeout.ms": session_ms,
    }


def reader_settings(config: Config, timeout_s: float) -> dict[str, Any]:
    """Settings of a consumer that is no member of the group, whose name it has to bear all the same."""
    delivery = config.delivery
    return {
        "socket.timeout.ms": _within(int(timeout_s * 500), 10, 300_000),
        "fetch.wait.max.ms": _within(int(delivery.max_wait_s * 1000), 1, 300_000),
        # Read ahead at most about one batch, and 100,000 messages, which is its default. Where so much is held it
        # looks again after a while; its default of 1 s would leave a daemon that is behind without messages.
        "queued.max.messages.kbytes": _within(delivery.max_batch_bytes // 1024, 1, 2_097_151),
        "fetch.queue.backoff.ms": 10,
        "fetch.max.bytes": _within(delivery.max_batch_bytes, 1_000_000, 1_000_000_000),
        "max.partition.fetch.bytes": _within(delivery.max_batch_bytes, 1024, 1_048_576),
        "topic.metadata.refresh.interval.ms": METADATA_MS,
        "check.crcs": True,  # in hardware: below 5 % of the client's time (measured)
        **_common(config.kafka),
        **_given(config.kafka, OF_CONSUMER),
        **_own(config.kafka),
        "group.id": delivery.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
    }


def producer_settings(config: Config, timeout_s: float) -> dict[str, Any]:
    """Settings of the idempotent producer; keys choose the same partitions as with Java and kafka-python."""
    return {
        "socket.timeout.ms": _within(int(timeout_s * 500), 10, 300_000),
        "delivery.timeout.ms": int(timeout_s * 1000),
        "message.max.bytes": _within(2 * config.input.max_message_bytes + 1024 * 1024, 1000, 1_000_000_000),
        **_common(config.kafka),
        **_given(config.kafka, OF_PRODUCER),
        **_own(config.kafka),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
    }


def transaction_settings(config: Config, timeout_s: float) -> dict[str, Any]:
    """Settings of the transactional producer."""
    return producer_settings(config, timeout_s) | {
        "transactional.id": transactional_id(config),
        "transaction.timeout.ms": int(1000 * config.delivery.transaction_timeout_s),
    }


def _within(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _common(kafka: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of every client, after a look at all that is in the table."""
    refuse(kafka, OURS, "kafka")
    for name in kafka:
        if not any(name in known for known in (OF_BOTH, OF_CONSUMER, OF_PRODUCER, OF_TRANSPORT, (OWN_TABLE,))):
            raise InvalidConfiguration(
                f"kafka.{name}: the client confluent has no such setting; its own are in [kafka.{OWN_TABLE}]"
            )
    # What it would print is in the errors that it gives; with `debug` it prints.
    quiet = {} if "debug" in kafka.get(OWN_TABLE, {}) else {"logger": _SILENT}
    return {**quiet, **_given(kafka, OF_BOTH)}


def _given(kafka: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: _value(name, value) for name, value in kafka.items() if name in names}


def _value(name: str, value: Any) -> Any:
    if name == "ssl_check_hostname":
        return "https" if value else "none"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _own(kafka: Mapping[str, Any]) -> dict[str, Any]:
    """The table `[kafka.librdkafka]`."""
    own = dict(_flat(kafka.get(OWN_TABLE, {})))
    refuse(own, OURS_THERE, f"kafka.{OWN_TABLE}")
    return own


def _flat(table: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names, which TOML reads as tables where they are not quoted."""
    if not isinstance(table, dict):
        raise InvalidConfiguration(f"kafka.{OWN_TABLE}: is a table of librdkafka's settings")
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
