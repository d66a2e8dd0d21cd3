"""Sends one item to an endpoint, by its kind; says nothing of when, or how often."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from monitor.notify import alertmanager, apprise, pagerduty, webhook
from monitor.notify.alert import Alert, Item
from monitor.notify.http import Refused, ask, post
from monitor.notify.settings import Endpoint

Send = Callable[[Item], None]


def sender(endpoint: Endpoint, dashboard_url: str, wall: Callable[[], float] = time.time) -> Send:
    """A function that sends; it raises Undelivered or Refused. Secrets are in the endpoint's settings by now."""
    headers = {name: str(value) for name, value in endpoint.headers.items()}

    def now() -> datetime:
        return datetime.fromtimestamp(wall(), UTC)

    def to_alertmanager(item: Item) -> None:
        alerts = alertmanager.posted(endpoint, item, dashboard_url, now())
        if alerts:
            post(alertmanager.url(endpoint), alertmanager.body(alerts), headers, endpoint.timeout_s)

    def to_pagerduty(item: Item) -> None:
        body = pagerduty.body(endpoint, item, dashboard_url)
        post(pagerduty.url(endpoint), body, headers, endpoint.timeout_s)

    def to_webhook(item: Item) -> None:
        body = bytes(item.body)
        told = webhook.headers(endpoint, body, f"{endpoint.name}-{item.number}")
        post(str(endpoint.url), body, told | headers, endpoint.timeout_s)

    if endpoint.kind == "apprise":
        channel = apprise.channel(endpoint)
        return lambda item: apprise.send(channel, item, dashboard_url)
    return {"alertmanager": to_alertmanager, "pagerduty": to_pagerduty, "webhook": to_webhook}[endpoint.kind]


def send_again(endpoint: Endpoint, dashboard_url: str, alerts: Iterable[Alert]) -> None:
    """Tell an Alertmanager of all that stands; raises Undelivered or Refused."""
    now, standing = datetime.now(UTC), list(alerts)
    headers = {name: str(value) for name, value in endpoint.headers.items()}
    for begin in range(0, len(standing), alertmanager.BATCH):
        part: list[dict[str, Any]] = [
            alertmanager.stands(endpoint, alert, dashboard_url, now)
            for alert in standing[begin : begin + alertmanager.BATCH]
        ]
        post(alertmanager.url(endpoint), alertmanager.body(part), headers, endpoint.timeout_s)


def answers(endpoint: Endpoint) -> str:
    """Ask whether an endpoint is there, without an alarm, and say how it answered; raises as sending does."""
    if endpoint.kind == "apprise":
        apprise.channel(endpoint)
        return "Apprise knows the service; only a message would tell whether it answers (`tocsin notify --test`)"
    headers = {name: str(value) for name, value in endpoint.headers.items()}
    if endpoint.kind == "alertmanager":
        ask(f"{str(endpoint.url).rstrip('/')}/api/v2/status", headers, endpoint.timeout_s)
        return "Alertmanager answers"
    where = pagerduty.url(endpoint) if endpoint.kind == "pagerduty" else str(endpoint.url)
    try:
        ask(where, headers, endpoint.timeout_s)
    except Refused as error:  # that it takes no question is an answer
        return f"answers ({error}); only a message would tell whether it takes one (`tocsin notify --test`)"
    return "answers"
