"""What endpoints are really sent, and what is done when they fail, refuse, hang, or are gone."""

import hashlib
import hmac
import json
import threading
import time
from functools import partial

import pytest
import structlog

from monitor.broker import free_port
from monitor.errors import InvalidConfiguration
from monitor.notify import notifier
from monitor.notify.alert import Item
from monitor.notify.courier import Courier
from monitor.notify.http import Refused, Undelivered, post, retry_after
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import tick
from monitor.notify.rehearsal import rehearse
from monitor.notify.sending import answers, send_again, sender
from monitor.notify.settings import Endpoint, Notify
from monitor.notify.telemetry import Metrics
from tests.e2e.site import until
from tests.notify.events import SECOND, T0, acknowledged, cleared, event
from tests.notify.receiver import Receiver
from tests.require import require

LINK = "https://tocsin.example.com"


def endpoint(kind: str, url: str, **settings) -> Endpoint:
    own = {"routing_key": "key-1"} if kind == "pagerduty" else {}
    return Endpoint(
        **{"name": kind, "kind": kind, "url": url, "timeout_s": 0.5, "retry_most_s": 0.2} | own | settings
    )


def items(where: Endpoint, *events, now=T0) -> list[Item]:
    state = Notifier()
    for each in events:
        notifier.step(Notify(), [where], state, each, now, now)
    return list(state.boxes[where.name].items.values())


@pytest.fixture
def couriers():
    """Makes couriers, and ends them."""
    made = []

    def make(where: Endpoint, metrics: Metrics) -> Courier:
        again = partial(send_again, where, LINK) if where.kind == "alertmanager" else None
        courier = Courier(where, sender(where, LINK), again, structlog.get_logger(), metrics)
        made.append(courier)
        return courier

    yield make
    for courier in made:
        courier.stop(2.0)


def await_taken(courier: Courier, count: int) -> list[int]:
    """Numbers of items that were done with, once there are so many."""
    found = []

    def enough() -> bool:
        found.extend(courier.taken())
        return len(found) >= count

    until(enough, f"{count} are done with")
    return found


def value(counter, name: str) -> float:
    return counter.labels(name)._value.get()


def test_pagerduty_is_sent_what_its_events_api_asks_for(receiver):
    where = endpoint("pagerduty", f"{receiver.url}/v2/enqueue")
    raised = event(priority="high", runbook="https://wiki/pumps", action="look at the seal")
    for item in items(where, raised, acknowledged(), cleared()):
        sender(where, LINK)(item)
    trigger, acknowledge, resolve = [each.json for each in receiver.received]
    assert {each.path for each in receiver.received} == {"/v2/enqueue"}
    assert {each.headers["Content-Type"] for each in receiver.received} == {"application/json"}
    assert trigger == {
        "routing_key": "key-1",
        "event_action": "trigger",
        "dedup_key": raised.incident_id,
        "client": "Tocsin",
        "client_url": LINK,
        "links": [{"href": "https://wiki/pumps", "text": "Runbook"}],
        "payload": {
            "summary": "[high] pump-1 (line 2, site north): abnormal",
            "source": "pump-1",
            "severity": "critical",
            "timestamp": "2026-01-01T00:00:00Z",
            "component": "pumps",
            "group": "2, north",
            "class": "anomaly",
            "custom_details": trigger["payload"]["custom_details"],
        },
    }
    text = "\n".join(trigger["payload"]["custom_details"]["text"])
    assert "vibration (70%, 4.81 instead of 2.94 mm/s)" in text
    assert "look at the seal" in text
    bare = {"routing_key": "key-1", "dedup_key": raised.incident_id}
    assert acknowledge == bare | {"event_action": "acknowledge"}
    assert resolve == bare | {"event_action": "resolve"}


def test_pagerduty_names_are_cut_to_what_it_takes(receiver):
    where = endpoint("pagerduty", receiver.url)
    sender(where, "")(items(where, event("x" * 2000))[0])
    assert len(receiver.received[0].json["payload"]["summary"]) == 1024


