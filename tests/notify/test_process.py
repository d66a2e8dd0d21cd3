"""`tocsin notify` as a process, on both brokers: what is told, once, in order, whatever happens to it."""

import pytest

from tests.e2e.site import DaemonProcess, until
from tests.notify.events import acknowledged, cleared, event
from tests.notify.receiver import Receiver
from tests.notify.site import NotifySite

pytestmark = pytest.mark.slow


def pagerduty(receiver: Receiver, name: str = "pager", more: str = "") -> str:
    return f"""
[[notify.endpoints]]
name = "{name}"
kind = "pagerduty"
url = "{receiver.url}/v2/enqueue"
routing_key = "key-1"
timeout_s = 1
retry_most_s = 1
{more}
"""


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(each.json["event_action"], each.json["dedup_key"]) for each in receiver.taken]


def start(site: NotifySite) -> DaemonProcess:
    process = site.run()
    process.await_events("notifying")
    return process


def test_incident_is_triggered_acknowledged_and_resolved(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    process = start(site)
    raised = event()
    site.send(raised, acknowledged(), cleared())
    until(lambda: len(receiver.taken) >= 3, "all three are told", process)
    key = raised.incident_id
    assert told(receiver) == [("trigger", key), ("acknowledge", key), ("resolve", key)]
    process.stop()
    assert process.events("stopped")
