"""How long a restart takes to rebuild the open windows of 10,000 assets: `python -m tests.bench.refill`.

All assets are on one partition, and every one has read as many JSON readings as its window holds.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from monitor import snapshot
from monitor.assembly import assemble
from monitor.columns import Messages
from monitor.config import parse
from monitor.partition import PartitionState
from monitor.pipeline import Pipeline
from monitor.snapshot import Origin
from monitor.state import Position
from tests import models
from tests.bench.workload import CHANNELS, STRIDE, WINDOW, messages, recordings

ASSETS, AT_ONCE = 10_000, 50_000
WHERE = ("tocsin.readings", 0)


def values():
    """The messages, in the order of event time."""
    names = tuple(f"s{c}" for c in range(CHANNELS))
    for recording in recordings(ASSETS, WINDOW):
        assert tuple(recording.channels) == names
        yield from (message.value for _, message in messages(recording, "json", 1))


def main() -> None:
    """Refill, and tell how long it took."""
    config = parse({"detectors": [{"name": "d", "model": "none", "assets": ["*"]}]})
    channels = tuple(f"s{c}" for c in range(CHANNELS))
    made = assemble(config, {"d": models.model(channels=channels, window=WINDOW, stride=STRIDE)})
    log = list(values())
    made.pipeline.assign(WHERE, Position(len(log), 0), ())
    spent = np.zeros(2)
    for start in range(0, len(log), AT_ONCE):
        part = log[start : start + AT_ONCE]
        count = len(part)
        offsets = list(range(start, start + count))
        batch = Messages(*WHERE, start + count, offsets, [-1] * count, part, [None] * count, [()] * count)
        began = time.perf_counter()
        columns = made.decoder.decode(batch)
        decoded = time.perf_counter()
        made.pipeline.step({WHERE: (columns, batch.next_offset)})
        spent += decoded - began, time.perf_counter() - decoded
    print(f"{len(log):,} readings: decoded in {spent[0]:.2f} s, placed in {spent[1]:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        snapshot_of(made.pipeline, made.pipeline.partitions[WHERE], Path(folder) / "s")


def snapshot_of(pipeline: Pipeline, partition: PartitionState, file: Path) -> None:
    """Copy, write, read and take over the windows, and tell how long each took."""
    origin, times = Origin(*WHERE[:1], None, WHERE[1], "", {}), [time.perf_counter()]
    windows = partition.export()
    times.append(time.perf_counter())
    snapshot.write(file, origin, windows)
    times.append(time.perf_counter())
    windows = snapshot.read(file, origin)
    times.append(time.perf_counter())
    pipeline.assign(WHERE, Position(windows.offset, 0), (), windows)
    times.append(time.perf_counter())
    copied, written, read, taken = 1000 * np.diff(times)
    print(f"snapshot of {file.stat().st_size / 1e6:.0f} MB: copied in {copied:.0f} ms, written beside the loop in")
    print(f"{written:.0f} ms; after a restart read in {read:.0f} ms, taken over in {taken:.0f} ms")


if __name__ == "__main__":
    main()
