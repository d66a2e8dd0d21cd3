"""The same job as a tutorial writes it by hand: a kafka-python loop, a deque per asset, PyTorch on each full window.

The network has the size of the model (512-128-16-128-512) and scales its input; its weights are not trained, which
costs the same. One thread, since more of them only cost more CPU time at this size.
"""

import collections
import json

import torch
from kafka import KafkaConsumer, KafkaProducer
from torch import nn

from tests.bench.measure import Every, Meter, finish, read_job

WINDOW, STRIDE, CHANNELS = 64, 8, 8


def autoencoder() -> nn.Module:
    size = WINDOW * CHANNELS
    encoder = [nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 16), nn.ReLU()]
    return nn.Sequential(*encoder, nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, size))


def main() -> None:
    job = read_job()
    torch.set_num_threads(1)
    model = autoencoder().eval()
    mean, deviation = torch.zeros(CHANNELS), torch.ones(CHANNELS)
    consumer = KafkaConsumer(
        job["topic"],
        bootstrap_servers=job["bootstrap"],
        group_id=job["group"],
        auto_offset_reset="earliest",
        value_deserializer=lambda value: json.loads(value.decode("utf-8")),
    )
    producer = KafkaProducer(
        bootstrap_servers=job["bootstrap"], value_serializer=lambda value: json.dumps(value).encode("utf-8")
    )
    windows: dict[str, collections.deque[list[float]]] = collections.defaultdict(
        lambda: collections.deque(maxlen=WINDOW)
    )
    counts: collections.Counter[str] = collections.Counter()
    meter = Meter(job["warm"], job["measured"])
    counter = Every(meter)
    scored = 0
    for message in consumer:
        reading = message.value
        asset = reading["asset"]
        windows[asset].append(list(reading["values"].values()))
        counts[asset] += 1
        if len(windows[asset]) == WINDOW and counts[asset] % STRIDE == 0:
            with torch.no_grad():
                window = (torch.tensor(list(windows[asset])) - mean) / deviation
                flat = window.flatten().unsqueeze(0)
                error = ((model(flat) - flat) ** 2).mean().item()
            producer.send(job["output"], {"asset": asset, "ts": reading["ts"], "score": error})
            scored += meter.running
        if counter.one():
            break
    assert meter.result is not None
    finish({**meter.result, "windows": scored})


if __name__ == "__main__":
    main()
