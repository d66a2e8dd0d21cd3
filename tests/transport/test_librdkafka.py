"""The table `[kafka]` in librdkafka's names: what goes through, what is refused and how."""

import pytest
from kafka import KafkaConsumer, KafkaProducer

from monitor.cluster import client_settings
from monitor.config import Config, parse
from monitor.errors import InvalidConfiguration
from monitor.transport.clients import connect
from monitor.transport.librdkafka import (
    OF_BOTH,
    OF_CONSUMER,
    OF_PRODUCER,
    OF_TRANSPORT,
    OURS_THERE,
    consumer_settings,
    producer_settings,
    reader_settings,
)
from monitor.transport.member import OURS
from tests.require import require_client


def configured(kafka: dict[str, object], **delivery: object) -> Config:
    return parse({"kafka": kafka, "delivery": {"client": "confluent"} | delivery})


def test_settings_of_every_client_go_to_all_by_their_names_there() -> None:
    config = configured(
        {
            "bootstrap_servers": ["one:9092", "two:9092"],
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "tocsin",
            "sasl_plain_password": "secret",
            "ssl_cafile": "/etc/ca.pem",
            "ssl_check_hostname": False,
            "request_timeout_ms": 7000,
        }
    )
    for settings in (consumer_settings(config, 30), producer_settings(config, 30), reader_settings(config, 30)):
        assert (
            settings.items()
            >= {
                "bootstrap.servers": "one:9092,two:9092",
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": "tocsin",
                "sasl.password": "secret",
                "ssl.ca.location": "/etc/ca.pem",
                "ssl.endpoint.identification.algorithm": "none",
                "socket.timeout.ms": 7000,
            }.items()
        )


def test_settings_of_one_client_go_to_that_one_alone() -> None:
    config = configured({"fetch_min_bytes": 1000, "compression_type": "lz4"})
    assert consumer_settings(config, 30)["fetch.min.bytes"] == 1000
    assert producer_settings(config, 30)["compression.type"] == "lz4"
    assert "compression.type" not in consumer_settings(config, 30)
    assert "fetch.min.bytes" not in producer_settings(config, 30)


def test_its_own_table_goes_through_as_it_stands_with_secrets_and_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hush")
    own = {"sasl.oauthbearer.config": {"env": "TOKEN"}, "socket": {"keepalive": {"enable": True}}}
    config = configured({"bootstrap_servers": "one:9092", "librdkafka": own})
    for settings in (consumer_settings(config, 30), producer_settings(config, 30)):
        assert settings["sasl.oauthbearer.config"] == "hush"
        assert settings["socket.keepalive.enable"] is True


def test_its_own_table_wins_over_the_daemons_defaults() -> None:
    config = configured({"librdkafka": {"queued.min.messages": 7}})
    assert consumer_settings(config, 30)["queued.min.messages"] == 7


@pytest.mark.parametrize("name", ["ssl_context", "socks5_proxy", "api_version", "metric_reporters"])
def test_setting_that_it_has_not_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidConfiguration, match=rf"^kafka\.{name}: .*\[kafka\.librdkafka\]"):
        consumer_settings(configured({name: "x"}), 30)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("group.id", "delivery.group"),
        ("session.timeout.ms", "delivery.session_timeout_s"),
        ("bootstrap.servers", "kafka.bootstrap_servers"),
        ("enable.auto.commit", "the daemon sets this itself"),
        ("isolation.level", "the daemon sets this itself"),
        ("enable.idempotence", "the daemon sets this itself"),
        ("partitioner", "the daemon sets this itself"),
    ],
)
def test_what_the_guarantees_rest_on_is_refused_in_its_own_table(name: str, instead: str) -> None:
    with pytest.raises(InvalidConfiguration, match=rf"^kafka\.librdkafka\.{name}: .*{instead}"):
        consumer_settings(configured({"librdkafka": {name: "x"}}), 30)


def test_assignor_that_it_has_not_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match=r"delivery\.assignor: .* 'sticky'"):
        consumer_settings(configured({}, assignor="sticky"), 30)


def test_setting_that_nobody_knows_is_refused_in_its_own_words(client: str) -> None:
    table = {"librdkafka": {"no.such": 1}} if client == "confluent" else {"no_such": 1}
    with pytest.raises(InvalidConfiguration, match=r"no.such"):
        connect(configured(table, client=client))


def test_its_own_table_is_kept_from_kafka_python() -> None:
    table = {"bootstrap_servers": "one:9092", "librdkafka": {"check.crcs": False}}
    assert client_settings(table, KafkaConsumer) == {"bootstrap_servers": "one:9092"}


@pytest.mark.parametrize("table", [OF_BOTH, OF_CONSUMER, OF_PRODUCER, OURS_THERE], ids=["both", "in", "out", "ours"])
def test_every_name_in_the_tables_is_one_of_its_settings(table: dict[str, str]) -> None:
    require_client("confluent")
    from confluent_kafka import KafkaException, Producer

    names = table if table is OURS_THERE else table.values()

    def complaint(name: str) -> str:
        try:
            Producer({name: "?"})
        except KafkaException as error:
            return str(error)
        return ""

    unknown = "No such configuration property"
    assert unknown in complaint("no.such")
    assert [name for name in names if unknown in complaint(name)] == []


def test_every_name_on_the_left_is_one_of_kafka_pythons() -> None:
    known = {*KafkaConsumer.DEFAULT_CONFIG, *KafkaProducer.DEFAULT_CONFIG}
    assert {*OF_BOTH, *OF_CONSUMER, *OF_PRODUCER, *OF_TRANSPORT, *OURS} <= known
