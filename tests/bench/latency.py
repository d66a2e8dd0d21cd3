"""From the append of the reading that closes a window to a `read_committed` consumer having that window's incident.

The daemon is `tocsin run` in a process of its own with its default delivery settings; a producer and a consumer are
processes too. Event time runs faster than the clock: 100 assets at 1 Hz, as many seconds of them as make the load.
"""

import signal
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from monitor.broker import free_port
from tests.bench.children import Child, ChildError
from tests.bench.fill import create
from tests.bench.workload import PARTITIONS, Log, configuration, say
from tests.kafka_cluster import unique

SHARES = (
    0.9,
    0.8,
    0.7,
    0.6,
    0.5,
)  # of what the daemon takes from a full topic, tried as a live load; the last is not
TRIED_S, KEPT_UP_MS = (3.0, 7.0), 1000.0
SETTLE_S = 3.0  # after the last reading, for the last incidents
READY_S = 60.0


def capacity(bootstrap: str, model: Path, from_full_topic: float) -> float:
    """The highest of some live loads, in readings a second, that the daemon keeps up with beside producer and broker.

    That is less than it takes from a topic that was filled before, since these work on the same machine now.
    """
    for share in SHARES[:-1]:
        rate = share * from_full_topic
        if measure(bootstrap, model, rate, *TRIED_S)["p99_ms"] < KEPT_UP_MS:
            return rate
    return SHARES[-1] * from_full_topic


def measure(bootstrap: str, model: Path, rate: float, warm_s: float, measured_s: float) -> dict[str, Any]:
    """p50 and p99 in ms at a load of `rate` readings a second."""
    log = Log(unique("readings"), PARTITIONS, "json", 0)
    create(bootstrap, log.topic, PARTITIONS)
    port = free_port()
    changes = {"input": {"allowed_lateness_s": 0.0}, "telemetry": {"port": port}}
    config = configuration(bootstrap, model, log, "kafka-python", **changes)
    events = config["topics"]["anomalies"]
    with ExitStack() as stack:
        daemon = stack.enter_context(Child("tests.bench.tocsin_run", {"mode": "serve", "config": config}))
        daemon.hear(60)
        _await_ready(port)
        reader = stack.enter_context(
            Child("tests.bench.latency_reader", {"bootstrap": bootstrap, "topic": events, "partitions": PARTITIONS})
        )
        reader.hear(60)
        job = {"bootstrap": bootstrap, "topic": log.topic, "partitions": PARTITIONS, "rate": rate}
        feed = stack.enter_context(
            Child("tests.bench.latency_feed", {**job, "warm_s": warm_s, "measured_s": measured_s})
        )
        fed = feed.hear(warm_s + 2 * measured_s + 60)
        reader.say({"settle_s": SETTLE_S})
        arrived = {(asset, end): at for asset, end, at in reader.hear(60)["arrived"]}
        daemon.signal(signal.SIGTERM)
        daemon.wait(10)
    appended = {(asset, end): at for asset, end, at in fed["appended"]}
    waits = np.array([1000 * arrived[key] - appended[key] for key in arrived.keys() & appended.keys()])
    if not len(waits):
        raise RuntimeError(f"no incident came at {rate:,.0f} readings a second")
    p50, p99 = np.percentile(waits, [50, 99])
    told = {"rate": rate, "fed": fed["per_s"], "events": len(waits), "p50_ms": float(p50), "p99_ms": float(p99)}
    say(
        f"{rate:>9,.0f} readings a second ({fed['per_s']:,.0f} fed): p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"{len(waits):,} incident events"
    )
    return told


def _await_ready(port: int) -> None:
    """Wait until the daemon says that it owns partitions."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:  # not listening yet, or it answers that it is not ready
            time.sleep(0.1)
    raise ChildError(f"the daemon was not ready within {READY_S:.0f} s")
