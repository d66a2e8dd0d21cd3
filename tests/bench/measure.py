"""What every measured process does: read its job, count readings, take its own CPU and wall time, tell the result.

Only the standard library is used, so that the peers' virtual environment can import this too.
"""

import json
import os
import resource
import sys
import time
from typing import Any, NoReturn


def read_job() -> dict[str, Any]:
    """The first line of standard input, as JSON."""
    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    return job


def tell(document: dict[str, Any]) -> None:
    """One JSON line on standard output."""
    print(json.dumps(document), flush=True)


def finish(document: dict[str, Any]) -> NoReturn:
    """Tell the result and end at once: what a client does while it closes is not measured, so it need not be done."""
    tell(document)
    sys.stderr.flush()
    os._exit(0)


def cpu_s() -> float:
    """CPU seconds of this process, user and system, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Counts readings: the clocks start once `warm` are done and stop once `measured` more are.

    Batches are not cut, so both marks lie at the end of a batch, and what is between them is counted exactly.
    """

    def __init__(self, warm: int, measured: int) -> None:
        self._warm, self._measured = warm, measured
        self._done = 0
        self._start: tuple[int, float, float] | None = None
        self.result: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        """Whether the warm-up is over and the result is not there yet."""
        return self._start is not None and self.result is None

    def add(self, readings: int) -> bool:
        """Count some readings; True once the result is there."""
        self._done += readings
        if self._start is None:
            if self._done >= self._warm:
                self._start = self._done, cpu_s(), time.perf_counter()
            return False
        if self.result is None and self._done - self._start[0] >= self._measured:
            count, cpu, wall = (
                self._done - self._start[0],
                cpu_s() - self._start[1],
                time.perf_counter() - self._start[2],
            )
            self.result = {"readings": count, "cpu_s": cpu, "wall_s": wall}
        return self.result is not None


class Every:
    """A meter for code that counts one reading at a time, told every so often so that counting costs little."""

    def __init__(self, meter: Meter, step: int = 500) -> None:
        self._meter, self._step, self._count = meter, step, 0

    def one(self) -> bool:
        """Count one reading; True once the result is there."""
        self._count += 1
        if self._count < self._step:
            return False
        self._count = 0
        return self._meter.add(self._step)
