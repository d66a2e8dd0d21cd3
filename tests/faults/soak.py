"""Eight hours of a large plant, as fast as they can be read: nothing grows."""

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monitor.encode import encode_arrow
from tests.e2e.site import until
from tests.faults.feeder import readings
from tests.faults.inputs import MIB, memory
from tests.faults.runner import fault
from tests.faults.stage import PARTITIONS, Stage

ASSETS = 1000
SECONDS_AT_ONCE = 60
SAMPLE_S = 0.1
GROWTH_LIMIT = 1.05  # of memory, after the first tenth


class Sample(NamedTuple):
    """What a process holds: bytes of memory, open files, connections, when so much of the work was done."""

    share: float
    resident: float
    files: float
    connections: float


class Sampler:
    """A thread that looks at a process until it is stopped."""

    def __init__(self, process: int, share: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self._process, self._share = process, share
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            with contextlib.suppress(FileNotFoundError):  # a file was closed while it was looked at
                files = [os.readlink(each) for each in Path(f"/proc/{self._process}/fd").iterdir()]
                connections = sum(each.startswith("socket:") for each in files)
                resident = memory(self._process, "VmRSS")
                self.samples.append(Sample(self._share(), resident, len(files), connections))

    def stop(self) -> list[Sample]:
        """All that was seen."""
        self._stop.set()
        self._thread.join()
        return self.samples


@fault(
    alone=False,
    quick={"minutes": 20, "parts": 3},  # of seconds: a tenth of them has too few samples
    long={"minutes": 480, "parts": 9},
    feed=None,
    max_message_bytes=MIB,
    idle_limit_s=600,
    delivery=f"max_batch_bytes = {4 * MIB}",
)
def soak(stage: Stage, minutes: int, parts: int) -> None:
    """1,000 assets at 1 Hz for hours of event time: memory is flat, open files and connections do not grow."""
    sent, total = feed(stage, minutes), sum(stage.ends().values())
    began, daemon = time.monotonic(), stage.run()
    sampler = Sampler(daemon.process.pid, lambda: sum(stage.committed().values()) / total)
    until(lambda: stage.committed() == stage.ends(), "the end is reached", daemon, within_s=60 + sent / 20_000)
    took, medians = time.monotonic() - began, by_part(sampler.stop(), parts)
    first, last = medians[0], medians[-1]
    most = max(each.resident for each in medians)
    growth = most / first.resident
    stage.demand(growth <= GROWTH_LIMIT, f"memory grew by {growth - 1:.1%}, at most {GROWTH_LIMIT - 1:.0%}")
    stage.demand(last.files <= first.files, f"open files grew from {first.files} to {last.files}")
    stage.demand(last.connections <= first.connections, f"connections from {first.connections} to {last.connections}")
    stage.note(f"{sent:,} readings in {took:.0f} s; medians of {parts} equal parts after the first tenth, in MiB:")
    stage.note(", ".join(f"{each.resident / MIB:.0f}" for each in medians))
    stage.note(f"{last.files:g} open files and {last.connections:g} connections at last, as at first")


def feed(stage: Stage, minutes: int) -> int:
    """Send readings of so many minutes of event time; their number."""
    random, sent = np.random.default_rng(7), 0
    for first in range(0, 60 * minutes, SECONDS_AT_ONCE):
        part = readings(first, SECONDS_AT_ONCE, ASSETS, random, loud_s=10, cycle_s=1000, silent_s=0)
        sent += len(part)
        for message in encode_arrow(part, PARTITIONS, 40_000):
            assert message.partition is not None
            stage.feeder.send(message.partition, message.key, message.value, message.headers)
    stage.feeder.stop()
    return sent


def by_part(samples: list[Sample], parts: int) -> list[Sample]:
    """The medians of equal parts of the work but its first tenth, where there are samples of them."""
    edges = np.linspace(0.1, 1.0, parts + 1)
    groups = [[each for each in samples if low <= each.share < high] for low, high in pairwise(edges)]
    return [Sample(*(statistics.median(values) for values in zip(*each, strict=True))) for each in groups if each]
