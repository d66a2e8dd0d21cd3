"""Questions to a cluster, each by an admin client of its own: which topics there are, and who is in the group."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, MemberToRemove

from monitor.config import Config
from monitor.errors import FatalError, InvalidConfiguration, RetriableError, TocsinError
from monitor.topics import TopicNow

_LEADER_NOT_AVAILABLE = kafka_errors.LeaderNotAvailableError.errno


def client_settings(kafka: Mapping[str, Any], client: Any) -> dict[str, Any]:
    """The settings of the table `[kafka]` that this client class of kafka-python knows: each refuses the others'.

    Raises InvalidConfiguration for a setting that no client knows.
    """
    for key in kafka:
        known = any(key in each.DEFAULT_CONFIG for each in (KafkaAdminClient, KafkaConsumer, KafkaProducer))
        if not known and key != "librdkafka":  # that table is the other client's
            raise InvalidConfiguration(f"kafka.{key}: the Kafka client has no such setting.")
    return {key: value for key, value in kafka.items() if key in client.DEFAULT_CONFIG}


def reader_settings(kafka: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Settings of a consumer that stands outside of any group and sees what was committed, whatever `kafka` says."""
    own = {"group_id": None, "enable_auto_commit": False, "isolation_level": "read_committed"}
    return client_settings(kafka, KafkaConsumer) | own | more


def command_producer_settings(kafka: Mapping[str, Any], within_s: float) -> dict[str, Any]:
    """Settings of a producer for commands: on all copies, or an error within the time, whatever `[kafka]` says."""
    limits = ("max_block_ms", "bootstrap_timeout_ms", "request_timeout_ms", "delivery_timeout_ms")
    return client_settings(kafka, KafkaProducer) | dict.fromkeys(limits, int(within_s * 1000)) | {"acks": "all"}


def addresses(kafka: Mapping[str, Any]) -> str:
    """The bootstrap addresses as a text for a person."""
    servers = kafka.get("bootstrap_servers", "the default address")
    return servers if isinstance(servers, str) else ", ".join(map(str, servers))


def made(client: Any, **settings: Any) -> Any:
    """A client of kafka-python; one that fails to begin would leave its thread and its connections behind."""
    begun = client.__new__(client)
    try:
        begun.__init__(**settings)
    except BaseException:
        for part, end in (("_client", "close"), ("_net", "stop")):
            with contextlib.suppress(Exception):
                getattr(getattr(begun, part), end)()
        raise
    return begun


@contextlib.contextmanager
def admin_client(config: Config, timeout_s: float) -> Iterator[KafkaAdminClient]:
    """An admin client; what goes wrong with it becomes an error of ours with a sentence."""
    where = addresses(config.kafka)
    timeout_ms = int(timeout_s * 1000)
    settings = {"bootstrap_timeout_ms": timeout_ms, **client_settings(config.kafka, KafkaAdminClient)}
    try:
        with contextlib.closing(made(KafkaAdminClient, **settings)) as admin:
            yield admin
    except TocsinError:
        raise
    except (kafka_errors.KafkaConfigurationError, ValueError, AssertionError) as error:
        raise InvalidConfiguration(f"kafka: {error}") from None
    except (kafka_errors.AuthorizationError, kafka_errors.SaslAuthenticationFailedError) as error:
        raise FatalError(f"The broker at {where} refuses this user: {_text(error)}.") from None
    except (kafka_errors.KafkaError, OSError) as error:
        raise RetriableError(f"No answer from the broker at {where}: {_text(error)}.") from None


def _text(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def partition_counts(config: Config, timeout_s: float = 15.0) -> dict[str, int]:
    """Partitions of every topic that the broker has; RetriableError where no broker answers."""
    with admin_client(config, timeout_s) as admin:
        return counted(admin)


def topics_now(config: Config, timeout_s: float = 15.0) -> dict[str, TopicNow]:
    """What the broker has of the topics that the daemon reads and writes; RetriableError where none answers."""
    topics = config.topics
    names = [topics.readings, topics.scores, topics.anomalies, topics.deadletter, topics.state]
    with admin_client(config, timeout_s) as admin:
        found = {topic["name"]: topic for topic in admin.describe_topics(names)}
    return {name: _now(found.get(name)) for name in names}


def _now(found: Mapping[str, Any] | None) -> TopicNow:
    """A topic that is being deleted is still named, with an error."""
    if found is None or found["error_code"] not in (0, _LEADER_NOT_AVAILABLE):
        return TopicNow()
    return TopicNow(len(found["partitions"]), str(found["topic_id"]) if found.get("topic_id") else None)


def max_message_bytes(config: Config, topic: str, timeout_s: float = 15.0) -> int | None:
    """What `max.message.bytes` of a topic is set to; None where it is the broker's own."""
    with admin_client(config, timeout_s) as admin:
        found = topic_settings(admin, [topic]).get(topic, {}).get("max.message.bytes")
    return int(found) if found else None


def counted(admin: KafkaAdminClient) -> dict[str, int]:
    """Partitions of every topic that the broker has."""
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}


def topic_settings(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of topics that differ from the broker's own."""
    resources = [ConfigResource("TOPIC", name) for name in names]
    if not resources:
        return {}
    found = admin.describe_configs(resources).get("topic", {})
    return {name: {key: str(entry["value"]) for key, entry in keys.items()} for name, keys in found.items()}


def remove_member(config: Config, instance: str, timeout_s: float = 15.0) -> bool:
    """Take a static member out of the group, so that others have its partitions at once; whether it was there."""
    with admin_client(config, timeout_s) as admin:
        try:
            told = admin.remove_group_members(config.delivery.group, [MemberToRemove(group_instance_id=instance)])
        except (kafka_errors.UnknownMemberIdError, kafka_errors.GroupIdNotFoundError):
            return False
    errors = set(told.values()) - {kafka_errors.NoError}
    if errors - {kafka_errors.UnknownMemberIdError}:
        raise RetriableError(
            f"The group {config.delivery.group} does not let {instance} go: {errors.pop().__name__}."
        )
    return not errors
