"""Sensor faults on both brokers: told once by a daemon that is killed and comes back, as a backtest tells them."""

import msgspec
import numpy as np
import pytest

from monitor.events import SensorEvent, decode_message
from monitor.modelfile import Channel
from monitor.recording import Recording
from tests.e2e.conftest import MakeSite
from tests.e2e.site import CHANNELS, Site, metrics, readings, until
from tests.models import metadata, write_model

pytestmark = pytest.mark.slow

TABLES = """
[sensors]
fault_after = 2

[[channels]]
match = "b"
low = -50
high = 50
"""


def broken(seconds: int = 500) -> Recording:
    """Pumps of which one has a flat sensor for a while, one a dead one, and one says impossible things."""
    recording = readings(seconds)
    second, values = (recording.ts - recording.ts[0]) // 10**9, recording.values
    during = (second >= 100) & (second < 300)
    values[during & (recording.asset == 0), 0] = 0.125
    values[during & (recording.asset == 1), 0] = np.nan
    values[during & (recording.asset == 2), 1] = -9999.0
    return recording


def sensor_events(site: Site) -> list[SensorEvent]:
    records = site.records(site.config.topics.anomalies)
    told = [decode_message(record.headers, record.value) for record in records]
    return [event for event in told if isinstance(event, SensorEvent)]


def test_sensor_faults_are_told_as_in_a_backtest_by_a_daemon_that_was_killed(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=3, max_poll_records=50)
    channels = tuple(Channel(name, low=0.0, high=4.0, flat_s=1.0, missing=0.05) for name in CHANNELS)
    write_model(site.folder, metadata(channels=channels, window=12, min_observed=0.4))
    site.use(slowest_ms="10\n" + TABLES)
    site.config_file = site.write_config()
    recording = broken()
    site.backtested(recording)
    lines = (site.folder / "backtest" / "sensors.jsonl").read_bytes().splitlines()
    expected = [msgspec.json.decode(line, type=SensorEvent) for line in lines]
    found = {(event.asset, event.channel, event.verdict) for event in expected}
    assert found >= {("pump-0", "a", "flat"), ("pump-1", "a", "dead"), ("pump-2", "b", "out_of_range")}
    assert ("pump-4", "", "stale") in found
    site.send(recording)
    for batches in (4, 7):
        daemon = site.run()
        daemon.await_events("batch", batches)
        daemon.kill()
    daemon = site.run()
    wanted = {event.event_id: event for event in expected}
    until(lambda: {event.event_id for event in sensor_events(site)} >= set(wanted), "every fault is told", daemon)
    told = sensor_events(site)
    assert {event.event_id: event for event in told} == wanted
    if site.exactly_once:
        assert len(told) == len(wanted)
    assert any(name.startswith("tocsin_sensor_events_total") and count for name, count in metrics(daemon).items())
