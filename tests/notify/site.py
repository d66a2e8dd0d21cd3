"""An installation of `tocsin notify` on a broker: topics, configuration, the process, and events by hand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from monitor.admin import create_topics
from monitor.config import load
from monitor.encode import partition_of
from monitor.events import Event, GroupEvent, IncidentEvent, decode_message, encode_event, event_headers
from tests.e2e.site import DaemonProcess

PARTITIONS = 3
CONFIG = """\
[kafka]
bootstrap_servers = "{bootstrap}"

[topics]
readings = "{name}.readings"
scores = "{name}.scores"
anomalies = "{name}.anomalies"
deadletter = "{name}.deadletter"
commands = "{name}.commands"
state = "{name}.state"

[delivery]
group = "{name}"
instance_id = "{instance}"
session_timeout_s = 6
guarantee = "{guarantee}"

[notify]
order_wait_s = 0.2
telemetry_port = 0
{settings}
"""


class NotifySite:
    """Topics named after it, and processes."""

    def __init__(self, bootstrap: str, name: str, folder: Path, exactly_once: bool, create: bool = True) -> None:
        self.bootstrap, self.name, self.folder, self.exactly_once = bootstrap, name, folder, exactly_once
        self._processes: list[DaemonProcess] = []
        self._producer: KafkaProducer | None = None
        self.settings = ""
        if create:
            self.create_topics()

    def create_topics(self) -> None:
        """As `tocsin topics` does."""
        create_topics(load(self.write_config()), PARTITIONS)

    def write_config(self, instance: str = "one") -> Path:
        """The configuration, with `settings` behind `[notify]`."""
        file = self.folder / f"{instance}.toml"
        guarantee = "exactly-once" if self.exactly_once else "at-least-once"
        file.write_text(
            CONFIG.format(
                bootstrap=self.bootstrap,
                name=self.name,
                instance=instance,
                guarantee=guarantee,
                settings=self.settings,
            )
        )
        return file

    def run(self, instance: str = "one") -> DaemonProcess:
        """Start the process and return when it has the events, or stands by."""
        log = self.folder / f"notify-{len(self._processes)}.log"
        process = DaemonProcess(self.write_config(instance), log, dict(os.environ), "notify")
        self._processes.append(process)
        return process

    def send(self, *events: Event) -> None:
        """Publish events as the daemon does, and return when they are there."""
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        for event in events:
            asset = event.origin.asset if isinstance(event, GroupEvent) else event.asset
            self.send_raw(encode_event(event), asset, event_headers(event))
        self._producer.flush()

    def send_raw(self, value: bytes, asset: str, headers: list[tuple[str, bytes]]) -> None:
        """Publish bytes."""
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        partition = partition_of(asset, PARTITIONS)
        self._producer.send(f"{self.name}.anomalies", value, asset.encode(), headers, partition).get(timeout=30)

    def published(self) -> list[Event]:
        """Every event on the anomalies topic."""
        return [decode_message(headers, value) for _, value, headers in self._records(f"{self.name}.anomalies")]

    def groups(self) -> list[GroupEvent]:
        """Group events that were published."""
        return [event for event in self.published() if isinstance(event, GroupEvent)]

    def incidents(self) -> list[IncidentEvent]:
        """Incident events that were published."""
        return [event for event in self.published() if isinstance(event, IncidentEvent)]

    def state(self) -> dict[bytes, bytes]:
        """The last value of each key of the state topic's first partition."""
        last = {key: value for key, value, _ in self._records(f"{self.name}.state", [0])}
        return {key: value for key, value in last.items() if value is not None}

    def _records(self, topic: str, partitions: list[int] | None = None) -> list[tuple[bytes, bytes, list]]:
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=None, isolation_level="read_committed",
            auto_offset_reset="earliest",
        )  # fmt: skip
        where = [TopicPartition(topic, p) for p in partitions or range(PARTITIONS)]
        consumer.assign(where)
        ends = consumer.end_offsets(where)
        found = []
        while any(consumer.position(each) < ends[each] for each in where):
            for records in consumer.poll(timeout_ms=100).values():
                found += [(record.key, record.value, record.headers) for record in records]
        consumer.close()
        return found

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.kill()
        if self._producer is not None:
            self._producer.close()


@contextmanager
def notify_site(*arguments, **settings) -> Iterator[NotifySite]:
    """An installation that leaves no process behind."""
    made = NotifySite(*arguments, **settings)
    try:
        yield made
    finally:
        made.close()
