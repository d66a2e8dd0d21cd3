"""A plant for the dashboard's benchmark: every asset has a new window every second, some of them alarms."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monitor.wire import Scores, encode_scores
from tests.dashboard.plant import LIMIT, START_NS, Publisher, incident

STEP_NS = 1_000_000_000
CHANNELS = 8
ALARM_EVERY = 50  # of the assets one has an alarm


def names(count: int) -> list[str]:
    """Names of the assets."""
    return [f"pump-{n:05}" for n in range(count)]


def batch(assets: list[str], first: int, count: int, noise: np.random.Generator) -> Scores:
    """Windows of several assets, in order of asset and time, as a daemon closes them."""
    rows = len(assets) * count
    score = LIMIT * np.exp(noise.normal(-1.6, 0.35, rows)).astype(np.float32)
    share = noise.random((rows, CHANNELS), np.float32)
    seen = noise.normal(3, 0.2, (rows, CHANNELS)).astype(np.float32)
    return Scores(
        detector="pumps",
        model_version="7",
        assets=[asset for asset in assets for _ in range(count)],
        window_end=START_NS + np.tile(np.arange(first, first + count), len(assets)) * STEP_NS,
        score=score,
        p_value=np.clip(np.exp(-6 * score / LIMIT), 1e-30, 1).astype(np.float32),
        limit=np.full(rows, LIMIT, np.float32),
        channel_score=share,
        seen=seen,
        expected=seen + 0.05,
    )


@dataclass(slots=True)
class Plant:
    """Publishes a past, then a window of every asset each second, and knows when it published which."""

    publisher: Publisher
    assets: int
    past: int = 300
    published_s: dict[int, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Publish the past and an alarm of some assets, then go on in a thread."""
        for part in self._parts(100):
            self._send(part, 0, self.past)
        for name in names(self.assets)[::ALARM_EVERY]:
            self.publisher.send_event(incident(name, 1, peak=3.0))
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop publishing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _parts(self, size: int) -> list[list[str]]:
        every = names(self.assets)
        return [every[at : at + size] for at in range(0, len(every), size)]

    def _go_on(self) -> None:
        window, due_s = self.past, time.monotonic()
        while not self._stop.wait(max(due_s - time.monotonic(), 0.0)):
            self.published_s[window] = time.time()
            for part in self._parts(500):
                self._send(part, window, 1)
            window, due_s = window + 1, due_s + 1.0

    def _send(self, assets: list[str], first: int, count: int) -> None:
        send: Callable[..., Any] = self.publisher.producer.send
        partition = int(assets[0].rsplit("-", 1)[1]) // 500 % self.publisher.partitions
        for message in encode_scores(batch(assets, first, count, np.random.default_rng([first, count]))):
            send(self.publisher.topics.scores, message, partition=partition)
        self.publisher.producer.flush()
