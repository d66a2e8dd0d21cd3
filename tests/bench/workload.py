"""What all contestants work on: the readings, the model, the topics, and the daemon's configuration.

C = 8 channels, window 64, stride 8, 100 assets at 1 Hz; a JSON message has about 171 bytes and no headers, an Arrow
message 1,000 readings. The model is a dense autoencoder (512-128-16-128-512), trained for the occasion.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monitor.datafiles import write_recording
from monitor.encode import Message, encode_arrow, encode_json, partition_of
from monitor.plant import Plant
from monitor.recording import Recording
from monitor.simulate import generate
from tests.bench import children
from tests.kafka_cluster import unique

ASSETS, PARTITIONS, WINDOW, STRIDE, CHANNELS = 100, 4, 64, 8, 8
ARROW_READINGS = 1000  # in a message
BASE_STEPS = 512  # readings of an asset in the block that is repeated
CLIENTS = ("kafka-python", "confluent")
OUTPUTS = ("scores", "anomalies", "deadletter", "commands", "state")


@dataclass(frozen=True, slots=True)
class Log:
    """A filled input topic."""

    topic: str
    partitions: int
    encoding: str
    readings: int


def base_block(assets: int = ASSETS) -> Recording:
    """Simulated readings of healthy pumps, short channel names and five decimals: BASE_STEPS rows of each asset."""
    plant = Plant(assets=min(assets, ASSETS), duration_s=BASE_STEPS, faults=())
    (chunk,) = generate(plant)
    values = np.round(chunk.readings.values, 5)
    return replace(chunk.readings, channels=[f"s{c}" for c in range(CHANNELS)], values=values)


def there_and_back(step: np.ndarray) -> np.ndarray:
    """Which row of the block each step takes: forwards, then backwards, so that values never jump."""
    place = step % (2 * BASE_STEPS)
    return np.where(place < BASE_STEPS, place, 2 * BASE_STEPS - 1 - place)


def recordings(assets: int, steps: int, at_once: int = 262_144) -> Iterator[Recording]:
    """`steps` readings of each asset, one a second, by time, then asset; assets beyond 100 repeat the first 100."""
    base = base_block()
    values = base.values.reshape(BASE_STEPS, ASSETS, CHANNELS)
    names = [f"pump-{number + 1}" for number in range(assets)]
    start, every = int(base.ts[0]), max(1, at_once // assets)
    for first in range(0, steps, every):
        step = np.arange(first, min(first + every, steps))
        asset = np.tile(np.arange(assets, dtype=np.int32), len(step))
        block = values[there_and_back(step)][:, np.arange(assets) % ASSETS]
        ts = start + np.repeat(step, assets) * 1_000_000_000
        yield Recording(names, asset, ts, base.channels, block.reshape(-1, CHANNELS))


def messages(recording: Recording, encoding: str, partitions: int) -> Iterator[tuple[int, Message]]:
    """(partition, message) of a recording; an Arrow message holds ARROW_READINGS readings where there are so many."""
    if encoding == "json":
        for message in encode_json(recording):
            assert message.key is not None
            yield partition_of(message.key.decode(), partitions), message
        return
    row_bytes = 4 * CHANNELS + 16 + max(len(name) for name in recording.assets)
    size = 1024 + 300 * CHANNELS + ARROW_READINGS * row_bytes
    for message in encode_arrow(recording, partitions, size):
        assert message.partition is not None
        yield message.partition, message


def train(folder: Path) -> Path:
    """A model of the simulated plant; two epochs are enough, since only its size costs time."""
    data = folder / "normal.parquet"
    write_recording(data, recordings(ASSETS, 2 * BASE_STEPS))
    sizes = ["--window", str(WINDOW), "--stride", str(STRIDE), "--epochs", "2"]
    command = ["fit", str(data), "--name", "pump", "--out", str(folder), *sizes]
    children.run("tests.bench.train", {"command": command})
    return folder / "pump"


def configuration(bootstrap: str, model: Path, log: Log, client: str, **changes: dict[str, Any]) -> dict[str, Any]:
    """The daemon's configuration: its defaults, a group and output topics of its own; `changes` by section."""
    name = unique("run")
    document: dict[str, Any] = {
        "kafka": {"bootstrap_servers": bootstrap},
        "topics": {"readings": log.topic, **{each: f"{name}.{each}" for each in OUTPUTS}},
        "input": {"encoding": log.encoding},
        "delivery": {"client": client, "group": name, "instance_id": name},
        "telemetry": {"log_level": "warning", "port": -1},
        "detectors": [{"name": "pump", "model": str(model.absolute()), "assets": ["pump-*"]}],
    }
    for section, values in changes.items():
        document[section] = document.get(section, {}) | values
    return document


def fill(bootstrap: str, encoding: str, partitions: int, assets: int, steps: int) -> Log:
    """A new input topic with `steps` readings of each asset, written by a process of its own."""
    log = Log(unique("readings"), partitions, encoding, assets * steps)
    job = {"bootstrap": bootstrap, "topic": log.topic, "partitions": partitions, "encoding": encoding}
    told = children.run("tests.bench.fill", {**job, "assets": assets, "steps": steps})
    size = told["message_bytes"]
    say(f"{log.readings:,} readings in {encoding}, {partitions} partitions: {size:.0f} bytes a message")
    return log


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)
