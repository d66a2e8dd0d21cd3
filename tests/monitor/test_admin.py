"""Topics are created once, with what each must keep, on every broker; what is not right is said."""

import dataclasses

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from monitor.admin import Retention, create_topics, plan_topics
from monitor.broker import free_port
from monitor.cluster import partition_counts, topics_now
from monitor.config import Config, Input
from monitor.errors import FatalError, InvalidConfiguration, RetriableError
from monitor.topics import TopicNow, Topics
from tests.kafka_cluster import KafkaCluster, unique
from tests.transport.logs import until


@pytest.fixture
def config(bootstrap: str) -> Config:
    prefix = unique("plant")
    names = ("readings", "scores", "anomalies", "deadletter", "commands", "state")
    topics = Topics(**{name: f"{prefix}.{name}" for name in names})
    return Config(kafka={"bootstrap_servers": bootstrap}, topics=topics)


def settings_of(config: Config, topic: str) -> dict[str, str]:
    admin = KafkaAdminClient(**config.kafka)
    try:
        found = admin.describe_configs([ConfigResource("TOPIC", topic)])["topic"][topic]
        return {key: entry["value"] for key, entry in found.items()}
    finally:
        admin.close()


def create_by_hand(config: Config, topic: str, partitions: int) -> None:
    admin = KafkaAdminClient(**config.kafka)
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()


def test_all_topics_are_created_and_commands_has_one_partition(config: Config) -> None:
    facts = create_topics(config, partitions=3, replication=1)
    assert {fact.name.rpartition(".")[2]: fact.partitions for fact in facts} == {
        "readings": 3,
        "scores": 3,
        "anomalies": 3,
        "deadletter": 3,
        "commands": 1,
        "state": 3,
    }
    assert all(fact.created and not fact.warnings for fact in facts)


def test_the_second_time_nothing_is_created_and_nothing_is_wrong(config: Config) -> None:
    first = create_topics(config, partitions=2, replication=1)
    second = create_topics(config, partitions=2, replication=1)
    assert second == [dataclasses.replace(fact, created=False) for fact in first]


def test_state_is_compacted_and_commands_are_kept_for_ever(config: Config) -> None:
    create_topics(config, partitions=1, replication=1, retention=Retention(scores_days=2))
    assert settings_of(config, config.topics.state)["cleanup.policy"] == "compact"
    assert settings_of(config, config.topics.commands)["retention.ms"] == "-1"
    assert settings_of(config, config.topics.scores)["retention.ms"] == str(2 * 86_400_000)


def test_an_input_with_more_partitions_decides_for_the_others(config: Config) -> None:
    create_by_hand(config, config.topics.readings, partitions=5)
    facts = {fact.name: fact for fact in create_topics(config, partitions=2, replication=1)}
    assert facts[config.topics.scores].partitions == 5
    assert facts[config.topics.state].partitions == 5
    assert "has 5 partitions, not 2" in facts[config.topics.readings].warnings[0]


def test_topics_that_are_written_to_the_inputs_partitions_grow_with_it(config: Config) -> None:
    create_by_hand(config, config.topics.scores, partitions=1)
    create_by_hand(config, config.topics.anomalies, partitions=1)
    create_by_hand(config, config.topics.readings, partitions=3)
    facts = {fact.name: fact for fact in create_topics(config, partitions=3, replication=1)}
    scores, anomalies = facts[config.topics.scores], facts[config.topics.anomalies]
    assert (scores.partitions, scores.grown_from, scores.created) == (3, 1, False)
    assert not any("partition" in warning for warning in scores.warnings)
    assert (anomalies.partitions, anomalies.grown_from) == (1, None)
    assert partition_counts(config)[config.topics.scores] == 3


def test_state_grows_and_what_else_does_not_fit_is_reported_and_left(config: Config) -> None:
    create_by_hand(config, config.topics.state, partitions=1)
    facts = {fact.name: fact for fact in create_topics(config, partitions=2, replication=1)}
    state = facts[config.topics.state]
    assert (state.partitions, state.grown_from, state.created) == (2, 1, False)
    assert any("cleanup.policy = " in warning and "not compact" in warning for warning in state.warnings)


@pytest.mark.kafka
def test_what_the_broker_has_now_tells_missing_topics_and_those_created_anew(kafka_cluster: KafkaCluster) -> None:
    name = unique("plant")
    config = Config(
        kafka={"bootstrap_servers": kafka_cluster.bootstrap},
        topics=Topics(readings=name, scores=f"{name}-scores", state=f"{name}-state"),
    )
    assert topics_now(config)[name] == TopicNow()
    create_topics(config, partitions=2)
    first = topics_now(config)[name]
    assert first == topics_now(config)[name]
    assert first.partitions == 2
    admin = KafkaAdminClient(**config.kafka)
    admin.delete_topics([name])
    admin.close()
    until(lambda: topics_now(config)[name] == TopicNow(), "the topic is gone")
    create_topics(config, partitions=2)
    assert first.id != topics_now(config)[name].id


def test_too_many_copies_are_refused_with_the_brokers_reason(config: Config) -> None:
    with pytest.raises(FatalError, match=r"does not create .*\.readings: .*replication"):
        create_topics(config, partitions=1, replication=3)


def test_no_broker_is_a_sentence_with_the_address() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RetriableError, match=f"No answer from the broker at {address}"):
        create_topics(Config(kafka={"bootstrap_servers": address}), partitions=1, timeout_s=0.3)


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("boostrap_servers", "x", r"kafka\.boostrap_servers: .* no such setting"),
        ("api_version", "new", "kafka: "),
    ],
)
def test_a_wrong_client_setting_is_a_configuration_error(setting: str, value: str, sentence: str) -> None:
    with pytest.raises(InvalidConfiguration, match=sentence):
        create_topics(Config(kafka={setting: value}), partitions=1, timeout_s=0.5)


def test_settings_of_other_clients_do_not_disturb(config: Config) -> None:
    kafka = {**config.kafka, "acks": "all", "fetch_max_wait_ms": 5}
    assert create_topics(Config(kafka=kafka, topics=config.topics), partitions=1)[0].created


@pytest.mark.parametrize(("days", "size"), [(None, 1000), (None, 5_000_000), (0.5, 1000)])
def test_a_dead_letter_always_has_more_room_than_its_message(days: float | None, size: int) -> None:
    config = Config(input=Input(max_message_bytes=size))
    retention = Retention(readings_days=days, deadletter_days=days)
    settings = {plan.name: plan.settings for plan in plan_topics(config, 1, retention)}
    room = int(settings["tocsin.deadletter"]["max.message.bytes"])
    assert room > int(settings["tocsin.readings"]["max.message.bytes"]) > size
