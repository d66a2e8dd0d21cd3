"""Starts measured processes, hands each its job, and reads what they tell; none outlives the driver."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monitor.broker import die_with_parent

ROOT = Path(__file__).resolve().parents[2]


class ChildError(Exception):
    """A measured process failed; the text holds the end of what it said."""


class Child:
    """A process that was given a job as one JSON line; a context manager that ends it."""

    def __init__(self, module: str, job: dict[str, Any], python: str = sys.executable) -> None:
        self._module = module
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the driver alone, which then ends its children
            preexec_fn=die_with_parent,
        )
        self._rest = b""
        self.say(job)

    def say(self, document: dict[str, Any]) -> None:
        """Send one more JSON line."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that has ended is told by `hear`
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """The next JSON line that the child tells; ChildError where it ends or is silent."""
        deadline = time.monotonic() + timeout_s
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise ChildError(f"{self._module} was silent for {timeout_s:.0f} s\n{self._said()}")
                data = os.read(output.fileno(), 1 << 20)
                if not data:
                    raise ChildError(f"{self._module} ended without a result\n{self._said()}")
                self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        if not line.startswith(b"{"):
            return self.hear(deadline - time.monotonic())  # a library's own words
        told: dict[str, Any] = json.loads(line)
        return told

    def signal(self, number: int) -> None:
        """Send a signal to the child."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> None:
        """Wait until the child has ended by itself, for at most so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def _said(self) -> str:
        self._errors.seek(0)
        return "\n".join(self._errors.read().decode(errors="replace").splitlines()[-25:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # a peer may have started processes of its own
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def run(module: str, job: dict[str, Any], python: str = sys.executable, timeout_s: float = 600.0) -> dict[str, Any]:
    """One process from its job to its result."""
    with Child(module, job, python) as child:
        return child.hear(timeout_s)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Have SIGTERM end the driver as Ctrl-C does, so that the broker and the children go with it."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
