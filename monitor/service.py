"""`tocsin run`: the daemon as a process, with its log, telemetry, models, transport and signals."""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from monitor import __version__
from monitor.assembly import assemble, load_models
from monitor.cluster import max_message_bytes, remove_member, topics_now
from monitor.config import Config
from monitor.daemon import Daemon
from monitor.errors import FatalError, RetriableError, TocsinError
from monitor.following import Following
from monitor.process import rest, settle
from monitor.scoring import Floats, Model
from monitor.telemetry import Metrics, TelemetryServer, configure_logging
from monitor.topics import lacking
from monitor.transport import Transport, clients
from monitor.transport.commands import KafkaCommandLog
from monitor.transport.member import instance_of
from monitor.waiting import Waiting

CONNECT_EVERY_S = 2.0  # while there is no broker yet
_ENVELOPE_BYTES = 1024  # of a message around its value
LEAVE_WITHIN_S = 9.0  # after a signal; a broker that is away is not waited for any longer


def serve(config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT; the batch in hand is finished, delivered and committed first."""
    log = configure_logging(config.telemetry.log_level)
    metrics = Metrics()
    models = {name: timed(model, metrics.inference_s) for name, model in load_models(config).items()}
    clients.require(config)
    settle()
    standing = Standing()
    with stopping(log) as stop, telemetry(config, metrics.registry, standing) as address:
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
        connected = connect(config, log, stop, standing)
        if connected is None:
            return
        (transport, deadletter_limit, scores_limit), assembly = connected, assemble(config, models)
        following = Following(config, assembly, log, metrics, partial(timed, histogram=metrics.inference_s))
        commands = KafkaCommandLog(config, log)
        daemon = Daemon(
            config, assembly, transport, log, metrics,
            deadletter_limit=deadletter_limit, scores_limit=scores_limit,
            rest=rest, follow=following.between_steps, stop=stop, commands=commands,
        )  # fmt: skip
        standing.healthy, standing.ready = daemon.missing_for_health, daemon.missing_for_readiness
        with following, commands:
            daemon.run()
        if config.delivery.leave_on_stop:
            leave(config, log)


class Standing:
    """What telemetry answers: whether the process is healthy and ready, as texts of what is missing."""

    def __init__(self) -> None:
        self.healthy: Callable[[], str] = lambda: ""
        self.ready: Callable[[], str] = lambda: "waiting for the broker"


def timed(model: Model, histogram: Histogram) -> Model:
    """The same model, each of its calls observed in a histogram of seconds."""

    def score(windows: Floats, outputs: tuple[str, ...]) -> Sequence[Floats]:
        with histogram.time():
            return model.score(windows, outputs)

    return dataclasses.replace(model, score=score)


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


def connect(config: Config, log: Any, stop: threading.Event, standing: Standing) -> tuple[Transport, int, int] | None:
    """Connect, waiting for the broker and the topics as long as it takes; None where a signal came first.

    With the transport come the largest dead letter and the largest message of scores that the topics take.
    """
    told = ""

    def tell(error: RetriableError, wait_s: float) -> None:
        nonlocal told
        if str(error) != told:
            told = str(error)
            log.warning("waiting_for_topics" if isinstance(error, TopicsMissing) else "retrying", detail=told)

    def attempt() -> tuple[Transport, int, int]:
        missing = lacking(config.topics, topics_now(config, timeout_s=3.0))
        if missing:
            raise TopicsMissing(missing)
        found = limits(config)
        return clients.connect(config), *found

    waiting = Waiting(stop, tell, most_s=CONNECT_EVERY_S)
    standing.ready = lambda: f"waiting for the broker: {waiting.reason}".removesuffix(": ")
    return waiting(attempt)


def leave(config: Config, log: Any) -> None:
    """Take this member out of its group, so that others have its partitions before its session ends."""
    instance = instance_of(config)
    try:
        remove_member(config, instance, timeout_s=3.0)
    except TocsinError as error:
        log.warning("left", instance=instance, detail=f"others take over when its session ends: {error}")
    else:
        log.info("left", instance=instance)


def limits(config: Config) -> tuple[int, int]:
    """Largest dead letter and largest message of scores: what their topics take, else what is configured."""
    topics, scores = config.topics, config.delivery.scores_message_bytes
    try:
        found = [max_message_bytes(config, name, timeout_s=3.0) for name in (topics.deadletter, topics.scores)]
    except FatalError:  # this user may not ask
        found = [None, None]
    return found[0] or config.input.max_message_bytes, min(scores, (found[1] or 2 * scores) - _ENVELOPE_BYTES)


@contextlib.contextmanager
def telemetry(config: Config, registry: CollectorRegistry, standing: Standing) -> Iterator[str | None]:
    """Answer /metrics, /healthz and /readyz while the process runs; gives the address."""
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
            f"telemetry cannot listen on {settings.host}:{settings.port}: {error.strerror}; set telemetry.port"
        ) from None
    try:
        yield server.address
    finally:
        server.close()
