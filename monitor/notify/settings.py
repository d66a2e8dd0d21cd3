"""Settings of notification: `[notify]` and its tables, and `[[notify.endpoints]]`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from monitor.annunciations import Norms
from monitor.errors import InvalidConfiguration
from monitor.events import Priority
from monitor.grouping import Rules

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Secret = str | dict[str, str]
Kind = Literal["alertmanager", "pagerduty", "webhook", "apprise"]


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where notifications go, which ones, and how fast. A secret is `{ env = "NAME" }` or `{ file = "PATH" }`."""

    name: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")],
        Meta(description="Name of the endpoint, in the log and in metrics; what is undelivered is kept under it."),
    ]
    kind: Annotated[
        Kind,
        Meta(
            description="alertmanager: its API v2. pagerduty: Events API v2. webhook: each event as a CloudEvent in "
            "JSON. apprise: messages to Slack, Teams, e-mail and the rest, from the extra `notify`."
        ),
    ]
    url: Annotated[
        Secret,
        Meta(
            description="Address: of the Alertmanager (without /api), of the webhook, or Apprise's; a secret where "
            "it has one in it. PagerDuty has its own."
        ),
    ] = ""
    routing_key: Annotated[Secret, Meta(description="PagerDuty's integration key.")] = ""
    headers: Annotated[
        dict[str, Secret], Meta(description="Headers of each request, such as Authorization; not for apprise.")
    ] = field(default_factory=dict)
    secret: Annotated[
        Secret,
        Meta(description="A webhook's body is signed with it: `X-Tocsin-Signature: sha256=` and the HMAC in hex."),
    ] = ""
    min_priority: Annotated[Priority, Meta(description="Least priority that is notified.")] = "low"
    match: Annotated[
        dict[str, str],
        Meta(description="Globs that labels must match; `asset` and `detector` are labels too. None: everything."),
    ] = field(default_factory=dict)
    send_resolved: Annotated[bool, Meta(description="Tell when what was notified is over.")] = True
    group: Annotated[bool, Meta(description="Incidents of a group are one notification.")] = True
    rate_per_minute: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        Meta(
            description="New notifications a minute; what exceeds it is gathered into one summary. None: 60 for "
            "pagerduty and apprise, which call people, and no limit for the others."
        ),
    ] = None
    burst: Annotated[Annotated[int, Meta(ge=1)], Meta(description="New notifications that may come at once.")] = 60
    max_pending: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)],
        Meta(description="Notifications that may wait for an endpoint that is away; more go into its summary."),
    ] = 5000
    timeout_s: Annotated[Seconds, Meta(description="Longest wait for an answer.")] = 10.0
    retry_most_s: Annotated[Seconds, Meta(description="Longest time between two tries.")] = 60.0
    resend_s: Annotated[
        Seconds,
        Meta(description="An Alertmanager is told again so often; what it misses four times in a row is over to it."),
    ] = 60.0


class Notify(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The process `tocsin notify`: its group, its patience, and where its metrics are."""

    group: Annotated[
        str | None, Meta(description="Name of its consumer group. None: `delivery.group` and `-notify`.")
    ] = None
    instance_id: Annotated[
        str | None,
        Meta(
            description="This process in that group. None: `delivery.instance_id`. Of several processes one works, "
            "the others stand by."
        ),
    ] = None
    order_wait_s: Annotated[
        Annotated[float, Meta(ge=0, le=3600)],
        Meta(
            description="How long events are held so that those of several partitions come in the order of their "
            "times: until a newer one by so much has come, or so long by the clock."
        ),
    ] = 2.0
    telemetry_port: Annotated[
        Annotated[int, Meta(ge=-1, le=65535)],
        Meta(description="Port of its /metrics, /healthz and /readyz on `telemetry.host`; 0: any free, -1: none."),
    ] = 9465
    dashboard_url: Annotated[str, Meta(description="Address of the dashboard, for links in notifications.")] = ""
    figures: Norms = Norms()
    grouping: Rules = Rules()
    endpoints: tuple[Endpoint, ...] = ()


def checked(settings: Notify, base: Path) -> Notify:
    """The settings, if they fit together; files of secrets are relative to `base`. Raises InvalidConfiguration."""
    names = [endpoint.name for endpoint in settings.endpoints]
    for endpoint in settings.endpoints:
        path = f"notify.endpoints: '{endpoint.name}'"
        if names.count(endpoint.name) > 1:
            raise InvalidConfiguration(f"{path} stands twice")
        if endpoint.kind == "pagerduty" and not endpoint.routing_key:
            raise InvalidConfiguration(f"{path} needs `routing_key`")
        if endpoint.kind != "pagerduty" and not endpoint.url:
            raise InvalidConfiguration(f"{path} needs `url`")
        _refuse_others(endpoint, path)
        if isinstance(endpoint.url, str) and endpoint.url:
            _check_url(endpoint.kind, endpoint.url, path)
    return replace(settings, endpoints=tuple(_placed(endpoint, base) for endpoint in settings.endpoints))


def _refuse_others(endpoint: Endpoint, path: str) -> None:
    only: dict[str, tuple[Kind, ...]] = {
        "routing_key": ("pagerduty",),
        "secret": ("webhook",),
        "headers": ("alertmanager", "pagerduty", "webhook"),
    }
    for name, kinds in only.items():
        if getattr(endpoint, name) and endpoint.kind not in kinds:
            raise InvalidConfiguration(f"{path}: `{name}` is for {' and '.join(kinds)}, this is {endpoint.kind}")


def _check_url(kind: Kind, url: str, path: str) -> None:
    parts = urlsplit(url)
    if kind == "apprise":
        if not parts.scheme:
            raise InvalidConfiguration(f"{path}: url: it has no scheme, such as slack:// or mailto://")
    elif parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidConfiguration(f"{path}: url: it is no address that begins with http:// or https://")


def _placed(endpoint: Endpoint, base: Path) -> Endpoint:
    """The endpoint with its files' places as seen from anywhere."""

    def place(value: Secret) -> Secret:
        return {"file": str(base / value["file"])} if isinstance(value, dict) and "file" in value else value

    return replace(
        endpoint,
        url=place(endpoint.url),
        routing_key=place(endpoint.routing_key),
        secret=place(endpoint.secret),
        headers={name: place(value) for name, value in endpoint.headers.items()},
    )


def revealed(endpoint: Endpoint, reveal: Callable[[str, Any], Any]) -> Endpoint:
    """The endpoint with its secrets instead of their places; only who notifies needs them.

    `reveal` gives what a setting, by its path, points to, and raises InvalidConfiguration.
    """
    path = f"notify.endpoints: '{endpoint.name}'"
    headers = {name: str(reveal(f"{path}: headers.{name}", value)) for name, value in endpoint.headers.items()}
    url = str(reveal(f"{path}: url", endpoint.url))
    if url:
        _check_url(endpoint.kind, url, path)
    return replace(
        endpoint,
        url=url,
        routing_key=str(reveal(f"{path}: routing_key", endpoint.routing_key)),
        secret=str(reveal(f"{path}: secret", endpoint.secret)),
        headers=headers,
    )
