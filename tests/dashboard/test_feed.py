"""The feed against a broker: what it waits for, what it reads, what it skips."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dashboard.access import User
from dashboard.commands import build
from dashboard.feed import Feed, History, client_settings
from dashboard.live import Plant, is_open
from dashboard.names import ChannelNames
from monitor.broker import EmbeddedBroker
from monitor.config import Config, Detector, parse
from monitor.topics import Topics
from tests.dashboard.plant import Publisher, incident, own_topics, scores, sensor_fault, write_model


def eventually(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait for a condition of another thread; fails when it does not come true in time."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.02)


@pytest.fixture
def publisher(embedded_broker: str) -> Iterator[Publisher]:
    """A publisher to topics of its own."""
    publisher = Publisher(embedded_broker, own_topics())
    yield publisher
    publisher.close()


@pytest.fixture
def start_feed() -> Iterator[Callable[..., Feed]]:
    """Start feeds that are stopped at the end of the test."""
    started: list[Feed] = []

    def start(publisher: Publisher, history: History | None = None) -> Feed:
        config = Config(kafka={"bootstrap_servers": publisher.bootstrap}, topics=publisher.topics)
        feed = Feed(config, Plant(), history or History())
        feed.start()
        started.append(feed)
        return feed

    yield start
    for feed in started:
        feed.stop()


def test_scores_and_incidents_of_all_partitions_arrive(publisher: Publisher, start_feed: Callable[..., Feed]) -> None:
    publisher.create_topics()
    publisher.send_scores(scores("a", 0, 50), scores("b", 0, 50))
    feed = start_feed(publisher)
    eventually(lambda: feed.plant.windows == 100)
    publisher.send_event(incident("a", 40))
    publisher.send_scores(scores("a", 50, 3))
    eventually(lambda: feed.plant.windows == 103 and feed.plant.incidents("a"))
    assert is_open(feed.plant.incidents("a")[0])
    assert feed.status.waiting_for == ""


def test_sensors_commands_and_their_answers_arrive(publisher: Publisher, start_feed: Callable[..., Feed]) -> None:
    publisher.create_topics()
    feed = start_feed(publisher)
    publisher.send_event(sensor_fault("a", "pressure 1", "stuck", 20))
    command = build(User("ann", "operator"), "acknowledge", "a", "c1", 1_800_000_000.0)
    publisher.send_command(command)
    publisher.send_event(replace(incident("a", 40), seq=2, state="acknowledged", command_id="c1"))
    book = feed.plant.book
    eventually(lambda: book.sensor_faults("a") and book.decisions() and book.decisions()[0].answers)
    assert book.decisions()[0].command == command
    assert book.alarms()[0].state == "acknowledged"


def test_broken_messages_are_counted_and_skipped(publisher: Publisher, start_feed: Callable[..., Feed]) -> None:
    publisher.create_topics()
    publisher.send_broken()
    publisher.send_scores(scores("a", 0, 5))
    publisher.send_event(incident("a", 1))
    feed = start_feed(publisher)
    eventually(lambda: feed.plant.windows == 5 and feed.plant.incidents("a") and feed.status.broken == 2)


def test_missing_topics_are_named_until_they_are_there(publisher: Publisher, start_feed: Callable[..., Feed]) -> None:
    feed = start_feed(publisher)
    eventually(lambda: f"the topic {publisher.topics.scores}" in feed.status.waiting_for)
    publisher.create_topics()
    publisher.send_scores(scores("a", 0, 5))
    eventually(lambda: feed.plant.windows == 5)
    assert feed.status.waiting_for == ""


def test_a_long_partition_is_begun_within_its_history(publisher: Publisher, start_feed: Callable[..., Feed]) -> None:
    publisher.create_topics()
    for first in range(0, 20, 5):
        publisher.send_scores(scores("a", first, 5))
    feed = start_feed(publisher, History(scores_s=0.0, few_messages=2))
    eventually(lambda: feed.status.waiting_for == "")
    publisher.send_scores(scores("a", 20, 1))
    eventually(lambda: feed.plant.windows > 0)
    assert feed.plant.windows == 1


@pytest.mark.slow
def test_a_broker_that_goes_and_comes_back_is_waited_for(tmp_path: Path, start_feed: Callable[..., Feed]) -> None:
    with EmbeddedBroker(data_dir=tmp_path / "broker") as broker:
        publisher = Publisher(broker.bootstrap, Topics())
        publisher.create_topics()
        publisher.send_scores(scores("a", 0, 5))
        feed = start_feed(publisher)
        eventually(lambda: feed.plant.windows == 5)
        publisher.close()
        broker.stop()
        eventually(lambda: feed.status.waiting_for == f"the broker at {broker.bootstrap}")
        broker.start()
        again = Publisher(broker.bootstrap, Topics())
        again.send_scores(scores("a", 5, 5))
        again.close()
        eventually(lambda: feed.plant.windows == 10 and not feed.status.waiting_for)


def test_the_client_gets_the_settings_of_the_file_that_a_consumer_knows() -> None:
    given = parse({"kafka": {"bootstrap_servers": "k:9093", "security_protocol": "SSL", "linger_ms": 5}})
    settings = client_settings(given.kafka)
    assert settings["bootstrap_servers"] == "k:9093"
    assert settings["security_protocol"] == "SSL"
    assert settings["isolation_level"] == "read_committed"
    assert "linger_ms" not in settings


def test_channels_are_numbered_where_no_model_file_is_in_reach(tmp_path: Path) -> None:
    names = ChannelNames((Detector(name="pumps", model=str(tmp_path / "none"), assets=("*",)),))
    assert [channel.name for channel in names.of("pumps", "1", 2)] == ["channel 1", "channel 2"]


def test_channels_have_the_names_and_units_of_the_model_file(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    names = ChannelNames((Detector(name="pumps", model=str(model), assets=("*",)),))
    assert [(channel.name, channel.unit) for channel in names.of("pumps", "7", 8)][:2] == [
        ("vibration 1", "mm/s"),
        ("pressure 1", "bar"),
    ]
    assert names.of("pumps", "7", 3)[0].name == "channel 1"


def test_channels_of_another_version_have_no_names_rather_than_wrong_ones(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    names = ChannelNames((Detector(name="pumps", model=str(model), assets=("*",)),))
    assert names.of("pumps", "6", 8)[0].name == "channel 1"


def test_a_model_file_that_appears_later_is_found(tmp_path: Path) -> None:
    now = [0.0]
    detector = Detector(name="pumps", model=str(tmp_path / "pumps"), assets=("*",))
    names = ChannelNames((detector,), clock=lambda: now[0])
    assert names.of("pumps", "7", 8)[0].name == "channel 1"
    write_model(tmp_path)
    now[0] = 60.0
    assert names.of("pumps", "7", 8)[0].name == "vibration 1"
