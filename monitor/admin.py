"""Creates the topics: how many partitions each has, what it keeps, and for how long."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource
from msgspec import Struct

from monitor.config import Config
from monitor.errors import FatalError, InvalidConfiguration, RetriableError, TocsinError

_DAY_MS = 86_400_000
_ALREADY_EXISTS = kafka_errors.TopicAlreadyExistsError.errno
_MESSAGE_OVERHEAD_BYTES = 64 * 1024  # batch header, key and headers of a message at the input's limit
_DEADLETTER_HEADROOM_BYTES = 512 * 1024
# What must hold for a topic to do its work; where an existing topic differs, its owner is told.
_VITAL = ("cleanup.policy", "max.message.bytes", "retention.ms")


class Retention(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Days that each topic keeps its messages; None keeps them for ever. Commands and state always are."""

    readings_days: float | None = 7.0
    scores_days: float | None = 30.0
    anomalies_days: float | None = 365.0
    deadletter_days: float | None = 30.0


@dataclass(slots=True, frozen=True)
class TopicPlan:
    """How a topic is to be created."""

    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(slots=True, frozen=True)
class TopicFact:
    """What `create_topics` found or made: the topic's partitions, and what is not as it should be."""

    name: str
    partitions: int
    created: bool
    warnings: tuple[str, ...] = ()


