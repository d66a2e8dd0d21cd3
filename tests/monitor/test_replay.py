"""Readings are sent when they are due, to the partition of their asset, and counted when acknowledged."""

import json
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from monitor.broker import EmbeddedBroker, free_port
from monitor.config import Config
from monitor.encode import Encoding, partition_of
from monitor.errors import FatalError, RetriableError
from monitor.plant import Plant
from monitor.recording import Recording
from monitor.replay import Progress, paced, replay, replay_producer
from monitor.simulate import generate
from tests.kafka_cluster import KafkaCluster

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND
PLANT = Plant(assets=8, duration_s=100, period_s=1, faults=())


def recording_at(seconds: list[float]) -> Recording:
    ts = START + (np.array(seconds) * 1e9).astype(np.int64)
    n = len(seconds)
    return Recording(["a"], np.zeros(n, np.int32), ts, ["flow"], np.arange(n, dtype=np.float32)[:, None])


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


# ------------------------------------------------------------------------------------------------ pacing


@given(
    steps=st.lists(st.floats(0, 50), min_size=1, max_size=30),
    speed=st.floats(0.1, 1000),
    cut=st.integers(0, 30),
    tick_s=st.sampled_from([0.001, 0.02, 1.0]),
)
def test_every_reading_is_handed_out_when_it_is_due_and_at_most_a_tick_later(
    steps: list[float], speed: float, cut: int, tick_s: float
) -> None:
    whole = recording_at(np.cumsum(steps).tolist())
    clock = Clock()
    batches = [whole.take(slice(0, cut)), whole.take(slice(cut, None))]
    seen: list[float] = []
    for part in paced(batches, speed, clock, clock.wait, tick_s):
        due = (part.ts - whole.ts[0]) / 1e9 / speed
        assert (due <= clock.now + 1e-6).all()
        assert (due >= clock.now - tick_s - 1e-6).all()
        seen += part.values[:, 0].tolist()
    assert seen == list(range(len(steps)))


def test_without_a_speed_nothing_waits() -> None:
    clock = Clock()
    parts = list(paced([recording_at([0, 1000])], None, clock, clock.wait))
    assert (len(parts), clock.now) == (1, 0)


def test_time_spent_elsewhere_is_caught_up_with() -> None:
    clock = Clock()
    parts = paced([recording_at([0, 1, 2, 3, 10])], 1.0, clock, clock.wait)
    assert len(next(parts)) == 1
    clock.now = 3.5
    assert next(parts).values[:, 0].tolist() == [1, 2, 3]


def test_a_wait_that_returns_true_ends_the_pacing() -> None:
    clock = Clock()
    assert len(list(paced([recording_at([0, 5])], 1.0, clock, lambda _seconds: True))) == 1


# ------------------------------------------------------------------------------------------------ sending


@pytest.fixture
def producer(bootstrap: str) -> Iterator[KafkaProducer]:
    producer = replay_producer(Config(kafka={"bootstrap_servers": bootstrap}), timeout_s=10)
    yield producer
    producer.close()


def create(bootstrap: str, topic: str, partitions: int, **settings: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    plan = {"num_partitions": partitions, "replication_factor": 1, "configs": settings}
    admin.create_topics({topic: plan}, wait_for_metadata=True)
    admin.close()


def read_assets(bootstrap: str, topic: str, partitions: int) -> tuple[dict[bytes, set[int]], int]:
    """Which partitions each key was read from, and the number of messages."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        homes: dict[bytes, set[int]] = defaultdict(set)
        count = 0
        while any(consumer.position(place) < ends[place] for place in places):
            for place, records in consumer.poll(timeout_ms=500).items():
                count += len(records)
                for record in records:
                    assert dict(record.headers)["content-type"]
                    homes[record.key].add(place.partition)
        return homes, count
    finally:
        consumer.close()


HOMES = {f"pump-{i}": partition_of(f"pump-{i}", 3) for i in range(1, 9)}


@pytest.mark.parametrize(
    ("encoding", "messages"), [("json", 800), ("json-narrow", 6400), ("arrow", len(set(HOMES.values())))]
)
def test_every_reading_is_acknowledged_and_an_asset_stays_on_its_partition(
    bootstrap: str, producer: KafkaProducer, topic: str, encoding: Encoding, messages: int
) -> None:
    create(bootstrap, topic, 3)
    progress = replay((chunk.readings for chunk in generate(PLANT)), producer, topic, encoding=encoding)
    assert (progress.sent, progress.acknowledged, progress.messages) == (800, 800, messages)
    assert progress.event_time_ns == PLANT.end_ns - PLANT.period_ns
    homes, count = read_assets(bootstrap, topic, 3)
    assert count == messages
    if encoding != "arrow":
        assert homes == {asset.encode(): {partition} for asset, partition in HOMES.items()}


def test_a_paced_replay_reports_its_progress(bootstrap: str, producer: KafkaProducer, topic: str) -> None:
    create(bootstrap, topic, 1)
    clock, seen = Clock(), []
    recording = recording_at([0, 60, 120])

    def note(progress: Progress) -> None:
        seen.append((clock.now, progress.sent))

    replay(recording, producer, topic, 60.0, on_progress=note, clock=clock, wait=clock.wait)
    assert seen == [(0.0, 1), (1.0, 2), (2.0, 3), (2.0, 3)]


def test_nothing_at_the_address_is_a_sentence_that_names_it() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RetriableError, match=f"No answer from the broker at {address}"):
        replay_producer(Config(kafka={"bootstrap_servers": address}), timeout_s=0.3)


def test_a_broker_that_goes_away_is_said_with_what_was_acknowledged(topic: str) -> None:
    with EmbeddedBroker() as broker:
        create(broker.bootstrap, topic, 1)
        config = Config(kafka={"bootstrap_servers": broker.bootstrap, "linger_ms": 0})
        producer = replay_producer(config, timeout_s=1.5)

        def die_after_the_first(progress: Progress) -> None:
            producer.flush()
            broker.kill()

        parts = [recording_at([0, 1]), recording_at([2, 3])]
        with pytest.raises(RetriableError, match="went away; 2 of 4 readings sent were acknowledged"):
            replay(parts, producer, topic, on_progress=die_after_the_first)
        producer.close(timeout=0)


@pytest.mark.kafka
def test_a_missing_topic_says_how_to_create_it(kafka_cluster: KafkaCluster, topic: str) -> None:
    config = Config(kafka={"bootstrap_servers": kafka_cluster.bootstrap})
    producer = replay_producer(config, timeout_s=0.5)
    with pytest.raises(RetriableError, match=f"No topic {topic} at .* `tocsin topics`"):
        replay(recording_at([0]), producer, topic)
    producer.close()


def test_a_message_that_the_broker_refuses_is_fatal(bootstrap: str, producer: KafkaProducer, topic: str) -> None:
    create(bootstrap, topic, 1, **{"max.message.bytes": "60"})
    with pytest.raises(FatalError, match=f"refuses readings for {topic}; 0 of 1 readings"):
        replay(recording_at([0]), producer, topic)


def test_json_readings_are_read_as_documented(bootstrap: str, producer: KafkaProducer, topic: str) -> None:
    create(bootstrap, topic, 1)
    replay(recording_at([0.5]), producer, topic)
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    record = next(consumer)
    consumer.close()
    assert json.loads(record.value) == {"asset": "a", "ts": "2026-01-01T00:00:00.500Z", "values": {"flow": 0.0}}
