"""What every process of Tocsin has that runs until it is stopped: signals, telemetry, and what it waits for."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from monitor.config import Config
from monitor.errors import FatalError, RetriableError
from monitor.telemetry import TelemetryServer
from monitor.waiting import Waiting

T = TypeVar("T")

CONNECT_EVERY_S = 2.0  # while there is no broker yet
LEAVE_WITHIN_S = 9.0  # after a signal; a broker that is away is not waited for any longer


class Standing:
    """What telemetry answers: whether the process is healthy and ready, as texts of what is missing."""

    def __init__(self) -> None:
        self.healthy: Callable[[], str] = lambda: ""
        self.ready: Callable[[], str] = lambda: "waiting for the broker"


@contextlib.contextmanager
def stopping(log: Any, timeout_s: float = LEAVE_WITHIN_S) -> Iterator[threading.Event]:
    """SIGTERM and SIGINT ask for an orderly end, which takes at most `timeout_s`; a second one ends at once."""
    stop = threading.Event()

    def give_up() -> None:
        log.error("stopped", detail="the broker did not answer in time; what was not committed is done again")
        os._exit(1)

    last_resort = threading.Timer(timeout_s, give_up)
    last_resort.daemon = True

    def come(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        last_resort.start()
        stop.set()

    before = {number: signal.signal(number, come) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        last_resort.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


class TopicsMissing(RetriableError):
    """Topics that the daemon reads or writes are missing or have too few partitions; the text says what to do."""


def connected(attempt: Callable[[], T], log: Any, stop: threading.Event, standing: Standing) -> T | None:
    """Try to connect as long as it takes; None where a signal came first. What is waited for is logged once."""
    told = ""

    def tell(error: RetriableError, wait_s: float) -> None:
        nonlocal told
        if str(error) != told:
            told = str(error)
            log.warning("waiting_for_topics" if isinstance(error, TopicsMissing) else "retrying", detail=told)

    waiting = Waiting(stop, tell, most_s=CONNECT_EVERY_S)
    standing.ready = lambda: f"waiting for the broker: {waiting.reason}".removesuffix(": ")
    return waiting(attempt)


@contextlib.contextmanager
def telemetry(
    config: Config, registry: CollectorRegistry, standing: Standing, setting: str = "telemetry.port"
) -> Iterator[str | None]:
    """Answer /metrics, /healthz and /readyz while the process runs; gives the address. `setting` names the port's."""
    settings = config.telemetry
    if settings.port < 0:
        yield None
        return
    try:
        server = TelemetryServer(
            settings.host,
            settings.port,
            registry,
            lambda: standing.healthy(),
            lambda: standing.ready(),
        )
    except OSError as error:
        raise FatalError(
            f"telemetry cannot listen on {settings.host}:{settings.port}: {error.strerror}; set {setting}"
        ) from None
    try:
        yield server.address
    finally:
        server.close()
