"""`tocsin run`: the daemon as a process, with its log, telemetry, models, transport and signals."""

import dataclasses
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from prometheus_client import Histogram

from monitor import __version__
from monitor.assembly import assemble, load_models
from monitor.cluster import max_message_bytes, remove_member, topics_now
from monitor.config import Config
from monitor.daemon import Daemon
from monitor.errors import FatalError, TocsinError
from monitor.following import Following
from monitor.process import rest, settle
from monitor.running import Standing, TopicsMissing, connected, stopping, telemetry
from monitor.scoring import Floats, Model
from monitor.telemetry import Metrics, configure_logging
from monitor.topics import lacking
from monitor.transport import Transport, clients
from monitor.transport.commands import KafkaCommandLog
from monitor.transport.member import instance_of

_ENVELOPE_BYTES = 1024  # of a message around its value


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


def timed(model: Model, histogram: Histogram) -> Model:
    """The same model, each of its calls observed in a histogram of seconds."""

    def score(windows: Floats, outputs: tuple[str, ...]) -> Sequence[Floats]:
        with histogram.time():
            return model.score(windows, outputs)

    return dataclasses.replace(model, score=score)


def connect(config: Config, log: Any, stop: threading.Event, standing: Standing) -> tuple[Transport, int, int] | None:
    """Connect, waiting for the broker and the topics as long as it takes; None where a signal came first.

    With the transport come the largest dead letter and the largest message of scores that the topics take.
    """

    def attempt() -> tuple[Transport, int, int]:
        missing = lacking(config.topics, topics_now(config, timeout_s=3.0))
        if missing:
            raise TopicsMissing(missing)
        found = limits(config)
        return clients.connect(config), *found

    return connected(attempt, log, stop, standing)


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
