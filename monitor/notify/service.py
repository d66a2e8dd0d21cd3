"""`tocsin notify` as a process: its own member of a group of its own, with log, telemetry, endpoints and signals."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from msgspec.structs import replace

from monitor import __version__
from monitor.cluster import partition_counts
from monitor.config import Config, secret
from monitor.errors import FatalError, InvalidConfiguration
from monitor.notify.courier import Courier
from monitor.notify.http import Refused, Undelivered
from monitor.notify.loop import Loop
from monitor.notify.rehearsal import rehearse
from monitor.notify.sending import send_again, sender
from monitor.notify.settings import Endpoint, revealed
from monitor.notify.telemetry import Metrics
from monitor.running import Standing, TopicsMissing, connected, stopping, telemetry
from monitor.telemetry import configure_logging
from monitor.transport import Transport
from monitor.transport.kafka import KafkaTransport
from monitor.transport.kafka_whole import WHOLE

MAX_POLL = 500
MAX_WAIT_S = 0.2
TRANSACTION_S = 10.0  # one that a crash leaves open keeps the daemon from reading its state for so long


def notify(config: Config) -> None:
    """Run until SIGTERM or SIGINT."""
    log, metrics = configure_logging(config.telemetry.log_level), Metrics()
    endpoints = opened(config)
    own, standing = own_config(config), Standing()
    make = {endpoint.name: partial(_courier, config, log, metrics) for endpoint in endpoints}
    for endpoint in endpoints:
        sender(endpoint, "")  # what is wrong with one is told now, not with the first alarm
    with stopping(log) as stop, telemetry(own, metrics.registry, standing, "notify.telemetry_port") as address:
        log.info(
            "started", version=__version__, endpoints=[f"{each.name} ({each.kind})" for each in endpoints],
            group=own.delivery.group, telemetry=address,
        )  # fmt: skip
        transport = connect(own, log, stop, standing)
        if transport is None:
            return
        loop = Loop(own, endpoints, transport, lambda each: make[each.name](each), log, metrics, stop)
        standing.healthy, standing.ready = loop.missing_for_health, loop.missing_for_readiness
        loop.run()


def opened(config: Config) -> tuple[Endpoint, ...]:
    """The endpoints with their secrets. Raises InvalidConfiguration."""
    return tuple(revealed(endpoint, secret) for endpoint in config.notify.endpoints)


def rehearsed(config: Config, name: str) -> Iterator[str]:
    """Send a test to an endpoint; what was taken of it. Raises TocsinError where something is not."""
    found = [endpoint for endpoint in config.notify.endpoints if endpoint.name == name]
    if not found:
        known = ", ".join(endpoint.name for endpoint in config.notify.endpoints) or "none"
        raise InvalidConfiguration(f"notify.endpoints: there is no '{name}'; there are: {known}")
    try:
        for item in rehearse(revealed(found[0], secret), config.notify.dashboard_url):
            yield item.kind
    except (Refused, Undelivered) as error:
        raise FatalError(f"{name} did not take it: {error}") from None


def own_config(config: Config) -> Config:
    """What this process is to the broker: a member of a group of its own, whose input is the anomalies topic."""
    settings, delivery = config.notify, config.delivery
    return replace(
        config,
        topics=replace(config.topics, readings=config.topics.anomalies),
        delivery=replace(
            delivery,
            client="kafka-python",
            group=settings.group or f"{delivery.group}-notify",
            instance_id=settings.instance_id or delivery.instance_id,
            assignor=WHOLE,  # which is no setting: one member has all
            max_poll_records=MAX_POLL,
            max_wait_s=MAX_WAIT_S,
            snapshots=None,
            transaction_timeout_s=min(delivery.transaction_timeout_s, TRANSACTION_S),
        ),
        telemetry=replace(config.telemetry, port=settings.telemetry_port),
    )


def _courier(config: Config, log: Any, metrics: Metrics, endpoint: Endpoint) -> Courier:
    link = config.notify.dashboard_url
    again = partial(send_again, endpoint, link) if endpoint.kind == "alertmanager" else None
    return Courier(endpoint, sender(endpoint, link), again, log, metrics)


def connect(config: Config, log: Any, stop: threading.Event, standing: Standing) -> Transport | None:
    """Connect, waiting for the broker and the two topics as long as it takes; None where a signal came first."""

    def attempt() -> Transport:
        counts = partition_counts(config, timeout_s=3.0)
        missing = [name for name in (config.topics.anomalies, config.topics.state) if not counts.get(name)]
        if missing:
            raise TopicsMissing(f"create them with `tocsin topics`: {', '.join(missing)}")
        return KafkaTransport(config)

    return connected(attempt, log, stop, standing)
