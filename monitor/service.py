"""`tocsin run`: the daemon as a process, with its log, telemetry, models, transport and signals."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from prometheus_client import Histogram

from monitor import __version__
from monitor.admin import max_message_bytes, partition_counts
from monitor.assembly import assemble, load_models
from monitor.config import Config
from monitor.daemon import RETRY_FIRST_S, RETRY_MOST_S, Daemon
from monitor.errors import FatalError, RetriableError
from monitor.following import Following
from monitor.process import rest, settle
from monitor.scoring import Floats, Model
from monitor.telemetry import Metrics, TelemetryServer, configure_logging
from monitor.transport import Transport, clients

LEAVE_WITHIN_S = 9.0  # after a signal; a broker that is away is not waited for any longer


def serve(config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT; the batch in hand is finished, delivered and committed first."""
    log = configure_logging(config.telemetry.log_level)
    metrics = Metrics()
    models = {name: timed(model, metrics.inference_s) for name, model in load_models(config).items()}
    settle()
    with stopping(log) as stopped:
        transport = connect(config, log, stopped)
        if transport is None:
            return
        most, assembly = limit(config), assemble(config, models)
        following = Following(config, assembly, log, metrics, partial(timed, histogram=metrics.inference_s))
        daemon = Daemon(
            config, assembly, transport, log, metrics,
            deadletter_limit=most, rest=rest, follow=following.between_steps,
        )  # fmt: skip
        stopped.tell(daemon.stop)
        with telemetry(config, daemon) as address, following:
            log.info(
                "started",
                version=__version__,
                detectors=[detector.name for detector in config.detectors],
                models={name: f"{m.metadata.name}/{m.metadata.version}" for name, m in models.items()},
                provider=sorted({model.provider for model in models.values()}),
                client=clients.client_version(config),
                telemetry=address,
            )
            if clients.checksums_are_slow(config):
                log.warning("slow_checksums", detail="pip install crc32c")
            daemon.run()


def timed(model: Model, histogram: Histogram) -> Model:
    """The same model, each of its calls observed in a histogram of seconds."""

    def score(windows: Floats, outputs: tuple[str, ...]) -> Sequence[Floats]:
        with histogram.time():
            return model.score(windows, outputs)

    return dataclasses.replace(model, score=score)


class Stopped:
    """Whether a signal has come, and whom to tell of it."""

    def __init__(self) -> None:
        self.came = False
        self._tell: list[Callable[[], object]] = []

    def tell(self, call: Callable[[], object]) -> None:
        """Call this when a signal comes, or at once where it has."""
        self._tell.append(call)
        if self.came:
            call()

    def __call__(self) -> None:
        self.came = True
        for call in self._tell:
            call()


@contextlib.contextmanager
def stopping(log: Any, timeout_s: float = LEAVE_WITHIN_S) -> Iterator[Stopped]:
    """SIGTERM and SIGINT ask for an orderly end, which takes at most `timeout_s`; a second one ends at once."""
    stopped = Stopped()

    def give_up() -> None:
        log.error("stopped", detail="the broker did not answer in time; what was not committed is done again")
        os._exit(1)

    last_resort = threading.Timer(timeout_s, give_up)
    last_resort.daemon = True

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.came:
            raise KeyboardInterrupt
        stopped()
        last_resort.start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        last_resort.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def connect(config: Config, log: Any, stopped: Stopped) -> Transport | None:
    """Connect, waiting for the broker and the topics as long as it takes; None where a signal came first."""
    wait, told = RETRY_FIRST_S, ""
    while not stopped.came:
        try:
            missing = missing_topics(config)
            if not missing:
                return clients.connect(config)
            event, detail = "waiting_for_topics", f"create them with `tocsin topics`: {', '.join(missing)}"
        except RetriableError as error:
            event, detail = "retrying", str(error)
        if detail != told:
            log.warning(event, detail=detail)
            told = detail
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and not stopped.came:
            time.sleep(0.1)
        wait = min(2 * wait, RETRY_MOST_S / 5)
    return None


def missing_topics(config: Config) -> list[str]:
    """Topics that the daemon reads or writes and the broker does not have."""
    found = partition_counts(config, timeout_s=3.0)
    topics = config.topics
    needed = (topics.readings, topics.scores, topics.anomalies, topics.deadletter, topics.state)
    return [name for name in needed if not found.get(name)]


def limit(config: Config) -> int:
    """Largest dead letter that the broker takes: what its topic is set to, else what the input allows."""
    try:
        return max_message_bytes(config, config.topics.deadletter) or config.input.max_message_bytes
    except (RetriableError, FatalError):
        return config.input.max_message_bytes


@contextlib.contextmanager
def telemetry(config: Config, daemon: Daemon) -> Iterator[str | None]:
    """Answer /metrics, /healthz and /readyz while the daemon runs; gives the address."""
    settings = config.telemetry
    if settings.port < 0:
        yield None
        return
    try:
        server = TelemetryServer(
            settings.host,
            settings.port,
            daemon.metrics.registry,
            daemon.missing_for_health,
            daemon.missing_for_readiness,
        )
    except OSError as error:
        raise FatalError(
            f"telemetry cannot listen on {settings.host}:{settings.port}: {error.strerror}; set telemetry.port"
        ) from None
    try:
        yield server.address
    finally:
        server.close()
