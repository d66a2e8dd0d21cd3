"""What leaves the daemon: scores (Arrow), incident events (CloudEvents), alarm state; both ways.

Readers (dashboard, tests, backtest) decode with the same functions that the daemon encodes with.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

SCORES_TYPE = "application/vnd.apache.arrow.stream"
EVENTS_TYPE = "application/json"
EVENT_TYPE = "tocsin.incident.{}.v1"

_SCORE_FIELDS = [
    pa.field("asset", pa.string()),
    pa.field("window_end", pa.timestamp("ns", tz="UTC")),
    pa.field("score", pa.float32()),
    pa.field("p_value", pa.float32()),
    pa.field("limit", pa.float32()),
    pa.field("channel_scores", pa.list_(pa.float32())),
    pa.field("detector", pa.string()),
    pa.field("model_version", pa.string()),
]
SCORES_SCHEMA = pa.schema(_SCORE_FIELDS)
SCORES_SCHEMA_WITH_EXPECTED = pa.schema(
    [*_SCORE_FIELDS, pa.field("seen", pa.list_(pa.float32())), pa.field("expected", pa.list_(pa.float32()))]
)


@dataclass(slots=True)
class Scores:
    """Scored windows of one detector on one partition, in the order (asset, window_end) of their closing.

    assets: (B,) names; window_end: (B,) int64 ns; score, p_value, limit: (B,) float32; channel_score: (B, C);
    seen and expected: (B, C), each channel's mean over the window's last `stride` buckets, or None.
    """

    detector: str
    model_version: str
    assets: Sequence[str]
    window_end: NDArray[np.int64]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    limit: NDArray[np.float32]
    channel_score: NDArray[np.float32]
    seen: NDArray[np.float32] | None = None
    expected: NDArray[np.float32] | None = None


def _lists(matrix: NDArray[np.float32]) -> pa.Array:
    rows, columns = matrix.shape
    offsets = np.arange(0, rows * columns + 1, max(columns, 1), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(matrix).ravel()))


def scores_batch(scores: Scores) -> pa.RecordBatch:
    """One Arrow record batch of B rows in the schema of `tocsin.scores`."""
    rows = len(scores.assets)
    columns = [
        pa.array(scores.assets, pa.string()),
        pa.array(scores.window_end).cast(pa.timestamp("ns", tz="UTC")),
        pa.array(scores.score),
        pa.array(scores.p_value),
        pa.array(scores.limit),
        _lists(scores.channel_score),
        pa.repeat(scores.detector, rows),
        pa.repeat(scores.model_version, rows),
    ]
    if scores.seen is None or scores.expected is None:
        return pa.RecordBatch.from_arrays(columns, schema=SCORES_SCHEMA)
    columns += [_lists(scores.seen), _lists(scores.expected)]
    return pa.RecordBatch.from_arrays(columns, schema=SCORES_SCHEMA_WITH_EXPECTED)


def encode_scores(scores: Scores, max_bytes: int = 512 * 1024) -> list[bytes]:
    """Arrow IPC streams of one batch each, halved until each is at most `max_bytes`."""
    return _encode_within(scores_batch(scores), max_bytes)


def _encode_within(batch: pa.RecordBatch, max_bytes: int) -> list[bytes]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    message = sink.getvalue().to_pybytes()
    if len(message) <= max_bytes or batch.num_rows <= 1:
        return [message]
    half = batch.num_rows // 2
    return _encode_within(batch.slice(0, half), max_bytes) + _encode_within(batch.slice(half), max_bytes)


def decode_scores(message: bytes) -> pa.Table:
    """Read a message of `tocsin.scores` back: a table with the columns of the schema."""
    return pa.ipc.open_stream(message).read_all()


# ------------------------------------------------------------------------------------------------- incidents


class Contribution(Struct, frozen=True):
    """One channel's part in an incident: share of the score, and its seen and expected mean at the peak."""

    channel: str
    share: float
    seen: float | None = None
    expected: float | None = None
    unit: str = ""


class IncidentEvent(Struct, frozen=True):
    """Body of a message on `tocsin.anomalies`: one transition of one incident; all times are event time, UTC.

    `start` is when the first window over the limit began to differ, `end` the last one's end; `detected` is
    the window end at which the transition was decided; `peak` is the highest score so far, at `peak_time`; `reason`
    is "accepted" where a person accepted the incident as normal.
    """

    incident_id: str
    seq: int
    transition: str
    state: str
    previous_state: str
    asset: str
    detector: str
    model_version: str
    topic: str
    partition: int
    start: datetime
    end: datetime | None
    detected: datetime
    score: float
    limit: float
    p_value: float
    peak: float
    peak_time: datetime
    peak_p_value: float
    channels: tuple[Contribution, ...]
    labels: dict[str, str] = {}
    weight: float = 1.0
    runbook: str = ""
    reason: str = ""

    @property
    def event_id(self) -> str:
        """The CloudEvents id: the same event has the same id however often it is sent."""
        return f"{self.incident_id}-{self.seq}"


def incident_id(topic: str, partition: int, asset: str, detector: str, start_ns: int) -> str:
    """Stable id of an incident: 128 bits of a hash over where, what and when it began."""
    identity = msgspec.json.encode([topic, partition, asset, detector, start_ns])
    return hashlib.sha256(identity).hexdigest()[:32]


def event_headers(event: IncidentEvent) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes in binary content mode for Kafka (Kafka Protocol Binding, section 3.2)."""
    attributes = {
        "content-type": EVENTS_TYPE,
        "ce_specversion": "1.0",
        "ce_id": event.event_id,
        "ce_source": f"/tocsin/{event.topic}/{event.partition}/{event.detector}",
        "ce_type": EVENT_TYPE.format(event.transition),
        "ce_subject": event.asset,
        "ce_time": event.detected.isoformat().replace("+00:00", "Z"),
    }
    return [(name, value.encode()) for name, value in attributes.items()]


def encode_event(event: IncidentEvent) -> bytes:
    """JSON body of an incident event."""
    return msgspec.json.encode(event)


_event_decoder = msgspec.json.Decoder(IncidentEvent)


def decode_event(body: bytes) -> IncidentEvent:
    """Read an incident event back; raises msgspec.DecodeError where it is none."""
    return _event_decoder.decode(body)


def to_datetime(event_time_ns: int) -> datetime:
    """Event time in ns as a datetime in UTC, to the microsecond."""
    return datetime.fromtimestamp(event_time_ns // 1_000_000_000, UTC).replace(
        microsecond=event_time_ns % 1_000_000_000 // 1000
    )


def to_ns(moment: datetime) -> int:
    """Inverse of `to_datetime`."""
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def headers_dict(headers: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Record headers by name; of repeated ones the last."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
