"""Models that are replaced under the daemon while readings stream: bad files, good ones, and one that fails later."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, groupby
from pathlib import Path

import numpy as np
import pytest

from monitor.modelfile import set_current
from monitor.recording import Recording
from tests import models
from tests.e2e.conftest import MakeSite
from tests.e2e.site import CHANNELS, DaemonProcess, Site, metrics, readings, until

pytestmark = pytest.mark.slow

CHUNK_S = 20  # of event time
SPEED = 40.0  # seconds of event time in one of the clock
TOO_LOUD = 40.0  # of a reading: a window with one scores 10 and more, others no more than 4
FACTOR = {"1": 1.0, "good": 3.0, "later-bad": 5.0, "last": 7.0}  # how many times as high a version's scores are


class Stream:
    """Readings that keep coming, as a plant sends them."""

    def __init__(self, to: Site) -> None:
        self.sent: list[Recording] = []
        self.loud = threading.Event()
        self._site = to
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        for number in count():
            if self._ended.is_set():
                return
            chunk = readings(CHUNK_S, first_s=number * CHUNK_S, seed=number)
            if self.loud.is_set():
                self.loud.clear()
                chunk.values[:5] = TOO_LOUD
            self._site.send(chunk, SPEED)
            self.sent.append(chunk)

    @property
    def seconds(self) -> int:
        """Event time that was sent."""
        return CHUNK_S * len(self.sent)

    def whole(self) -> Recording:
        """All that was sent, in order."""
        first = self.sent[0]
        asset, ts, values = (
            np.concatenate([getattr(chunk, name) for chunk in self.sent]) for name in ("asset", "ts", "values")
        )
        return Recording(first.assets, asset, ts, CHANNELS, values)


@contextmanager
def streaming(to: Site) -> Iterator[Stream]:
    """Send until the block ends."""
    stream = Stream(to)
    stream._thread.start()
    try:
        yield stream
    finally:
        stream._ended.set()
        stream._thread.join()


def write(to: Site, version: str, edit=lambda proto: None, **changes) -> Path:
    return models.write_version(to.folder, models.metadata(version=version, **changes), edit)


def scaled_but_nan_when_loud(proto) -> None:
    """An edit: a good model, until a window comes as no window before it was."""
    models.scaled(FACTOR["later-bad"])(proto)
    models.giving(np.nan, above=FACTOR["later-bad"] * 6)(proto)


def half(file: Path) -> bytes:
    """Take the second half of a file away; returns the whole."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return whole


def goes_on(to: Site, daemon: DaemonProcess) -> None:
    """Wait until windows have been scored that were not when this was called."""
    before = len(to.windows())
    until(lambda: len(to.windows()) > before, "windows go on to be scored", daemon)


def test_every_window_is_scored_once_by_the_version_in_service_whatever_comes_in_its_place(
    make_site: MakeSite,
) -> None:
    site = make_site(idle_limit_s=60, max_poll_records=200, follow_s=0.1, slowest_ms=0.5)
    bad = {
        "half": ("no ONNX file", lambda version: half(write(site, version))),
        "garbage": ("no ONNX file", lambda version: write(site, version).write_bytes(b"\x00garbage" * 999)),
        "empty": ("no ONNX file", lambda version: write(site, version).write_bytes(b"")),
        "longer": ("Another shape needs new windows", lambda version: write(site, version, window=8)),
        "swapped": ("Another shape", lambda version: write(site, version, channels=("b", "a"))),
        "nan": ("no finite score", lambda version: write(site, version, models.giving(np.nan, 0.2))),
        "infinity": ("no finite score", lambda version: write(site, version, models.giving(np.inf, 0.2))),
        "raising": ("does not run", lambda version: write(site, version, models.raising(0.2))),
        "slow": ("scoring.slowest_ms allows 0.5", lambda version: write(site, version, models.looping(300_000))),
        "missing": ("No such file", lambda version: None),
    }
    daemon = site.run()
    with streaming(site) as stream:
        goes_on(site, daemon)
        for number, (version, (clause, make)) in enumerate(bad.items(), start=1):
            make(version)
            set_current(site.model, version)
            told = daemon.await_events("model_refused", number)[-1]
            assert clause in told["detail"], told
            assert (told["detector"], told["serves"]) == ("pumps", "1")
            goes_on(site, daemon)

        file = write(site, "good", models.scaled(FACTOR["good"]))
        whole = half(file)
        set_current(site.model, "good")
        daemon.await_events("model_refused", len(bad) + 1)
        file.write_bytes(whole)
        daemon.await_events("model_serves")
        goes_on(site, daemon)

        write(site, "later-bad", scaled_but_nan_when_loud)
        set_current(site.model, "later-bad")
        daemon.await_events("model_serves", 2)
        goes_on(site, daemon)
        stream.loud.set()
        daemon.await_events("model_rolled_back")
        goes_on(site, daemon)

        write(site, "last", models.scaled(FACTOR["last"]))
        set_current(site.model, "last")
        daemon.await_events("model_serves", 3)
        goes_on(site, daemon)
        begun = len(stream.sent)
        until(lambda: len(stream.sent) > begun + 1, "readings behind the last swap", daemon)

    upto = stream.seconds - CHUNK_S
    expected, _ = site.backtested(stream.whole(), upto)
    until(lambda: site.windows() >= set(expected), "every window is scored", daemon)
    published = [each for each in site.versioned_scores() if each[0][1] <= upto]
    assert sorted(where for where, _, _ in published) == sorted(expected)
    for where, score, version in published:
        assert score == pytest.approx(expected[where] / FACTOR["last"] * FACTOR[version], rel=1e-5), (where, version)

    assert [(told["from"], told["to"]) for told in daemon.events("model_serves")] == [
        ("1", "good"), ("good", "later-bad"), ("good", "last")
    ]  # fmt: skip
    assert [(told["from"], told["to"]) for told in daemon.events("model_rolled_back")] == [("later-bad", "good")]
    [fault] = daemon.events("model_fault")
    assert (fault["detector"], fault["version"]) == ("pumps", "later-bad")
    assert fault["windows"] == fault["rescued"] > 0
    turns = [
        [version for version, _ in groupby(v for where, _, v in sorted(published) if where[0] == asset)]
        for asset in stream.sent[0].assets
    ]
    quiet = ["1", "good", "later-bad", "good", "last"]
    assert all(order[:2] == quiet[:2] and order[-2:] == quiet[-2:] for order in turns)
    values = metrics(daemon)
    assert values['tocsin_model_refused_total{detector="pumps"}'] == len(bad) + 1
    assert values['tocsin_model_swaps_total{detector="pumps"}'] == 3
    assert values['tocsin_model_rollbacks_total{detector="pumps"}'] == 1
    assert values['tocsin_model_faults_total{detector="pumps"}'] == fault["windows"]
    daemon.stop()
