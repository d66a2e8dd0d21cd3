"""An installation on a broker: its topics, its configuration, the daemon as a process, and what is on the topics."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from monitor.admin import create_topics
from monitor.commands import Command, encode_command
from monitor.config import Config, load
from monitor.datafiles import write_recording
from monitor.encode import encode, partition_of
from monitor.events import IncidentEvent, decode_event, decode_message
from monitor.recording import Recording
from monitor.replay import replay, replay_producer
from monitor.wire import decode_scores
from tests.models import metadata, write_model

PARTITIONS = 3
T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
CHANNELS = ["a", "b"]
Windows = dict[tuple[str, int], float]

CONFIG = """\
[kafka]
bootstrap_servers = "{bootstrap}"
client_id = "{name}.{instance_id}"
metadata_max_age_ms = {metadata_max_age_ms}

[topics]
readings = "{name}.readings"
scores = "{name}.scores"
anomalies = "{name}.anomalies"
deadletter = "{name}.deadletter"
commands = "{name}.commands"
state = "{name}.state"

[input]
idle_limit_s = {idle_limit_s}
max_message_bytes = {max_message_bytes}
revision_bound_s = {revision_bound_s}

[delivery]
group = "{name}"
instance_id = "{instance_id}"
assignor = "{assignor}"
session_timeout_s = {session_timeout_s}
max_poll_records = {max_poll_records}
guarantee = "{guarantee}"
client = "{client}"
{delivery}
leave_on_stop = {leave_on_stop}

[scoring]
follow_s = {follow_s}
slowest_ms = {slowest_ms}

[telemetry]
port = 0

[[detectors]]
name = "pumps"
model = "{model}"
assets = ["pump-*"]
alarm_budget_per_day = 4000
on_delay_s = 4
off_delay_s = 8
"""


def readings(seconds: int = 300, pumps: int = 5, first_s: int = 0, seed: int = 7) -> Recording:
    """A reading a second of each pump; bursts over the limit, missing values, and a pump that stops half-way."""
    random = np.random.default_rng(seed)
    second, pump = np.divmod(np.arange(seconds * pumps), pumps)
    values = random.uniform(0, 0.3, (seconds * pumps, 2)).astype(np.float32)
    loud = (second + 37 * pump) % 120 > 100
    values[loud] += random.uniform(1, 3, (int(loud.sum()), 2)).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    recording = Recording(
        [f"pump-{number}" for number in range(pumps)],
        pump.astype(np.int32),
        (T0 + first_s + second).astype(np.int64) * 1_000_000_000,
        CHANNELS,
        values,
    )
    stops_halfway = (pump == pumps - 1) & (second > seconds // 2)
    return recording.take(~stops_halfway)


class DaemonProcess:
    """`tocsin run`, or another command that runs for long, as a process of its own, with its log."""

    def __init__(self, config: Path, log: Path, environment: dict[str, str], name: str = "run") -> None:
        self._log = log
        command = [sys.executable, "-m", "monitor.cli", name, "--config", str(config)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | environment
            )

    @property
    def text(self) -> str:
        """What this process wrote."""
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        lines = [json.loads(line) for line in self.text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def await_events(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many log lines of one event."""
        until(lambda: len(self.events(name)) >= count, f"{count} log lines '{name}'", self)
        return self.events(name)

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the telemetry server."""
        address = self.await_events("started")[0]["telemetry"]
        try:
            with urllib.request.urlopen(address + path, timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as reply:
            return reply.code, reply.read().decode()

    def signal(self, number: int) -> tuple[int, float]:
        """Send a signal and wait for the end; exit code, and seconds until then."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        return code, time.monotonic() - begun

    def stop(self) -> None:
        """Ask for an orderly end, and hold it to its promise."""
        code, seconds = self.signal(signal.SIGTERM)
        assert code == 0, self.text
        assert seconds < 10

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()


def metrics(daemon: DaemonProcess) -> dict[str, float]:
    """Every metric that a daemon shows, with its labels."""
    status, page = daemon.ask("/metrics")
    assert status == 200
    return {line.split()[0]: float(line.split()[1]) for line in page.splitlines() if not line.startswith("#")}


