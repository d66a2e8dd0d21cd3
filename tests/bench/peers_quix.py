"""The same job by Quix Streams, written as its documentation writes such a job.

`window` (the documented count window): hopping_count_window(64, 8) with Collect, each full window scored by ONNX
Runtime in `apply`, the score sent by `to_topic`. `state`: the last 64 readings in the documented key-value state, as
bytes, which the documentation names and which is quicker than the default JSON. `memory`: the same in a dictionary of
deques, which a restart loses: not what the documentation advises, but the library without the cost of state. The
first two keep RocksDB with a changelog topic, as by default.
"""

import collections
import struct
import tempfile
from typing import Any

import numpy as np
import onnxruntime
from quixstreams import Application, State
from quixstreams.dataframe.windows.aggregations import Collect

from tests.bench.measure import Every, Meter, finish, read_job

WINDOW, STRIDE = 64, 8
ROW = struct.Struct("8f")


def scorer(path: str) -> Any:
    """A window, 64 rows of 8 numbers, to what is published of it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def score(window: Any) -> dict[str, Any]:
        array = np.asarray(window, np.float32)[np.newaxis]
        total, channels = session.run(["score", "channel_score"], {"window": array})
        return {"score": float(total[0]), "channel_score": channels[0].tolist()}

    return score


def windowed(sdf: Any, score: Any) -> Any:
    """By the library's own windows."""
    sdf = sdf.hopping_count_window(count=WINDOW, step=STRIDE).agg(window=Collect()).final()
    return sdf.apply(lambda row: {"window_end": row["end"], **score(row["window"])})


def stateful(sdf: Any, score: Any) -> Any:
    """By the library's key-value state."""

    def keep(values: list[float], state: State) -> Any:
        kept = state.get_bytes("window", default=b"")
        count = int.from_bytes(kept[:8], "little") + 1
        rows = kept[8:][-(WINDOW - 1) * ROW.size :] + ROW.pack(*values)
        state.set_bytes("window", count.to_bytes(8, "little") + rows)
        if count < WINDOW or count % STRIDE:
            return None
        return score(np.frombuffer(rows, np.float32).reshape(WINDOW, -1))

    return sdf.apply(keep, stateful=True).filter(lambda value: value is not None)


def in_memory(sdf: Any, score: Any) -> Any:
    """By a dictionary of the program's own."""
    windows: dict[Any, Any] = collections.defaultdict(lambda: collections.deque(maxlen=WINDOW))
    counts: collections.Counter[Any] = collections.Counter()

    def keep(values: list[float], key: Any, timestamp: int, headers: Any) -> Any:
        windows[key].append(ROW.pack(*values))
        counts[key] += 1
        full = len(windows[key]) == WINDOW and counts[key] % STRIDE == 0
        return score(np.frombuffer(b"".join(windows[key]), np.float32).reshape(WINDOW, -1)) if full else None

    return sdf.apply(keep, metadata=True).filter(lambda value: value is not None)


def main() -> None:
    job = read_job()
    meter = Meter(job["warm"], job["measured"])
    counter = Every(meter)
    windows = 0

    def values(reading: dict[str, Any]) -> list[float]:
        if counter.one():
            assert meter.result is not None
            finish({**meter.result, "windows": windows})
        return list(reading["values"].values())

    def counted(scored: dict[str, Any]) -> dict[str, Any]:
        nonlocal windows
        windows += meter.running
        return scored

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=job["bootstrap"],
            consumer_group=job["group"],
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="ERROR",
        )
        readings = app.topic(job["topic"], key_deserializer="str", value_deserializer="json")
        scores = app.topic(job["output"], key_serializer="str", value_serializer="json")
        keep = {"window": windowed, "state": stateful, "memory": in_memory}[job["variant"]]
        sdf = keep(app.dataframe(readings).apply(values), scorer(job["model"]))
        sdf.apply(counted).to_topic(scores)
        app.run()


if __name__ == "__main__":
    main()
