"""The same job by Bytewax, written as its documentation writes such a job.

The Kafka connector's input, a keyed stream, a stateful operator that keeps the last 64 readings of an asset, windows
scored by ONNX Runtime in `flat_map_batch`, which the documentation has for this, scores to the connector's output.
`item` keeps readings by `stateful_flat_map`, one at a time; `batch` by `stateful_batch`, a batch at a time. Recovery
is off, as by default, so that a restart loses the windows.
"""

import collections
import struct
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
import numpy as np
import onnxruntime
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main

from tests.bench.measure import Meter, finish, read_job

WINDOW, STRIDE = 64, 8
ROW = struct.Struct("8f")  # a reading's values, so that a window is made of them without a loop over its numbers
Kept = tuple[int, collections.deque[bytes]]


def keep_one(kept: Kept | None, values: bytes) -> tuple[Kept, Iterable[Any]]:
    """The state after one more reading, and the window that is full with it, if any."""
    count, rows = kept or (0, collections.deque(maxlen=WINDOW))
    rows.append(values)
    full = len(rows) == WINDOW and (count + 1) % STRIDE == 0
    return (count + 1, rows), [b"".join(rows)] if full else []


class Window(StatefulBatchLogic[Any, Any, Any]):
    """The last readings of one asset."""

    def __init__(self, resumed: Kept | None) -> None:
        self._kept = resumed

    def on_batch(self, values: list[bytes]) -> tuple[Iterable[Any], bool]:
        windows: list[Any] = []
        for each in values:
            self._kept, full = keep_one(self._kept, each)
            windows += full
        return windows, StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        assert self._kept is not None
        return self._kept[0], self._kept[1].copy()


def main() -> None:
    job = read_job()
    meter = Meter(job["warm"], job["measured"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    windows = 0

    def decode(batch: list[Any]) -> list[tuple[str, bytes]]:
        if meter.add(len(batch)):
            assert meter.result is not None
            finish({**meter.result, "windows": windows})
        readings = [orjson.loads(message.value) for message in batch]
        return [(reading["asset"], ROW.pack(*reading["values"].values())) for reading in readings]

    def score(batch: list[tuple[str, Any]]) -> list[KafkaSinkMessage[bytes, bytes]]:
        nonlocal windows
        windows += len(batch) if meter.running else 0
        arrays = np.frombuffer(b"".join(window for _, window in batch), np.float32).reshape(len(batch), WINDOW, -1)
        total, channels = session.run(["score", "channel_score"], {"window": arrays})
        return [
            KafkaSinkMessage(asset.encode(), orjson.dumps({"score": float(whole), "channel_score": each.tolist()}))
            for (asset, _), whole, each in zip(batch, total, channels, strict=True)
        ]

    flow = Dataflow("bench")
    brokers = [job["bootstrap"]]
    messages = kop.input("readings", flow, brokers=brokers, topics=[job["topic"]])
    keyed = op.flat_map_batch("decode", messages.oks, decode)
    full = (
        op.stateful_flat_map("window", keyed, keep_one)
        if job["variant"] == "item"
        else op.stateful_batch("window", keyed, Window)
    )
    kop.output("scores", op.flat_map_batch("score", full, score), brokers=brokers, topic=job["output"])
    run_main(flow)


if __name__ == "__main__":
    main()
