"""Creates the topics and lets them grow: how many partitions each has, what it keeps, and for how long."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from msgspec import Struct

from monitor.cluster import admin_client, counted, topic_settings
from monitor.config import Config
from monitor.errors import FatalError, RetriableError

_DAY_MS = 86_400_000
GROWN_WITHIN_S = 15.0
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
    """What `create_topics` found or made: the topic's partitions, and what is not as it should be.

    `grown_from`: how many partitions it had before some were added, else None.
    """

    name: str
    partitions: int
    created: bool
    warnings: tuple[str, ...] = ()
    grown_from: int | None = None


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

    The input topic, where it exists, decides the number of partitions of the others; scores and state, which are
    written to the input partition's number, are given more where they have fewer. Raises RetriableError where no
    broker answers and FatalError where it refuses.
    """
    with admin_client(config, timeout_s) as admin:
        before = counted(admin)
        plans = plan_topics(config, before.get(config.topics.readings, partitions), retention)
        missing = [plan for plan in plans if plan.name not in before]
        created = _create(admin, missing, replication)
        numbered_as_input = [plan for plan in plans if plan.name in (config.topics.scores, config.topics.state)]
        _grow(
            admin,
            {p.name: p.partitions for p in numbered_as_input if before.get(p.name, p.partitions) < p.partitions},
        )
        counts = counted(admin)
        settings = topic_settings(admin, [plan.name for plan in plans if plan.name not in created])
    facts = []
    for plan in plans:
        found = counts.get(plan.name, plan.partitions)
        warnings = [] if plan.name in created else list(_disagreements(plan, settings.get(plan.name, {})))
        wanted = partitions if plan.name == config.topics.readings else plan.partitions
        if found != wanted:
            warnings.insert(0, _count_warning(plan.name, found, wanted))
        had = before.get(plan.name, found)
        grown_from = had if had < found and plan.name not in created else None
        facts.append(TopicFact(plan.name, found, plan.name in created, tuple(warnings), grown_from))
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


def _grow(admin: KafkaAdminClient, wanted: Mapping[str, int]) -> None:
    """Give these topics so many partitions, and return when they have them."""
    if not wanted:
        return
    for topic in admin.create_partitions(dict(wanted), raise_errors=False).results:
        if topic.error_code != 0:
            error = kafka_errors.for_code(topic.error_code)
            reason = topic.error_message or error.__name__
            raise FatalError(f"The broker does not add partitions to {topic.name}: {reason.rstrip('.')}.")
    deadline = time.monotonic() + GROWN_WITHIN_S
    while any(counted(admin).get(name, 0) < count for name, count in wanted.items()):
        if time.monotonic() > deadline:
            raise RetriableError(f"The broker was told to add partitions to {', '.join(wanted)} and has not yet.")
        time.sleep(0.1)
    admin.wait_for_topics(list(wanted))