def plan_topics(config: Config, input_partitions: int, retention: Retention) -> list[TopicPlan]:
    """All topics of an installation whose input has this many partitions."""
    topics = config.topics
    input_bytes = config.input.max_message_bytes + _MESSAGE_OVERHEAD_BYTES
    # The broker's clock, so that no sensor's clock decides what is too far ahead or when a message expires.
    appended = {"message.timestamp.type": "LogAppendTime"}
    in_small_segments = {"segment.bytes": str(32 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.2"}
    larger = {"max.message.bytes": str(input_bytes + _DEADLETTER_HEADROOM_BYTES)}
    return [
        TopicPlan(
            topics.readings,
            input_partitions,
            {**appended, **_kept(retention.readings_days), "max.message.bytes": str(input_bytes)},
        ),
        TopicPlan(topics.scores, input_partitions, appended | _kept(retention.scores_days)),
        TopicPlan(topics.anomalies, input_partitions, appended | _kept(retention.anomalies_days)),
        TopicPlan(topics.deadletter, input_partitions, larger | _kept(retention.deadletter_days)),
        TopicPlan(topics.commands, 1, _kept(None)),
        # Only closed segments are compacted, and all of the log is read on assignment: so they are small.
        TopicPlan(topics.state, input_partitions, {"cleanup.policy": "compact", **in_small_segments}),
    ]


def _kept(days: float | None) -> dict[str, str]:
    milliseconds = -1 if days is None else round(days * _DAY_MS)
    return {"cleanup.policy": "delete", "retention.ms": str(milliseconds), "retention.bytes": "-1"}


def create_topics(
    config: Config,
    partitions: int,
    replication: int = 1,
    retention: Retention = Retention(),  # noqa: B008 - frozen
    timeout_s: float = 15.0,
) -> list[TopicFact]:
    """Create the topics that are missing; say of the others how many partitions they have and what is wrong.

    The input topic, where it exists, decides the number of partitions of the others. Raises RetriableError
    where no broker answers and FatalError where it refuses.
    """
    with _admin(config, timeout_s) as admin:
        counts = _partition_counts(admin)
        plans = plan_topics(config, counts.get(config.topics.readings, partitions), retention)
        missing = [plan for plan in plans if plan.name not in counts]
        created = _create(admin, missing, replication)
        counts = _partition_counts(admin)
        settings = _topic_settings(admin, [plan.name for plan in plans if plan.name not in created])
    facts = []
    for plan in plans:
        found = counts.get(plan.name, plan.partitions)
        warnings = [] if plan.name in created else list(_disagreements(plan, settings.get(plan.name, {})))
        wanted = partitions if plan.name == config.topics.readings else plan.partitions
        if found != wanted:
            warnings.insert(0, _count_warning(plan.name, found, wanted))
        facts.append(TopicFact(plan.name, found, plan.name in created, tuple(warnings)))
    return facts


def _count_warning(name: str, found: int, wanted: int) -> str:
    return f"{name} has {_partitions(found)}, not {wanted}; topics that exist are left as they are."


def _partitions(count: int) -> str:
    return f"{count} partition" if count == 1 else f"{count} partitions"


def _disagreements(plan: TopicPlan, found: Mapping[str, str]) -> Iterator[str]:
    for key in _VITAL:
        wanted = plan.settings.get(key)
        if wanted is not None and found.get(key, "delete" if key == "cleanup.policy" else None) != wanted:
            value = found.get(key, "the broker's default")
            yield f"{plan.name} has {key} = {value}, not {wanted}."


# ------------------------------------------------------------------------------------------------- the client


def client_settings(kafka: Mapping[str, Any], client: Any) -> dict[str, Any]:
    """The settings of the table `[kafka]` that this client class of kafka-python knows: each refuses the others'.

    Raises InvalidConfiguration for a setting that no client knows.
    """
    for key in kafka:
        known = any(key in each.DEFAULT_CONFIG for each in (KafkaAdminClient, KafkaConsumer, KafkaProducer))
        if not known and key != "librdkafka":  # that table is the other client's
            raise InvalidConfiguration(f"kafka.{key}: the Kafka client has no such setting.")
    return {key: value for key, value in kafka.items() if key in client.DEFAULT_CONFIG}


def addresses(kafka: Mapping[str, Any]) -> str:
    """The bootstrap addresses as a text for a person."""
    servers = kafka.get("bootstrap_servers", "the default address")
    return servers if isinstance(servers, str) else ", ".join(map(str, servers))


@contextlib.contextmanager
def _admin(config: Config, timeout_s: float) -> Iterator[KafkaAdminClient]:
    """An admin client; what goes wrong with it becomes an error of ours with a sentence."""
    where = addresses(config.kafka)
    timeout_ms = int(timeout_s * 1000)
    settings = {"bootstrap_timeout_ms": timeout_ms, **client_settings(config.kafka, KafkaAdminClient)}
    try:
        with contextlib.closing(KafkaAdminClient(**settings)) as admin:
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


def _partition_counts(admin: KafkaAdminClient) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}


def _create(admin: KafkaAdminClient, plans: Iterable[TopicPlan], replication: int) -> set[str]:
    """Create these topics and wait until they can be used; the names of those that were still missing."""
    wanted = {
        plan.name: {
            "num_partitions": plan.partitions,
            "replication_factor": replication,
            "configs": dict(plan.settings),
        }
        for plan in plans
    }
    if not wanted:
        return set()
    created: set[str] = set()
    for topic in admin.create_topics(wanted, raise_errors=False)["topics"]:
        if topic["error_code"] == 0:
            created.add(topic["name"])
        elif topic["error_code"] != _ALREADY_EXISTS:
            error = kafka_errors.for_code(topic["error_code"])
            reason = topic.get("error_message") or error.__name__
            raise FatalError(f"The broker does not create {topic['name']}: {reason.rstrip('.')}.")
    admin.wait_for_topics(list(wanted))
    return created


def _topic_settings(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of topics that differ from the broker's own."""
    resources = [ConfigResource("TOPIC", name) for name in names]
    if not resources:
        return {}
    found = admin.describe_configs(resources).get("topic", {})
    return {name: {key: str(entry["value"]) for key, entry in keys.items()} for name, keys in found.items()}


def partition_counts(config: Config, timeout_s: float = 15.0) -> dict[str, int]:
    """Partitions of every topic that the broker has; RetriableError where no broker answers."""
    with _admin(config, timeout_s) as admin:
        return _partition_counts(admin)


def max_message_bytes(config: Config, topic: str, timeout_s: float = 15.0) -> int | None:
    """What `max.message.bytes` of a topic is set to; None where it is the broker's own."""
    with _admin(config, timeout_s) as admin:
        found = _topic_settings(admin, [topic]).get(topic, {}).get("max.message.bytes")
    return int(found) if found else None