def test_webhook_body_is_signed(receiver):
    where = endpoint("webhook", f"{receiver.url}/hook", secret="s3", headers={"Authorization": "Bearer t"})
    (item,) = items(where, event())
    sender(where, LINK)(item)
    (got,) = receiver.received
    assert got.headers["Content-Type"] == "application/cloudevents+json"
    assert got.headers["Authorization"] == "Bearer t"
    expected = hmac.new(b"s3", got.body, hashlib.sha256).hexdigest()
    assert got.headers["X-Tocsin-Signature"] == f"sha256={expected}"
    assert got.json["data"]["incident_id"] == event().incident_id


def test_apprise_sends_what_a_person_reads(receiver):
    require_apprise()
    where = endpoint("apprise", f"json://127.0.0.1:{receiver.port}")
    for item in items(where, event(reason="x"), cleared()):
        sender(where, LINK)(item)
    first, last = [each.json for each in receiver.received]
    assert first["title"] == "[low] pump-1 (line 2, site north): abnormal"
    assert LINK in first["message"]
    assert (first["type"], last["type"]) == ("warning", "success")


def test_apprise_that_fails_is_tried_again(receiver):
    require_apprise()
    where = endpoint("apprise", f"json://127.0.0.1:{receiver.port}")
    receiver.answers = [(500, {})]
    with pytest.raises(Undelivered):
        sender(where, LINK)(items(where, event())[0])


def test_apprise_that_knows_no_such_service_is_a_wrong_setting():
    require_apprise()
    with pytest.raises(InvalidConfiguration, match="knows no such service"):
        sender(endpoint("apprise", "nothing://x"), "")


def require_apprise() -> None:
    from importlib.util import find_spec

    require(find_spec("apprise") is not None, "apprise is missing: pip install 'tocsin[notify]'")


def test_summary_is_told_by_every_kind(receiver):
    for kind in ("pagerduty", "webhook", "alertmanager"):
        where = endpoint(kind, receiver.url, burst=1, rate_per_minute=60.0)
        state = Notifier()
        for i in range(3):
            notifier.step(Notify(), [where], state, event(f"p{i}", i, labels={}, priority="medium"), T0, T0)
        tick(where, state.boxes[kind], T0 + SECOND)
        (_, summary) = state.boxes[kind].items.values()
        sender(where, LINK)(summary)
    paged, hooked, alerted = [each.json for each in receiver.received]
    assert paged["payload"]["summary"].startswith("2 more incidents")
    assert paged["payload"]["severity"] == "error"
    assert (hooked["type"], hooked["data"]["count"]) == ("tocsin.notify.summary.v1", 2)
    assert alerted[0]["labels"]["alertname"] == "TocsinSummary"


def test_failures_are_tried_again_in_order_until_all_is_taken(receiver, couriers, log):
    where, metrics = endpoint("pagerduty", receiver.url), Metrics()
    receiver.answers = [(500, {}), (503, {}), (202, {}), (429, {}), (408, {})]
    courier = couriers(where, metrics)
    sent = items(where, event(), acknowledged(), cleared())
    courier.start(sent, {})
    assert await_taken(courier, 3) == [item.number for item in sent]
    assert [each.json["event_action"] for each in receiver.taken] == ["trigger", "acknowledge", "resolve"]
    assert [each.status for each in receiver.received] == [500, 503, 202, 429, 408, 202, 202]
    assert courier.taken() == []
    assert value(metrics.endpoint_retries, "pagerduty") == 4
    assert value(metrics.deliveries, "pagerduty") == 3
    assert [line["event"] for line in log].count("endpoint_answers") == 2


def test_retry_after_is_honoured(receiver, couriers):
    where = endpoint("webhook", receiver.url)
    receiver.answers = [(429, {"Retry-After": "1"})]
    began = time.monotonic()
    couriers(where, Metrics()).start(items(where, event()), {})
    until(lambda: bool(receiver.taken), "it is taken")
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120),
        ("0.5", 0.5),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 1998 00:00:30 GMT", 0),
        ("-3", 0),
        ("soon", 0),
        ("nan", 0),
        ("inf", 3600),
        ("99999999", 3600),
        (None, 0),
        ("", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    assert retry_after(value, T0 / SECOND) == expected


def test_what_is_refused_is_told_and_given_up(receiver, couriers, log):
    where, metrics = endpoint("pagerduty", receiver.url), Metrics()
    receiver.answers = [(400, {}), (202, {})]
    courier = couriers(where, metrics)
    courier.start(items(where, event(), cleared()), {})
    await_taken(courier, 2)
    (refused,) = [line for line in log if line["event"] == "notification_refused"]
    assert (refused["log_level"], refused["key"]) == ("error", event().incident_id)
    assert "400" in refused["detail"]
    assert value(metrics.failures, "pagerduty") == 1
    assert len(receiver.received) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 413, 422])
