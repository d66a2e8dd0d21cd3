"""Sends readings at a steady rate, in small ticks; notes when the broker appended those that close a window.

Every fifth asset is clearly abnormal for 128 s of event time and normal for the next 128, so that its incidents are
raised and cleared again and again. Messages are ready but for their time.
"""

import time
from typing import Any

import numpy as np
from confluent_kafka import Producer

from monitor.encode import encode_json, partition_of
from tests.bench.measure import finish, read_job
from tests.bench.workload import ASSETS, BASE_STEPS, STRIDE, recordings

TICK_S = 0.005
ABNORMAL_EVERY, BLOCK_STEPS = 5, 128
PERIOD_STEPS = 2 * BASE_STEPS  # the block there and back


def bodies(abnormal: bool) -> tuple[list[list[bytes]], int]:
    """What follows the time in the message of each step and asset, and the first step's event time in s."""
    (recording,) = recordings(ASSETS, PERIOD_STEPS, PERIOD_STEPS * ASSETS)
    if abnormal:
        recording.values = recording.values * np.float32(3.0)
    texts = [message.value.split(b'","values"', 1)[1] for message in encode_json(recording)]
    steps = [texts[begin : begin + ASSETS] for begin in range(0, len(texts), ASSETS)]
    return steps, int(recording.ts[0]) // 1_000_000_000


def feed(job: dict[str, Any]) -> dict[str, Any]:
    """Send for the warm-up and the measured time; (asset, window end in ns, appended at in ms) of the latter."""
    normal, start_s = bodies(abnormal=False)
    abnormal, _ = bodies(abnormal=True)
    names = [f"pump-{number + 1}" for number in range(ASSETS)]
    heads = [f'{{"asset":"{name}","ts":"'.encode() for name in names]
    keys, places = [name.encode() for name in names], [partition_of(name, job["partitions"]) for name in names]
    producer = Producer(
        {"bootstrap.servers": job["bootstrap"], "linger.ms": 2, "queue.buffering.max.messages": 1_000_000}
    )
    appended: list[tuple[str, int, int]] = []

    def note(asset: str, end_ns: int) -> Any:
        def delivered(error: Any, message: Any) -> None:
            if error is None:
                appended.append((asset, end_ns, message.timestamp()[1]))

        return delivered

    rate, topic = job["rate"], job["topic"]
    sent = 0
    began = time.monotonic()
    measured_from, until = began + job["warm_s"], began + job["warm_s"] + job["measured_s"]
    sent_before = 0
    while (now := time.monotonic()) < until:
        if now < measured_from:
            sent_before = sent
        for number in range(sent, int((now - began) * rate)):
            step, asset = divmod(number, ASSETS)
            if asset == 0 or number == sent:
                event_s = start_s + step
                text = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(event_s)).encode() + b'","values"'
                odd = step // BLOCK_STEPS % 2 == 1
                body, other = normal[step % PERIOD_STEPS], abnormal[step % PERIOD_STEPS]
            watched = asset % ABNORMAL_EVERY == 0
            value = heads[asset] + text + (other if odd and watched else body)[asset]
            # the window that ends with this second's beginning is closed by this reading
            if watched and now >= measured_from and event_s % STRIDE == 1:
                noted = note(names[asset], event_s * 1_000_000_000)
                producer.produce(topic, value, keys[asset], places[asset], on_delivery=noted)
            else:
                producer.produce(topic, value, keys[asset], places[asset])
            sent = number + 1
        producer.poll(0)
        time.sleep(max(TICK_S - (time.monotonic() - now), 0))
    took = time.monotonic() - measured_from
    producer.flush(30)
    return {"per_s": (sent - sent_before) / took, "appended": appended}


if __name__ == "__main__":
    finish(feed(read_job()))
