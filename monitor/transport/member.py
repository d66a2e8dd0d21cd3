"""What both Kafka clients have in common: the member's name, what it may be told, and what a rebalance changed."""

import socket
from collections.abc import Iterable, Mapping
from typing import Any

from monitor.columns import Messages
from monitor.config import Config
from monitor.errors import FatalError, FencedError, InvalidConfiguration
from monitor.transport import Polled, TopicPartition

METADATA_MS = 30_000  # how old a client's picture of the topics may be: new partitions are found within it
ASK_WITHIN_S = 5.0  # for a question of an admin client
# Settings that the daemon's guarantees rest on, in kafka-python's names; a `[kafka]` table may not change them.
OURS = {
    "group_id": "delivery.group",
    "group_instance_id": "delivery.instance_id",
    "partition_assignment_strategy": "delivery.assignor",
    "session_timeout_ms": "delivery.session_timeout_s",
    "max_poll_records": "delivery.max_poll_records",
    "enable_auto_commit": None,
    "auto_offset_reset": None,
    "isolation_level": None,
    "key_deserializer": None,
    "value_deserializer": None,
    "key_serializer": None,
    "value_serializer": None,
    "acks": None,
    "enable_idempotence": None,
    "transactional_id": "delivery.instance_id",
    "transaction_timeout_ms": "delivery.transaction_timeout_s",
}


def refuse(table: Mapping[str, Any], ours: Mapping[str, str | None], path: str) -> None:
    """Refuse settings that the daemon's guarantees rest on."""
    for name in table:
        if name in ours:
            instead = f"; use {ours[name]}" if ours[name] else ""
            raise InvalidConfiguration(f"{path}.{name}: the daemon sets this itself{instead}")


def instance_of(config: Config) -> str:
    """This member's name in the group."""
    return config.delivery.instance_id or socket.gethostname()


def transactional_id(config: Config) -> str:
    """The producer's name: the same after a restart, so that a transaction that was left open is ended at once."""
    return f"{config.delivery.group}-{instance_of(config)}"


def fenced(instance: str) -> FencedError:
    """Another process took this member's name."""
    return FencedError(f"another process runs as instance '{instance}': give each daemon its own instance_id")


def session_refused() -> InvalidConfiguration:
    """The broker does not take the session timeout."""
    return InvalidConfiguration(
        "delivery.session_timeout_s: the broker allows none so short or long (6 to 1800 unless it is set)"
    )


def not_allowed(error: str) -> FatalError:
    """The broker refuses this user."""
    return FatalError(f"this user is not allowed to: {error}")


class Changes:
    """Notes what rebalances did, for the next poll to tell once."""

    def __init__(self) -> None:
        self._polled = Polled()

    def __bool__(self) -> bool:
        return bool(self._polled.revoked or self._polled.assigned)

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions left."""
        for where in partitions:
            self._polled.gone.pop(where, None)
            if where in self._polled.assigned:  # it came and left before anybody was told
                self._polled.assigned.remove(where)
            else:
                self._polled.revoked.append(where)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions came."""
        self._polled.assigned += partitions

    def gone(self, where: TopicPartition, differs_from: int | None = None) -> None:
        """This partition's next offset is not in the log: it leaves and comes again."""
        self.revoked([where])
        self.assigned([where])
        self._polled.gone[where] = differs_from

    def tell(self, messages: list[Messages]) -> Polled:
        """What has changed, and these messages without those of partitions that left after they were read."""
        polled, self._polled = self._polled, Polled()
        left = set(polled.revoked)
        polled.messages = [each for each in messages if (each.topic, each.partition) not in left]
        return polled
