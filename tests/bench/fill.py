"""Writes readings into a new input topic; a process of its own."""

import time

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from monitor.admin import Retention, plan_topics
from monitor.config import Config
from tests.bench.measure import finish, read_job
from tests.bench.workload import messages, recordings


def create(bootstrap: str, topic: str, partitions: int) -> None:
    """An input topic with the settings that `tocsin topics` gives it; returns when it can be written to."""
    settings = dict(plan_topics(Config(), partitions, Retention())[0].settings)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(30)
    deadline = time.monotonic() + 30
    while len(admin.list_topics(topic, timeout=10).topics[topic].partitions) < partitions:
        if time.monotonic() > deadline:
            raise KafkaException(f"{topic} has no partitions")
        time.sleep(0.05)


def fill(bootstrap: str, topic: str, partitions: int, encoding: str, assets: int, steps: int) -> dict[str, float]:
    """Create the topic and fill it; no headers, the daemon's configuration says the encoding."""
    create(bootstrap, topic, partitions)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    count = size = 0
    for recording in recordings(assets, steps):
        for partition, message in messages(recording, encoding, partitions):
            while True:
                try:
                    producer.produce(topic, message.value, message.key, partition)
                    break
                except BufferError:
                    producer.poll(0.1)
            count, size = count + 1, size + len(message.value)
        producer.poll(0)
    if producer.flush(120):
        raise RuntimeError(f"the broker did not take all readings of {topic}")
    return {"messages": count, "message_bytes": size / count}


if __name__ == "__main__":
    finish(fill(**read_job()))
