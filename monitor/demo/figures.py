"""The demo's figures, read back from the topics by a `read_committed` consumer."""

import threading
import time
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaTopicPartition
from msgspec import Struct

from monitor.cluster import reader_settings
from monitor.config import Config
from monitor.events import IncidentEvent, decode_message, to_ns
from monitor.recording import Recording, labelled_intervals
from monitor.wire import decode_scores

Windows = dict[tuple[str, int], float]  # (asset, window end) -> a time in s


class Figures(Struct, frozen=True):
    """What the demo prints as its last line.

    A labelled anomaly is detected when an incident of its asset overlaps it in event time; a false alarm is an
    incident that overlaps none. The latency is from the append of the reading that closes a window to its score
    being read.
    """

    readings: int
    windows: int
    incidents: int
    labelled_anomalies: int
    detected: int
    false_alarms: int
    latency_p99_ms: float
    dead_letters: int
    exit: int


class Arrivals:
    """Reads `tocsin.scores` live, in a thread, and notes when each message could be read."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="arrivals", daemon=True)
        self.windows: Windows = {}

    def __enter__(self) -> Self:
        self._consumer = _consumer(self._config, fetch_max_wait_ms=20)
        _assign(self._consumer, self._config.topics.scores)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._consumer.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            batches = self._consumer.poll(timeout_ms=0)
            if not batches:
                self._stop.wait(0.01)  # the embedded broker does not wait, so the reader does
            now = time.time()
            for records in batches.values():
                for record in records:
                    table = decode_scores(record.value)
                    ends = table["window_end"].cast("int64").to_pylist()
                    for key in zip(table["asset"].to_pylist(), ends, strict=True):
                        self.windows.setdefault(key, now)

    def await_scores(self, until_ns: int, timeout_s: float) -> None:
        """Wait until the newest score is within ten minutes of event time of the newest reading."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self._stop.wait(0.1):
            if self.windows and max(end for _, end in list(self.windows)) >= until_ns - 600 * 10**9:
                return


def figures(config: Config, recording: Recording, until_ns: int, arrivals: Arrivals, exit_code: int) -> Figures:
    """Figures over the event time that was replayed, up to `until_ns`."""
    topics = config.topics
    appended, readings = _closing_appends(config)
    scored: set[tuple[str, int]] = set()
    for record in read_topic(config, topics.scores):
        table = decode_scores(record.value)
        scored |= set(zip(table["asset"].to_pylist(), table["window_end"].cast("int64").to_pylist(), strict=True))
    told = [decode_message(record.headers, record.value) for record in read_topic(config, topics.anomalies)]
    events = [event for event in told if isinstance(event, IncidentEvent)]
    labelled = [each for each in labelled_intervals(recording) if each[1] <= until_ns]
    incidents = _spans(events, until_ns)
    detected = sum(any(_overlap(span, anomaly) for span in incidents) for anomaly in labelled)
    false_alarms = sum(not any(_overlap(span, anomaly) for anomaly in labelled) for span in incidents)
    latency = _latencies(appended, arrivals.windows)
    return Figures(
        readings=readings,
        windows=len(scored),
        incidents=len(incidents),
        labelled_anomalies=len(labelled),
        detected=detected,
        false_alarms=false_alarms,
        latency_p99_ms=round(float(np.percentile(latency, 99)) * 1000, 1) if len(latency) else 0.0,
        dead_letters=len(read_topic(config, topics.deadletter)),
        exit=exit_code,
    )


def _spans(events: list[IncidentEvent], until_ns: int) -> list[tuple[str, int, int]]:
    """(asset, start, end) of every incident; one that is still open lasts until the end of the replay."""
    told = [event for event in events if event.of_incident]
    last = {event.incident_id: event for event in sorted(told, key=lambda event: event.seq)}
    return [(e.asset, to_ns(e.start), to_ns(e.end) if e.end else until_ns) for e in last.values()]


def _overlap(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _closing_appends(config: Config) -> tuple[dict[str, tuple[Any, Any]], int]:
    """For each asset its event times, rising, and when each was appended (s); and the number of readings."""
    by_asset: dict[str, list[tuple[int, float]]] = {}
    records = read_topic(config, config.topics.readings)
    for record in records:
        reading = msgspec.json.decode(record.value, type=_Reading)
        by_asset.setdefault(reading.asset, []).append((_ns(reading.ts), record.timestamp / 1000))
    columns = {}
    for asset, pairs in by_asset.items():
        pairs.sort()
        ts, appended = zip(*pairs, strict=True)
        columns[asset] = np.array(ts), np.array(appended)
    return columns, len(records)


class _Reading(Struct):
    asset: str
    ts: str


def _ns(text: str) -> int:
    return int(np.datetime64(text.rstrip("Z"), "ns").astype(np.int64))


def _latencies(appended: dict[str, tuple[Any, Any]], arrived: Windows) -> list[float]:
    """Seconds from the append of the first reading at or past a window's end to its score being read."""
    found = []
    for (asset, end), read_at in arrived.items():
        ts, at = appended[asset]
        place = int(np.searchsorted(ts, end))
        if place < len(ts):
            found.append(max(read_at - at[place], 0.0))
    return found


def read_topic(config: Config, topic: str) -> list[Any]:
    """All records of a topic, as a `read_committed` reader sees them."""
    consumer = _consumer(config)
    try:
        parts = _assign(consumer, topic)
        ends = consumer.end_offsets(parts)
        records: list[Any] = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for batch in consumer.poll(timeout_ms=500).values():
                records += batch
        return records
    finally:
        consumer.close()


def _consumer(config: Config, **settings: Any) -> Any:
    return KafkaConsumer(**reader_settings(config.kafka, **settings))


def _assign(consumer: Any, topic: str) -> list[Any]:
    parts = [KafkaTopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    return parts
