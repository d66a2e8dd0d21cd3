"""Eight hours of a large plant, as fast as they can be read: nothing grows."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor.encode import encode_arrow
from tests.e2e.site import until
from tests.faults.feeder import readings
from tests.faults.inputs import MIB, memory
from tests.faults.runner import fault
from tests.faults.stage import PARTITIONS, Stage

ASSETS = 1000
SECONDS_AT_ONCE = 60
GROWTH_LIMIT = 1.05  # of memory, after the first tenth
WAITING = 200  # messages a partition: more than a batch, and little to keep


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds: bytes of memory, open files, connections, when so much of the work was done."""

    share: float
    resident: int
    files: int
    connections: int


class Sampler:
    """A thread that looks at a process until it is stopped."""

    def __init__(self, process: int, share: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self._process, self._share = process, share
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            files = [os.readlink(each) for each in Path(f"/proc/{self._process}/fd").iterdir() if each.is_symlink()]
            connections = sum(each.startswith("socket:") for each in files)
            resident = memory(self._process, "VmRSS")
            self.samples.append(Sample(self._share(), resident, len(files), connections))

    def stop(self) -> list[Sample]:
        """All that was seen."""
        self._stop.set()
        self._thread.join()
        return self.samples


def waiting(stage: Stage) -> int:
    """Messages that are not committed yet."""
    return sum(stage.ends().values()) - sum(stage.committed().values())


@fault(quick={"minutes": 90}, long={"minutes": 480}, feed=None, max_message_bytes=MIB, idle_limit_s=600)
def soak(stage: Stage, minutes: int) -> None:
    """1,000 assets at 1 Hz for hours of event time: memory is flat, open files and connections do not grow."""
    random, sent = np.random.default_rng(7), 0
    daemon = stage.run()
    daemon.await_events("assigned", PARTITIONS)
    done = 0.0

    def share() -> float:
        return done

    began, sampler = time.monotonic(), Sampler(daemon.process.pid, share)
    for first in range(0, 60 * minutes, SECONDS_AT_ONCE):
        part = readings(first, SECONDS_AT_ONCE, ASSETS, random, loud_s=10, cycle_s=1000)
        sent += len(part)
        for message in encode_arrow(part, PARTITIONS, 40_000):
            assert message.partition is not None
            stage.feeder.send(message.partition, message.key, message.value, message.headers)
        done = first / (60 * minutes)
        until(lambda: waiting(stage) < WAITING * PARTITIONS, "the daemon keeps up", daemon, within_s=120)
    stage.feeder.stop()
    until(lambda: stage.committed() == stage.ends(), "the end is reached", daemon, within_s=120)
    import pickle

    pickle.dump(sampler.samples, open("/tmp/samples.pkl", "wb"))
    samples = [each for each in sampler.stop() if each.share >= 0.1]
    first_one, resident = samples[0], max(each.resident for each in samples)
    growth = resident / first_one.resident
    stage.demand(growth <= GROWTH_LIMIT, f"memory grew by {growth - 1:.1%}, at most {GROWTH_LIMIT - 1:.0%}")
    for what in ("files", "connections"):
        begun, most = getattr(first_one, what), max(getattr(each, what) for each in samples)
        stage.demand(most <= begun + 2, f"{what} grew from {begun} to {most}")
    stage.note(
        f"{sent:,} readings in {time.monotonic() - began:.0f} s; after the first tenth {first_one.resident / MIB:.0f} "
        f"MiB, {first_one.files} files, {first_one.connections} connections; at most {resident / MIB:.0f} MiB, "
        f"{max(each.files for each in samples)}, {max(each.connections for each in samples)}"
    )
