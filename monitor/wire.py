"""Scores on `tocsin.scores`: Arrow record batches, both ways; readers decode with what the daemon encodes with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCORES_TYPE = "application/vnd.apache.arrow.stream"

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
