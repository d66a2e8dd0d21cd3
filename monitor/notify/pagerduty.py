"""PagerDuty, Events API v2: trigger, acknowledge and resolve under one `dedup_key`, the incident's id."""

from typing import Any

import msgspec

from monitor.notify.alert import Item, Kind, lines, moment, summary_lines, summary_title, title
from monitor.notify.settings import PAGERDUTY, Endpoint

SEVERITY = {"high": "critical", "medium": "error", "low": "warning"}
ACTION: dict[Kind, str] = {"acknowledge": "acknowledge", "resolve": "resolve"}
MOST_SUMMARY = 1024  # characters that PagerDuty takes


def url(endpoint: Endpoint) -> str:
    """Where events go."""
    return str(endpoint.url) or PAGERDUTY


def body(endpoint: Endpoint, item: Item, link: str) -> bytes:
    """The request's body."""
    told: dict[str, Any] = {
        "routing_key": endpoint.routing_key,
        "event_action": ACTION.get(item.kind, "trigger"),
        "dedup_key": item.key,
    }
    if told["event_action"] == "trigger":
        told |= {"payload": _payload(item), "client": "Tocsin"}
        if link:
            told["client_url"] = link
        if item.alert is not None and item.alert.runbook:
            told["links"] = [{"href": item.alert.runbook, "text": "Runbook"}]
    return msgspec.json.encode(told)


def _payload(item: Item) -> dict[str, Any]:
    if item.summary is not None:
        worst = next((SEVERITY[name] for name in ("high", "medium") if item.summary.priorities.get(name)), "warning")
        return {
            "summary": summary_title(item.summary)[:MOST_SUMMARY],
            "source": "tocsin",
            "severity": worst,
            "custom_details": {"assets": item.summary.assets, "note": "\n".join(summary_lines(item.summary))},
        }
    alert = item.alert
    assert alert is not None
    return {
        "summary": title(alert, "raise")[:MOST_SUMMARY],
        "source": alert.together.origin if alert.together else alert.asset,
        "severity": SEVERITY[alert.priority],
        "timestamp": moment(alert.start),
        "component": alert.detector,
        "group": ", ".join((alert.together.shared if alert.together else alert.labels).values()),
        "class": "anomaly",
        "custom_details": {"text": lines(alert), "labels": alert.labels, "event": alert.event_id},
    }