def until(condition: Callable[[], bool], what: str, *daemons: DaemonProcess, within_s: float = 45.0) -> None:
    """Wait for a condition while these daemons live; what did not happen comes with their last words."""
    deadline = time.monotonic() + within_s
    while not condition():
        ended = [daemon for daemon in daemons if daemon.process.poll() is not None]
        if ended or time.monotonic() > deadline:
            words = "\n".join(line for daemon in daemons for line in daemon.text.splitlines()[-15:])
            raise AssertionError(f"in vain: {what}{' (the daemon ended)' if ended else ''}\n{words}")
        time.sleep(0.02)


class Site:
    """One installation: topics named after it, one configuration, one model."""

    def __init__(self, bootstrap: str, name: str, folder: Path, assignor: str, create: bool = True, **settings: Any):
        self.bootstrap, self.name, self.folder = bootstrap, name, folder
        self._assignor = assignor
        self.exactly_once = assignor != "range"  # readers of the embedded broker skip what follows an abort
        self._settings = settings
        self._daemons: list[DaemonProcess] = []
        self._collected: dict[str, list[Any]] = {}
        self._consumers: dict[str, KafkaConsumer] = {}
        self._scored: list[list[tuple[tuple[str, int], float]]] = []
        self.model = write_model(folder, metadata(channels=tuple(CHANNELS)))
        self.config_file = self.write_config()
        if create:
            self.create_topics()

    def write_config(self, instance_id: str = "one") -> Path:
        """The configuration of a daemon."""
        file = self.folder / f"{instance_id}.toml"
        defaults = {
            "idle_limit_s": 60, "session_timeout_s": 6, "max_poll_records": 10_000, "client": "kafka-python",
            "max_message_bytes": 100_000, "revision_bound_s": 0, "delivery": "",
            "metadata_max_age_ms": 30_000, "leave_on_stop": "false", "follow_s": 5, "slowest_ms": 10,
            "guarantee": "exactly-once" if self.exactly_once else "at-least-once",
        }  # fmt: skip
        file.write_text(
            CONFIG.format(
                bootstrap=self.bootstrap,
                name=self.name,
                instance_id=instance_id,
                assignor=self._assignor,
                model=self.model,
                **defaults | self._settings,
            )
        )
        return file

    def use(self, **settings: Any) -> None:
        """Change settings of the daemons that are started from now on."""
        self._settings |= settings

    @property
    def config(self) -> Config:
        """The configuration as the daemon reads it."""
        return load(self.config_file)

    def create_topics(self) -> None:
        """As `tocsin topics` does."""
        create_topics(self.config, PARTITIONS)

    # ------------------------------------------------------------------------------------------- processes

    def run(self, instance_id: str = "one", **environment: str) -> DaemonProcess:
        """Start a daemon."""
        config = self.write_config(instance_id)
        daemon = DaemonProcess(config, self.folder / f"daemon-{len(self._daemons)}.log", environment)
        self._daemons.append(daemon)
        return daemon

    def close(self) -> None:
        """End what still runs."""
        for daemon in self._daemons:
            daemon.kill()
        for consumer in self._consumers.values():
            consumer.close()

    # ---------------------------------------------------------------------------------------------- input

    def send(self, recording: Recording, speed: float | None = None) -> None:
        """Replay readings into the input topic."""
        producer = replay_producer(self.config)
        replay(recording, producer, self.config.topics.readings, speed)
        producer.close(timeout=5)

    def send_to(self, partition: int, recording: Recording) -> None:
        """Send readings to one partition, each of its messages acknowledged before the next is sent."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        for key, value, headers in self.encoded(recording):
            producer.send(self.config.topics.readings, value, key, headers, partition).get(timeout=30)
        producer.close()

    def send_raw(self, messages: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]) -> None:
        """Send (key, value, headers), each to the partition of its key, pump by pump as `send` does."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        for key, value, headers in messages:
            partition = partition_of(key.decode("latin-1"), PARTITIONS) if key else 0
            producer.send(self.config.topics.readings, value, key, headers, partition)
        producer.flush()
        producer.close()

    def forget_readings(self) -> None:
        """Delete all readings that are on the input topic, as retention would."""
        topic = self.config.topics.readings
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.delete_records({TopicPartition(topic, partition): -1 for partition in range(PARTITIONS)})

    def add_partitions(self, count: int) -> None:
        """Give the input topic so many partitions, and no other one."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.create_partitions({self.config.topics.readings: count})

    def delete(self, topic: str) -> None:
        """Delete a topic, and return when it is gone."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.delete_topics([topic])
            until(lambda: admin.describe_topics([topic])[0]["error_code"] != 0, "the topic is gone")

    @staticmethod
    def encoded(recording: Recording) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
        """The messages that `send` would send."""
        return [(m.key, m.value, m.headers) for m in encode(recording, "json", PARTITIONS)]

    # --------------------------------------------------------------------------------------------- output

    def records(self, topic: str) -> list[Any]:
        """Everything that a `read_committed` reader has found on a topic so far; what is new comes last."""
        consumer = self._consumers.get(topic)
        if consumer is None:
            consumer = self._consumers[topic] = KafkaConsumer(
                bootstrap_servers=self.bootstrap, group_id=None, isolation_level="read_committed",
                auto_offset_reset="earliest",
            )  # fmt: skip
            partitions = consumer.partitions_for_topic(topic) or set()
            consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        found = self._collected.setdefault(topic, [])
        while batch := consumer.poll(timeout_ms=50):
            found += [record for records in batch.values() for record in records]
        return found

    def scores(self) -> list[tuple[tuple[str, int], float]]:
        """((asset, window end in s after the start), score) of each scored window, as often as it was published."""
        return [(where, score) for where, score, _ in self.versioned_scores()]

    def versioned_scores(self) -> list[tuple[tuple[str, int], float, str]]:
        """The scores with the version of the model that gave them."""
        rows = [
            row
            for record in self.records(self.config.topics.scores)
            for row in decode_scores(record.value).to_pylist()
        ]
        ends = [round(row["window_end"].timestamp()) - T0 for row in rows]
        return [
            ((row["asset"], end), row["score"], row["model_version"]) for row, end in zip(rows, ends, strict=True)
        ]

    def windows(self) -> set[tuple[str, int]]:
        """The windows that were scored."""
        return {where for where, _ in self.scores()}

    def incident_events(self) -> list[IncidentEvent]:
        """Incident events, as often as they were published."""
        told = [decode_message(record.headers, record.value) for record in self.records(self.config.topics.anomalies)]
        return [event for event in told if isinstance(event, IncidentEvent)]

    def post(self, command: Command) -> None:
        """Put a person's command on its topic."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        producer.send(self.config.topics.commands, encode_command(command), command.asset.encode()).get(timeout=30)
        producer.close()

    def committed(self) -> dict[int, tuple[int, str]]:
        """Committed offset and metadata of each partition that has one."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.name, enable_auto_commit=False)
        found = {
            partition: consumer.committed(TopicPartition(self.config.topics.readings, partition), metadata=True)
            for partition in range(PARTITIONS)
        }
        consumer.close()
        return {
            partition: (at.offset, at.metadata)
            for partition, at in found.items()
            if at is not None and at.offset >= 0
        }

    def backtested(self, recording: Recording, upto: float = np.inf) -> tuple[Windows, dict[str, str]]:
        """What `tocsin backtest` makes of the same readings: scores by window, and transitions by event id.

        Windows that end after `upto`, in s after the start, are left out: only the clock closes the last ones.
        """
        file, out = self.folder / "readings.parquet", self.folder / "backtest"
        write_recording(file, [recording])
        told = tocsin(
            "backtest",
            str(file),
            "--config",
            str(self.config_file),
            "--partitions",
            str(PARTITIONS),
            "--out",
            str(out),
        )
        assert told.returncode == 0, told.stderr
        rows = pq.read_table(out / "scores.parquet").to_pylist()
        scores = {(row["asset"], round(row["window_end"].timestamp()) - T0): row["score"] for row in rows}
        events = [decode_event(line) for line in (out / "incidents.jsonl").read_bytes().splitlines()]
        told_by_then = {e.event_id: e.transition for e in events if e.detected.timestamp() - T0 <= upto}
        return {where: score for where, score in scores.items() if where[1] <= upto}, told_by_then


def tocsin(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `tocsin` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "monitor.cli", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"COLUMNS": "200"} | environment,
    )  # fmt: skip


@contextmanager
def site(*arguments: Any, **settings: Any) -> Iterator[Site]:
    """An installation that leaves no process behind."""
    made = Site(*arguments, **settings)
    try:
        yield made
    finally:
        made.close()