def test_answers_that_will_not_change_are_refusals(receiver, status):
    receiver.answers = [(status, {"Location": "http://127.0.0.1:1/"})]
    with pytest.raises(Refused, match=str(status)):
        post(receiver.url, b"{}", {}, 1)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_answers_that_may_change_are_tried_again(receiver, status):
    receiver.answers = [(status, {})]
    with pytest.raises(Undelivered, match=str(status)):
        post(receiver.url, b"{}", {}, 1)


def test_endpoint_that_hangs_or_is_not_there_is_tried_again():
    with (
        Receiver(hang=threading.Event()) as hanging,
        pytest.raises(Undelivered, match=r"no answer in 0\.2 s|timed out"),
    ):
        post(hanging.url, b"{}", {}, 0.2)
    with pytest.raises(Undelivered, match="no connection"):
        post(f"http://127.0.0.1:{free_port()}", b"{}", {}, 1)


def test_dead_endpoint_slows_no_other_one(receiver, couriers):
    with Receiver(hang=threading.Event()) as hanging:
        dead, live = endpoint("webhook", hanging.url, timeout_s=30.0), endpoint("pagerduty", receiver.url)
        slow = couriers(dead, Metrics())
        slow.start(items(dead, event()), {})
        began = time.monotonic()
        couriers(live, Metrics()).start(items(live, event(), cleared()), {})
        until(lambda: len(receiver.taken) == 2, "the other one is told")
        assert time.monotonic() - began < 5
        began = time.monotonic()
        slow.stop(0.5)
        assert time.monotonic() - began < 2


def test_alertmanager_is_told_again_of_what_stands_and_not_of_what_is_over(receiver, couriers):
    where = endpoint("alertmanager", receiver.url, resend_s=0.2)
    courier = couriers(where, Metrics())
    first, second = event("a", labels={}), event("b", 1, labels={})
    courier.start(items(where, first, second), {})
    until(lambda: len([r for r in receiver.received if len(r.json) == 2]) >= 2, "both are told again, together")
    over = [item for item in items(where, first, cleared("a", labels={})) if item.kind == "resolve"]
    courier.submit(over)
    await_taken(courier, 3)
    seen = len(receiver.received)
    until(lambda: len(receiver.received) >= seen + 3, "what stands is told again")
    for each in receiver.received[seen + 1 :]:
        assert [alert["labels"]["incident_id"] for alert in each.json] == [second.incident_id]


def test_after_a_restart_what_stands_is_told_at_once(receiver, couriers):
    where, state = endpoint("alertmanager", receiver.url), Notifier()
    notifier.step(Notify(), [where], state, event(), T0, T0)
    couriers(where, Metrics()).start([], state.boxes[where.name].open)
    until(lambda: len(receiver.received) == 1, "it is told")
    assert receiver.received[0].json[0]["labels"]["incident_id"] == event().incident_id


def test_test_of_an_endpoint_begins_and_ends(receiver):
    where = endpoint("pagerduty", receiver.url, min_priority="high", match={"line": "9"}, send_resolved=False)
    assert [item.kind for item in rehearse(where, LINK)] == ["raise", "resolve"]
    first, last = [each.json for each in receiver.received]
    assert first["dedup_key"] == last["dedup_key"]
    assert "test" in json.dumps(first["payload"])


@pytest.mark.parametrize("kind", ["alertmanager", "pagerduty", "webhook"])
def test_asking_whether_an_endpoint_answers_sends_no_alarm(receiver, kind):
    where = endpoint(kind, receiver.url)
    receiver.answers = [(200 if kind == "alertmanager" else 405, {})]
    assert "answers" in answers(where)
    assert [each.method for each in receiver.received] == ["GET"]
    with pytest.raises(Undelivered):
        answers(endpoint(kind, f"http://127.0.0.1:{free_port()}"))
