"""What daemons say of themselves: figures of two answers, and what stands where one does not answer."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from dashboard.health import Daemons, Reading, fetch, parse, quantile, rate
from dashboard.payload_health import daemon, health_sections
from dashboard.poller import Poller
from monitor.broker import free_port
from monitor.telemetry import Metrics, TelemetryServer


def reading(metrics: Metrics, at_s: float) -> Reading:
    """A daemon's answer."""
    return Reading("http://d:9464", at_s, parse(generate_latest(metrics.registry).decode()))


def test_rates_and_lag_are_those_of_a_daemons_own_metrics() -> None:
    metrics = Metrics()
    metrics.windows.inc(100)
    before = reading(metrics, 10.0)
    metrics.windows.inc(50)
    metrics.lag.labels("0").set(7)
    metrics.lag.labels("1").set(5)
    metrics.lag_s.labels("0").set(0.4)
    metrics.dead.labels("not_json").inc(3)
    metrics.commands.labels("obeyed").inc(2)
    shown = daemon(before, reading(metrics, 15.0))
    assert (shown["windows_per_s"], shown["lag"], shown["lag_s"]) == (10.0, 12.0, 0.4)
    assert shown["dead"] == {"not_json": 3}
    assert shown["commands"] == {"obeyed": 2}
    assert shown["faults"] == {}


def test_quantiles_are_of_what_came_since_the_answer_before() -> None:
    metrics = Metrics()
    for _ in range(100):
        metrics.end_to_end_s.observe(20.0)
    before = reading(metrics, 10.0)
    for _ in range(100):
        metrics.end_to_end_s.observe(0.02)
    now = reading(metrics, 11.0)
    assert quantile(before, now, "tocsin_end_to_end_seconds", 0.99) == pytest.approx(0.025, rel=0.02)
    assert quantile(None, now, "tocsin_end_to_end_seconds", 0.99) > 10.0  # type: ignore[operator]
    assert quantile(None, reading(Metrics(), 1.0), "tocsin_end_to_end_seconds", 0.5) is None


def test_a_daemon_that_began_anew_has_no_rate_below_zero() -> None:
    metrics = Metrics()
    metrics.windows.inc(100)
    assert rate(reading(metrics, 1.0), reading(Metrics(), 2.0), "tocsin_windows_total") is None


def test_a_real_daemons_telemetry_is_read_and_one_that_is_away_is_named() -> None:
    metrics = Metrics()
    server = TelemetryServer("127.0.0.1", 0, metrics.registry, lambda: "", lambda: "")
    away = f"http://127.0.0.1:{free_port()}"
    daemons = Daemons([server.address, away], clock=iter([1.0, 1.0, 2.0, 2.0]).__next__)
    try:
        daemons.read()
        metrics.readings.inc(30)
        (before, now), (_, gone) = daemons.read()
    finally:
        server.close()
    assert daemon(before, now)["readings_per_s"] == 30.0
    assert "refused" in daemon(None, gone)["problem"]


def test_what_is_no_metrics_page_is_told_and_not_raised() -> None:
    assert fetch("file:///etc/hostname", 1.0).problem
    assert fetch("nonsense", 1.0).problem
    sections = health_sections([(None, Reading("http://d", 1.0, problem="timed out"))], None, "", None, {})
    assert sections["daemons"] == [{"address": "http://d", "problem": "timed out", "at": None}]


def eventually(condition: Callable[[], Any], within_s: float = 5.0) -> None:
    """Wait for another thread; fails when what is waited for does not come."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("waited in vain")


def test_a_poller_asks_while_somebody_looks_and_rests_after() -> None:
    now = [0.0]
    asked: list[float] = []
    poller = Poller("test", lambda: asked.append(now[0]) or len(asked), 0.005, clock=lambda: now[0])
    try:
        assert poller.latest() is None
        eventually(lambda: (poller.latest() or 0) >= 2)
        now[0] = 100.0
        eventually(lambda: not [t for t in threading.enumerate() if t.name == "tocsin-test"])
        count = len(asked)
        eventually(lambda: (poller.latest() or 0) > count)
    finally:
        poller.stop()


def test_what_goes_wrong_is_told_until_it_is_well_again() -> None:
    answers = iter([ValueError("no"), 1])

    def ask() -> Any:
        answer = next(answers, 1)
        if isinstance(answer, Exception):
            raise answer
        return answer

    poller = Poller("test", ask, 0.2)
    try:
        poller.latest()
        eventually(lambda: poller.problem == "ValueError: no")
        eventually(lambda: poller.latest() == 1 and not poller.problem)
    finally:
        poller.stop()
