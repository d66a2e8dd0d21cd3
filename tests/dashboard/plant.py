"""A small plant for the dashboard's tests: scores and incident events as the daemon encodes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from onnx import TensorProto, helper

from monitor.commands import Command, encode_command
from monitor.events import (
    Contribution,
    Event,
    GroupEvent,
    IncidentEvent,
    SensorEvent,
    Verdict,
    encode_event,
    event_headers,
    identity,
    incident_id,
    to_datetime,
)
from monitor.modelfile import (
    METADATA_KEY,
    MODEL_FILE,
    SCHEMA,
    Calibration,
    Channel,
    ModelMetadata,
    Tail,
    Training,
    encode_metadata,
    set_current,
)
from monitor.topics import Topics
from monitor.wire import Scores, encode_scores
from tests.kafka_cluster import unique

START_NS = 1_767_225_600_000_000_000
STEP_NS = 8_000_000_000
LIMIT = 0.6
UNITS = ("mm/s", "bar", "°C", "A")


def channel_names(count: int) -> list[str]:
    """Names as a plant would give them."""
    kinds = ("vibration", "pressure", "temperature", "current")
    return [f"{kinds[c % 4]} {c // 4 + 1}" for c in range(count)]


def scores(
    asset: str, first: int, count: int, channels: int = 8, peak: float = 0.0, expected: bool = True, seed: int = 0
) -> Scores:
    """Windows `first` to `first + count` of an asset; with a `peak` the score ends that many times over its limit."""
    k = np.arange(first, first + count)
    noise = np.random.default_rng([seed, first, len(asset)])
    score = LIMIT * np.exp(noise.normal(-1.6, 0.35, count))
    rise = np.minimum(np.arange(count) / 6, 1.0) if peak else np.zeros(count)
    score = np.where(rise > 0, np.maximum(score, LIMIT * peak * rise * noise.uniform(0.8, 1.0, count)), score)
    phase = np.arange(channels) * 0.7 + seed
    model = 2 + np.arange(channels) + np.sin(k[:, None] / 40 + phase) + 0.4 * np.sin(k[:, None] / 7 + 2 * phase)
    seen = model + noise.normal(0, 0.08, (count, channels))
    seen[:, 0] += 1.8 * rise
    seen[:, 1 % channels] -= 0.9 * rise
    share = np.abs(seen - model) + 1e-3
    parts = score[:, None] * share / share.sum(axis=1, keepdims=True)
    return Scores(
        detector="pumps",
        model_version="7",
        assets=[asset] * count,
        window_end=START_NS + k * STEP_NS,
        score=score.astype(np.float32),
        p_value=np.clip(np.exp(-6 * score / LIMIT), 1e-30, 1).astype(np.float32),
        limit=np.full(count, LIMIT, np.float32),
        channel_score=parts.astype(np.float32),
        seen=seen.astype(np.float32) if expected else None,
        expected=model.astype(np.float32) if expected else None,
    )


def incident(
    asset: str, start: int, end: int | None = None, seq: int = 1, peak: float = 4.0, names: Sequence[str] = ()
) -> IncidentEvent:
    """An incident event from window `start`; with an `end` it is the one that clears it."""
    names = names or channel_names(8)
    share = 0.52 * 0.48 ** np.arange(len(names))
    decided = start + 1 if end is None else end
    return IncidentEvent(
        incident_id=incident_id("tocsin.readings", 0, asset, "pumps", START_NS + start * STEP_NS),
        seq=seq,
        transition="raised" if end is None else "cleared",
        state="unacknowledged" if end is None else "normal",
        previous_state="normal" if end is None else "unacknowledged",
        asset=asset,
        detector="pumps",
        model_version="7",
        topic="tocsin.readings",
        partition=0,
        start=moment(start),
        end=None if end is None else moment(end),
        detected=moment(decided),
        score=LIMIT * peak,
        limit=LIMIT,
        p_value=1e-7,
        peak=LIMIT * peak,
        peak_time=moment(start + 1),
        peak_p_value=10.0 ** (-2 * peak),
        channels=tuple(
            Contribution(n, float(s), 4.81 - i, 2.94 - i, UNITS[i % 4])
            for i, (n, s) in enumerate(zip(names, share, strict=False))
        ),
    )


def sensor_fault(asset: str, channel: str, verdict: Verdict, window: int, seq: int = 1) -> SensorEvent:
    """A sensor event at a window; its previous verdict was that all is well."""
    return SensorEvent(
        sensor_id=identity(asset, channel),
        seq=seq,
        asset=asset,
        detector="pumps",
        channel=channel,
        verdict=verdict,
        previous="ok",
        since=moment(window - 5),
        detected=moment(window),
        topic="tocsin.readings",
        partition=0,
    )


def write_model(folder: Path, channels: int = 8) -> Path:
    """A model directory whose file names the channels; the graph is of no use, since a dashboard never runs it."""
    metadata = ModelMetadata(
        schema=SCHEMA,
        name="pumps",
        version="7",
        family="dense",
        channels=tuple(Channel(n, UNITS[i % 4]) for i, n in enumerate(channel_names(channels))),
        window=64,
        stride=8,
        period_ms=1000,
        min_observed=0.5,
        calibration=Calibration(100, 20.0, ((0.0, 0.1), (0.98, 0.5)), Tail(0.5, 0.02, 0.1, 0.05)),
        training=Training(1000, ("pump-1",), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "0" * 64),
        metrics={},
        created="2026-01-03T00:00:00Z",
    )
    value = helper.make_tensor_value_info("window", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["window"], ["score"])], "pumps", [value], [value])
    model = helper.make_model(graph)
    helper.set_model_props(model, {METADATA_KEY: encode_metadata(metadata)})
    file = folder / "pumps" / "7" / MODEL_FILE
    file.parent.mkdir(parents=True)
    onnx.save(model, file)
    set_current(folder / "pumps", "7")
    return folder / "pumps"


def moment(window: int) -> datetime:
    """End of a window."""
    return to_datetime(START_NS + window * STEP_NS)


def own_topics() -> Topics:
    """Topics that no other test uses."""
    return Topics(scores=unique("scores"), anomalies=unique("anomalies"), commands=unique("commands"))


@dataclass(slots=True)
class Publisher:
    """Writes to the score and anomaly topics of one test, and makes them on the first use."""

    bootstrap: str
    topics: Topics
    partitions: int = 2
    _producer: KafkaProducer | None = field(default=None)

    def create_topics(self) -> None:
        """Make the three topics that a dashboard reads."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        wanted = [NewTopic(t, self.partitions, 1) for t in (self.topics.scores, self.topics.anomalies)]
        wanted.append(NewTopic(self.topics.commands, 1, 1))
        admin.create_topics(wanted)
        admin.close()

    @property
    def producer(self) -> KafkaProducer:
        """The producer, made when it is first needed."""
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        return self._producer

    def send_scores(self, *batches: Scores) -> None:
        """Publish scores, each asset on a partition of its own choice, and wait until they are there."""
        for batch in batches:
            partition = sum(batch.assets[0].encode()) % self.partitions
            for message in encode_scores(batch):
                self.producer.send(self.topics.scores, message, partition=partition)
        self.producer.flush()

    def send_event(self, event: Event) -> None:
        """Publish an event and wait until it is there."""
        key = (event.origin.asset if isinstance(event, GroupEvent) else event.asset).encode()
        self.producer.send(self.topics.anomalies, encode_event(event), key=key, headers=event_headers(event))
        self.producer.flush()

    def send_command(self, command: Command) -> None:
        """Publish a command and wait until it is there."""
        self.producer.send(self.topics.commands, encode_command(command), key=command.asset.encode())
        self.producer.flush()

    def send_broken(self) -> None:
        """Publish what is neither scores nor an event."""
        self.producer.send(self.topics.scores, b"no table at all", partition=0)
        self.producer.send(self.topics.anomalies, b"{}", partition=0)
        self.producer.flush()

    def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            self._producer.close()
