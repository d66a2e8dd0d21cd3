"""Apprise: messages for people, to Slack, Teams, e-mail and what else it knows; an extra."""

import logging
from typing import Any

from monitor.errors import InvalidConfiguration
from monitor.notify.alert import Item, lines, summary_lines, summary_title, title
from monitor.notify.http import Undelivered
from monitor.notify.settings import Endpoint

TYPES = {"raise": "warning", "update": "warning", "acknowledge": "info", "resolve": "success", "summary": "warning"}


def channel(endpoint: Endpoint) -> Any:
    """What Apprise makes of the address. Raises InvalidConfiguration where it makes nothing of it."""
    path = f"notify.endpoints: '{endpoint.name}'"
    try:
        import apprise
    except ModuleNotFoundError as error:
        if error.name != "apprise":
            raise
        raise InvalidConfiguration(
            f"{path}: the package apprise is not installed: pip install 'tocsin[notify]'"
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    found = apprise.Apprise()
    if not found.add(str(endpoint.url)):
        raise InvalidConfiguration(f"{path}: url: Apprise knows no such service, or parts of the address are missing")
    return found


def message(item: Item, link: str) -> tuple[str, str]:
    """Title and body."""
    if item.summary is not None:
        return summary_title(item.summary), "\n".join([*summary_lines(item.summary), *([link] if link else [])])
    assert item.alert is not None
    return title(item.alert, item.kind), "\n".join([*lines(item.alert), *([link] if link else [])])


def send(channel: Any, item: Item, link: str) -> None:
    """Send; raises Undelivered where Apprise says that it failed, which is all that it says."""
    heading, text = message(item, link)
    if not channel.notify(title=heading, body=text, notify_type=TYPES.get(item.kind, "info"), body_format="text"):
        raise Undelivered("Apprise could not deliver it")
