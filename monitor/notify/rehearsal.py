"""One notification for a test of an endpoint, which is over as soon as it is sent."""

import time
import uuid
from collections.abc import Iterator

from msgspec.structs import replace

from monitor.annunciations import MINUTE
from monitor.events import Contribution, IncidentEvent, to_datetime
from monitor.notify.alert import Item
from monitor.notify.outbox import Outbox, step
from monitor.notify.sending import sender
from monitor.notify.settings import Endpoint

ASSET = "tocsin-test"


def rehearse(endpoint: Endpoint, dashboard_url: str) -> Iterator[Item]:
    """Send a notification and its end, whatever the endpoint is to hear of; each item once it was taken.

    Raises Undelivered or Refused.
    """
    send = sender(endpoint, dashboard_url)
    everything = replace(endpoint, min_priority="low", match={}, send_resolved=True)
    for item in items(everything, uuid.uuid4().hex, time.time_ns()):
        send(item)
        yield item


def items(endpoint: Endpoint, incident_id: str, now: int) -> list[Item]:
    """A raise and a resolve, as an incident would give."""
    box, raised = Outbox(), _event(incident_id, now)
    over = replace(
        raised, seq=2, transition="cleared", state="normal", previous_state="unacknowledged", active=False,
        end=raised.detected,
    )  # fmt: skip
    for event in (raised, over):
        step(endpoint, box, event, None, (), now)
    return list(box.items.values())


def _event(incident_id: str, now: int) -> IncidentEvent:
    at = to_datetime(now)
    return IncidentEvent(
        incident_id=incident_id, seq=1, transition="raised", state="unacknowledged", previous_state="normal",
        asset=ASSET, detector="test", model_version="", topic="", partition=0, start=to_datetime(now - MINUTE),
        end=None, detected=at, score=2.0, limit=1.0, p_value=1e-6, peak=2.0, peak_time=at, peak_p_value=1e-6,
        channels=(Contribution("test", 1.0),), labels={"test": "true"}, active=True,
        reason="this is a test of notification; nothing is wrong",
    )  # fmt: skip
