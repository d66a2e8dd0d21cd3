"""A real Alertmanager takes what it is sent, and has the alerts that stand; bodies fit its published API."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import structlog
import yaml
from jsonschema import Draft4Validator, FormatChecker

from monitor.notify import alertmanager as ours
from monitor.notify import notifier
from monitor.notify.courier import Courier
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Outbox
from monitor.notify.rehearsal import rehearse
from monitor.notify.sending import answers, send_again, sender
from monitor.notify.settings import Endpoint, Notify
from monitor.notify.telemetry import Metrics
from tests.e2e.site import until
from tests.notify.alertmanager import alertmanager, alerts, program
from tests.notify.events import T0, acknowledged, cleared, event
from tests.require import require

LINK = "https://tocsin.example.com/alarms"
NOW = datetime.now(UTC)


@pytest.fixture
def running(tmp_path, receiver):
    """Address of an Alertmanager whose notifications go to `receiver`."""
    require(program() is not None, "Alertmanager is missing: apt-get install prometheus-alertmanager")
    with alertmanager(tmp_path, receiver.url) as url:
        yield url


@pytest.fixture
def schema(tocsin_schemas: Path):
    """Validates the body of postAlerts."""
    document = yaml.safe_load((tocsin_schemas / "alertmanager-v2-openapi.yaml").read_text())
    body = {"$ref": "#/definitions/postableAlerts", "definitions": document["definitions"]}
    return Draft4Validator(body, format_checker=FormatChecker())


def endpoint(url="http://127.0.0.1:1", **settings) -> Endpoint:
    return Endpoint(name="am", kind="alertmanager", url=url, **settings)


def box_of(where, *events) -> Outbox:
    state = Notifier()
    for each in events:
        notifier.step(Notify(), [where], state, each, T0, T0)
    return state.boxes[where.name]


def recent(**facts):
    """An incident of now: Alertmanager ends what is long past."""
    return event(at_s=(NOW.timestamp() - T0 / 1e9), **facts)


def test_bodies_fit_the_published_api(schema):
    where = endpoint()
    grouped = [
        event("a", labels={"line": "2", "9 site/area": "n"}),
        event("b", 9, labels={"line": "2", "9 site/area": "n"}),
    ]
    raised = event("c", 400, labels={"line": "5"}, runbook="https://wiki/c", priority="low")
    graver = event(
        "c", 410, "escalated", previous="unacknowledged", start_s=400, labels={"line": "5"}, priority="high"
    )
    box = box_of(where, *grouped, raised, graver, acknowledged("c", 420, 400), cleared("c", 430, 400))
    assert len(box.items) == 6
    for item in box.items.values():
        found = ours.posted(where, item, LINK, NOW)
        schema.validate(json.loads(ours.body(found)))
        assert all("_9_site_area" in alert["labels"] or alert["labels"]["asset"] == "c" for alert in found)
    again = [ours.stands(where, alert, LINK, NOW) for alert in box.open.values()]
    schema.validate(json.loads(ours.body(again)))
    assert len(again) == 1


def test_changed_priority_ends_the_alert_of_before():
    where = endpoint()
    graver = event(at_s=9, transition="escalated", previous="unacknowledged", start_s=0, priority="high")
    box = box_of(where, event(priority="low"), graver, cleared())
    ended, begun = ours.posted(where, box.items[2], LINK, NOW)
    assert (ended["labels"]["priority"], begun["labels"]["priority"]) == ("low", "high")
    assert datetime.fromisoformat(ended["endsAt"]) <= NOW < datetime.fromisoformat(begun["endsAt"])
    (over,) = ours.posted(where, box.items[3], LINK, NOW)
    assert over["labels"] == begun["labels"]


def test_incident_is_raised_stays_when_acknowledged_and_ends(running, receiver):
    where = endpoint(running)
    raised = recent(priority="high")
    at = NOW.timestamp() - T0 / 1e9
    box = box_of(
        where, raised, acknowledged(at_s=at + 1, start_s=at, priority="high"), cleared(at_s=at + 2, start_s=at)
    )
    send = sender(where, LINK)
    raise_, acknowledge, resolve = box.items.values()
    send(raise_)
    until(lambda: len(alerts(running)) == 1, "the alert is there")
    (alert,) = alerts(running)
    assert alert["labels"] == {
        "alertname": "TocsinIncident",
        "incident_id": raised.incident_id,
        "asset": "pump-1",
        "detector": "pumps",
        "priority": "high",
        "line": "2",
        "site": "north",
    }
    assert alert["generatorURL"] == LINK
    ends = datetime.fromisoformat(alert["endsAt"])
    assert timedelta(seconds=200) < ends - datetime.now(UTC) < timedelta(seconds=241)
    send(acknowledge)
    until(lambda: "acknowledged_by" in alerts(running)[0]["annotations"], "the acknowledgement is on the same alert")
    assert alerts(running)[0]["fingerprint"] == alert["fingerprint"]
    send(resolve)
    until(lambda: alerts(running) == [], "the alert is over")
    until(lambda: any(each.json["status"] == "resolved" for each in receiver.received), "its end is notified")
    assert receiver.received[0].json["status"] == "firing"


def test_alert_that_is_not_told_again_ends_and_one_that_is_stays(running):
    where = endpoint(running, resend_s=0.5)
    box = box_of(where, recent())
    courier = Courier(where, sender(where, LINK), partial(send_again, where, LINK), structlog.get_logger(), Metrics())
    courier.start(box.items.values(), {})
    until(lambda: len(alerts(running)) == 1, "the alert is there")
    first = alerts(running)[0]["endsAt"]
    until(lambda: alerts(running)[0]["endsAt"] > first, "its end is put off")
    courier.stop(2.0)
    until(lambda: alerts(running) == [], "nobody tells of it any more")


def test_endpoint_answers_and_takes_a_test(running):
    where = endpoint(running)
    assert answers(where) == "Alertmanager answers"
    steps = rehearse(where, LINK)
    next(steps)
    until(lambda: [each["labels"]["asset"] for each in alerts(running)] == ["tocsin-test"], "the test is there")
    list(steps)
    until(lambda: alerts(running) == [], "the test is over")
