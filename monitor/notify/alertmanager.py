"""Alertmanager, API v2: what stands is sent again before it would end there, and ended when it is over."""

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from monitor.notify.alert import SUMMARY, Alert, Item, lines, moment, summary_lines, summary_title, title
from monitor.notify.settings import Endpoint

MISSES = 4  # times that an alert may fail to be sent again before Alertmanager ends it
NAME = "TocsinIncident"
SUMMARY_S = 3600  # that a summary stands, which nothing ends
BATCH = 64  # alerts of one request


def url(endpoint: Endpoint) -> str:
    """Where alerts go."""
    return f"{str(endpoint.url).rstrip('/')}/api/v2/alerts"


def labels(alert: Alert) -> dict[str, str]:
    """What an alert is to Alertmanager: the same labels from raise to resolve, but for the priority."""
    own = {"alertname": NAME, "incident_id": alert.key, "priority": alert.priority}
    return {_name(name): value for name, value in {**alert.identity, **own}.items() if value}


def _name(label: str) -> str:
    """A label's name as every version of Alertmanager takes it: [a-zA-Z_][a-zA-Z0-9_]*."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", label)
    return f"_{name}" if not name or name[0].isdigit() else name


def posted(endpoint: Endpoint, item: Item, link: str, now: datetime) -> list[dict[str, Any]]:
    """The alerts of one item; where labels have changed, the alert of before ends."""
    if item.summary is not None:
        return [_summary(item, link, now)]
    if item.alert is None:
        return []
    ended = []
    if item.previous is not None and labels(item.previous) != labels(item.alert):
        ended = [over(item.previous, link, now)]
    if item.kind == "resolve":
        return [over(item.previous or item.alert, link, now)]
    return [*ended, stands(endpoint, item.alert, link, now)]


def stands(endpoint: Endpoint, alert: Alert, link: str, now: datetime) -> dict[str, Any]:
    """An alert that stands, until it is heard of again."""
    return _alert(alert, link) | {"endsAt": moment(now + timedelta(seconds=MISSES * endpoint.resend_s))}


def over(alert: Alert, link: str, now: datetime) -> dict[str, Any]:
    """An alert that is over now."""
    return _alert(alert, link) | {"endsAt": moment(now)}


def _alert(alert: Alert, link: str) -> dict[str, Any]:
    annotations = {"summary": title(alert, "raise"), "description": "\n".join(lines(alert))}
    if alert.runbook:
        annotations["runbook_url"] = alert.runbook
    if alert.state in ("acknowledged", "latched_acknowledged"):
        annotations["acknowledged_by"] = alert.actor or "an operator"
    if alert.together is not None:
        annotations["group_id"] = alert.together.group_id
    return {
        "labels": labels(alert),
        "annotations": annotations,
        "startsAt": moment(alert.start),
        **({"generatorURL": link} if link else {}),
    }


def _summary(item: Item, link: str, now: datetime) -> dict[str, Any]:
    assert item.summary is not None
    return {
        "labels": {"alertname": SUMMARY, "incident_id": item.key},
        "annotations": {
            "summary": summary_title(item.summary),
            "description": "\n".join(summary_lines(item.summary)),
        },
        "startsAt": moment(now),
        "endsAt": moment(now + timedelta(seconds=SUMMARY_S)),
        **({"generatorURL": link} if link else {}),
    }


def body(alerts: Iterable[dict[str, Any]]) -> bytes:
    """The request's body."""
    return json.dumps(list(alerts)).encode()
