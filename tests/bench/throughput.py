"""Readings a CPU-second of the whole daemon, from the fetch to the committed position.

    python -m tests.bench.throughput [--readings 400000] [--runs 3] [--broker ADDRESS]

JSON readings of 8 channels and about 174 bytes, 100 assets at 1 Hz, on 4 partitions; window 64, stride 8, a dense
autoencoder (512-128-16-128-512) that is trained for the occasion. The CPU time is that of this process alone, all
its threads, user and system; the broker's is not in it. Without --broker Apache Kafka is started from KAFKA_HOME.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from monitor.admin import create_topics
from monitor.assembly import assemble, load_models
from monitor.config import Config, parse
from monitor.daemon import Daemon
from monitor.datafiles import write_recording
from monitor.encode import encode_json
from monitor.plant import Plant
from monitor.recording import Recording
from monitor.replay import replay_producer
from monitor.service import collect_rarely
from monitor.simulate import generate
from monitor.telemetry import configure_logging
from monitor.transport.kafka import KafkaTransport
from tests.kafka_cluster import KafkaCluster, unique

ASSETS, PARTITIONS, WINDOW, STRIDE = 100, 4, 64, 8


def recordings(plant: Plant) -> Iterator[Recording]:
    """Simulated readings with short channel names and five decimals, so that a JSON message has about 174 bytes."""
    for chunk in generate(plant):
        values = np.round(chunk.readings.values, 5)
        yield replace(chunk.readings, channels=[f"s{c}" for c in range(8)], values=values)


def train(folder: Path) -> Path:
    """A dense model of the simulated plant; a few epochs are enough, since only its size costs time."""
    data = folder / "normal.parquet"
    write_recording(data, recordings(Plant(assets=4, duration_s=7200, faults=())))
    sizes = ["--window", str(WINDOW), "--stride", str(STRIDE), "--epochs", "2"]
    command = [sys.executable, "-m", "training.cli", "fit", str(data), "--name", "pump", "--out", str(folder), *sizes]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "pump"


def configuration(bootstrap: str, model: Path, client: dict[str, object]) -> Config:
    name = unique("bench")
    topics = {
        each: f"{name}.{each}" for each in ("readings", "scores", "anomalies", "deadletter", "commands", "state")
    }
    detector = {"name": "pump", "model": str(model.absolute()), "assets": ["pump-*"]}
    return parse(
        {
            "kafka": {"bootstrap_servers": bootstrap, **client},
            "topics": topics,
            "delivery": {"group": name, "assignor": "range", "max_poll_records": 20_000},
            "telemetry": {"log_level": "warning"},
            "detectors": [detector],
        }
    )


def fill(config: Config, readings: int) -> float:
    """Put the readings into the input topic; returns the mean size of a message in bytes."""
    create_topics(config, PARTITIONS)
    producer = replay_producer(config)
    plant = Plant(assets=ASSETS, duration_s=readings / ASSETS)
    for recording in recordings(plant):  # without headers: the configuration says that they are JSON
        for message in encode_json(recording):
            producer.send(config.topics.readings, message.value, message.key)
    producer.flush()
    producer.close()
    sample = next(recordings(plant)).take(slice(0, ASSETS))
    return statistics.mean(len(message.value) for message in encode_json(sample))


def measure(config: Config, readings: int) -> dict[str, float]:
    """Run the daemon over the filled topic in this process; CPU seconds from its first poll to its last commit."""
    log = configure_logging("warning")
    transport = KafkaTransport(config)
    daemon = Daemon(config, assemble(config, load_models(config)), transport, log)
    collect_rarely()
    done = windows = 0
    before = resource.getrusage(resource.RUSAGE_SELF)
    while done < readings:
        output = daemon.turn()
        done += output.counts.readings
        windows += output.counts.windows
    after = resource.getrusage(resource.RUSAGE_SELF)
    transport.close()
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"readings": done, "windows": windows, "cpu_s": cpu, "per_cpu_s": done / cpu}


@contextlib.contextmanager
def broker(address: str | None):
    if address:
        yield address
        return
    home = Path(os.environ.get("KAFKA_HOME", "../shared/kafka"))
    with tempfile.TemporaryDirectory() as folder, KafkaCluster(home, Path(folder)) as cluster:
        yield cluster.bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--broker", help="bootstrap address; default: Apache Kafka from KAFKA_HOME")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, broker(arguments.broker) as bootstrap:
        model = train(Path(folder))
        results, size = [], 0.0
        for _ in range(arguments.runs):
            config = configuration(bootstrap, model, {})
            size = fill(config, arguments.readings)
            # a process of its own for each run, so that one does not warm up the next
            command = [sys.executable, "-m", "tests.bench.throughput", "--measure"]
            told = subprocess.run(
                command,
                input=msgspec.json.encode([msgspec.to_builtins(config), arguments.readings]),
                stdout=subprocess.PIPE,
                check=True,
            )
            results.append(json.loads(told.stdout))
            print(f"{results[-1]['per_cpu_s']:>10,.0f} readings a CPU-second", file=sys.stderr)
    median = statistics.median(result["per_cpu_s"] for result in results)
    print(json.dumps({"readings_per_cpu_s": round(median), "message_bytes": round(size), "runs": results}))


def child() -> None:
    """One measured run, told on standard input."""
    document, readings = json.loads(sys.stdin.buffer.read())
    print(json.dumps(measure(parse(document), readings)))


if __name__ == "__main__":
    child() if "--measure" in sys.argv else main()
