"""The embedded broker: the `noida-db` package, which speaks the Kafka protocol, run as a child process.

For demos, tests and first steps on one machine. It keeps its log in memory and saves it as it changes, so a
power cut may lose the last moment; real plants run Apache Kafka.
"""

import contextlib
import ctypes
import importlib.util
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from monitor.errors import FatalError

_READY_LINE = "press Ctrl-C to stop"
_NOISE = "weak version"  # a remark of glibc about the prebuilt binary, which works all the same
_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # length, key, version, correlation, no client id
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: between fork and exec is too late


def answers_kafka(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether something at this address answers the Kafka protocol (ApiVersions, version 0)."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port), timeout_s) as connection,
    ):
        connection.settimeout(timeout_s)
        connection.sendall(_API_VERSIONS_REQUEST)
        reply = connection.recv(8, socket.MSG_WAITALL)
        return len(reply) == 8 and reply[4:] == b"\0\0\0\1"
    return False


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on, from below the range that outgoing connections are numbered from.

    A port of that range could be taken by a client while the broker restarts, or connect to itself.
    """
    ports = random.SystemRandom()
    for _ in range(100):
        port = ports.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            return port
    raise FatalError(f"Cannot listen on {host}: it is no address of this machine, or no port is free.")


def die_with_parent() -> None:
    """For `preexec_fn`: have Linux end this process when the thread that started it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def broker_binary() -> Path:
    """Where the installed `noida-db` package keeps its binary; FatalError where there is none."""
    spec = importlib.util.find_spec("noida_db")
    if spec is None or spec.origin is None:
        raise FatalError("The embedded broker needs the package noida-db: pip install 'tocsin[demo]'.")
    binary = Path(spec.origin).parent / ("noida-db.exe" if os.name == "nt" else "noida-db")
    if not binary.is_file():
        raise FatalError(f"The package noida-db has no binary for this machine ({binary} is missing).")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    return binary


def run_broker(
    host: str = "127.0.0.1",
    port: int = 9092,
    data_dir: str | os.PathLike[str] | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Run a broker in the foreground until SIGINT or SIGTERM; `announce` is told the address once it answers.

    Raises FatalError where it does not start, or ends by itself. Call it from the main thread.
    """
    with (
        EmbeddedBroker(host=host, port=port, data_dir=data_dir) as broker,
        _stops_on_signal(broker) as stopped,
    ):
        announce(broker.bootstrap)
        broker.wait()
        if not stopped:
            raise FatalError(f"The embedded broker ended by itself: {broker.last_words()}")


@contextlib.contextmanager
def _stops_on_signal(broker: "EmbeddedBroker") -> Iterator[list[int]]:
    """Turn SIGINT and SIGTERM into the end of the broker; yields the list of the signals that came."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        broker.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class EmbeddedBroker:
    """A broker in a child process; a context manager, and restartable on the same port and data.

    Port 0 takes any free one, and a restart the same again. Without `data_dir` the data lives in a temporary
    folder and goes with `close`. On Linux the child ends when the thread that started it ends, so that no
    crash leaves a broker behind: start it from a thread that lives as long as the broker should.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        data_dir: str | os.PathLike[str] | None = None,
        start_timeout_s: float = 15.0,
    ) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._temporary = data_dir is None
        self.data_dir = Path(tempfile.mkdtemp(prefix="tocsin-broker-") if data_dir is None else data_dir)
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for `bootstrap_servers`."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while the broker runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> Self:
        """Start the process and return once it answers the Kafka protocol."""
        if self.pid is not None:
            return self
        binary = broker_binary()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            log = (self.data_dir / "broker.log").open("wb")
        except OSError as error:
            raise FatalError(f"The embedded broker cannot write to {self.data_dir}: {error.strerror}.") from None
        with log:
            self._process = subprocess.Popen(
                [binary, "start", "--only", "kafka", "--host", self.host, "--kafka-port", str(self.port),
                 "--data-dir", str(self.data_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for our own process, which ends this one in its turn
                preexec_fn=die_with_parent if _libc is not None else None,
            )  # fmt: skip
        try:
            self._await_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if self.pid is None:
                raise FatalError(f"The embedded broker did not start: {self.last_words()}")
            if _READY_LINE in self._log_lines() and answers_kafka(self.host, self.port):
                return
            time.sleep(0.01)
        raise FatalError(f"The embedded broker did not answer within {self._start_timeout_s:g} s.")

    def _log_lines(self) -> list[str]:
        with contextlib.suppress(OSError):
            text = (self.data_dir / "broker.log").read_text(encoding="utf-8", errors="replace")
            return [line.strip() for line in text.splitlines() if line.strip() and _NOISE not in line]
        return []

    def last_words(self) -> str:
        """What the process said last about an error, or its last line."""
        lines = self._log_lines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or ["it said nothing"])[-1]

    def wait(self) -> None:
        """Block until the process ends."""
        if self._process is not None:
            self._process.wait()

    def terminate(self) -> None:
        """Ask the process to end, without waiting; safe in a signal handler."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the process and keep its data, so that `start` goes on with it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop, and remove the data where it was temporary."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
