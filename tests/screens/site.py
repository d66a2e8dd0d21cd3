"""A dashboard over the demo plant: broker, models with a report, a daemon's telemetry, and the server itself."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitor.broker import EmbeddedBroker, free_port
from monitor.telemetry import Metrics, TelemetryServer
from monitor.topics import Topics
from tests.browser.conftest import ROOT, await_answer
from tests.dashboard.plant import Publisher, channel_names
from tests.screens.plant import DemoPlant, fill, standing_in

CONFIG = """
[kafka]
bootstrap_servers = "{broker}"

[dashboard]
daemons = ["{daemon}", "http://127.0.0.1:{away}"]

[[detectors]]
name = "pumps"
model = "models/pumps"
assets = ["*"]

[[assets]]
match = "p*"
labels = {{ site = "north" }}

[[assets]]
match = "*"
labels = {{ plant = "demo" }}
"""


@dataclass(slots=True)
class Site:
    """Where the dashboard answers, and the plant behind it."""

    url: str
    plant: DemoPlant


@contextmanager
def running_site(folder: Path, port: int = 0) -> Iterator[Site]:
    """Everything, until the end of the block."""
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker(data_dir=folder / "broker"))
        plant = DemoPlant(Publisher(broker.bootstrap, Topics()))
        stack.callback(plant.publisher.close)
        plant.create_topics()
        fill(plant)
        make_models(folder)
        daemon = telemetry()
        stack.callback(daemon.close)
        config = folder / "tocsin.toml"
        config.write_text(CONFIG.format(broker=broker.bootstrap, daemon=daemon.address, away=free_port()))
        port = port or free_port()
        command = [sys.executable, "-m", "dashboard.cli", "--config", str(config), "--port", str(port)]
        log = stack.enter_context((folder / "dashboard.log").open("wb"))
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        await_answer(f"http://127.0.0.1:{port}/_stcore/health", process)
        stack.enter_context(standing_in(plant))
        yield Site(f"http://127.0.0.1:{port}", plant)


def make_models(folder: Path) -> None:
    """Two versions of a real model, each with the report of its training."""
    data = folder / "history.parquet"
    rows = 6000
    k = np.arange(rows)
    noise = np.random.default_rng(1)
    names = channel_names(8)
    values = {
        name: 2 + c + np.sin(k / 40 + 0.7 * c) + 0.4 * np.sin(k / 7 + 1.4 * c) + noise.normal(0, 0.08, rows)
        for c, name in enumerate(names)
    }
    ts = pa.array(1_767_225_600_000 + k * 1000).cast(pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table({"ts": ts, **values}), data)
    command = [sys.executable, "-m", "training.cli", "fit", str(data), "--name", "pumps", "--family", "dense"]
    command += ["--window", "32", "--stride", "8", "--epochs", "6", "--asset", "pump-01"]
    (folder / "models" / "pumps" / "5").mkdir(parents=True)  # earlier versions are gone: the next ones are 6 and 7
    for seed in ("1", "2"):
        wanted = [*command, "--out", str(folder / "models"), "--seed", seed]
        subprocess.run(wanted, cwd=ROOT, check=True, capture_output=True)


def telemetry() -> TelemetryServer:
    """What a daemon says of itself, with figures as a small plant has them."""
    metrics = Metrics()
    metrics.readings.inc(184_220)
    metrics.windows.inc(23_030)
    metrics.late.inc(12)
    metrics.assets.set(33)
    metrics.assigned.set(2)
    for partition, lag in (("0", 3), ("1", 0)):
        metrics.lag.labels(partition).set(lag)
        metrics.lag_s.labels(partition).set(0.04)
    for reason, count in (("not_json", 2), ("bad_value", 1)):
        metrics.dead.labels(reason).inc(count)
    metrics.drifting.labels("pumps", "inputs").set(2)
    for n in range(400):
        metrics.batch_s.observe(0.006 + 0.0001 * (n % 90))
        metrics.end_to_end_s.observe(0.03 + 0.0008 * (n % 90))
    return TelemetryServer("127.0.0.1", 0, metrics.registry, lambda: "", lambda: "")
