"""Metrics and log events of `tocsin notify`, all declared here. No label has a value that comes from data."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from monitor.performance import PRIORITIES, Figures

EVENTS = {
    "notifying": "This process has the events: its endpoints, positions, and what was waiting to be sent.",
    "standing_by": "Another process of this group has the events; this one waits for its turn.",
    "event_unreadable": "A message of the anomalies topic was skipped: it is no event of this version.",
    "endpoint_away": "An endpoint does not answer, or asks to wait: what is for it is tried again, and kept.",
    "endpoint_answers": "An endpoint takes notifications again.",
    "notification_refused": "An endpoint does not take a notification, now or later: it is given up, and this told.",
    "notifications_gathered": "New notifications exceeded an endpoint's rate or place: one summary tells of them.",
    "notified": "One batch of events: how many, of which groups, and what waits for the endpoints.",
}
FIGURES = {
    "per_hour": "Annunciations per hour and operator, in the days of `notify.figures`",
    "last_hour": "Annunciations per operator in the last hour",
    "peak_10_minutes": "Most annunciations per operator within 10 minutes",
    "flood_share": "Share of time in flood",
    "top_share": "Share of the ten most frequent alarms in all annunciations",
    "fleeting": "Alarms that cleared before anybody could act",
    "standing": "Alarms whose condition stands",
    "unacknowledged": "Alarms that wait for acknowledgement",
    "shelved": "Alarms that are shelved",
    "suppressed": "Alarms that are suppressed by design",
    "out_of_service": "Alarms that are out of service",
    "acknowledged_median_s": "Time to acknowledge, median, in s",
    "acknowledged_p90_s": "Time to acknowledge, 90 %, in s",
}


class Metrics:
    """Every metric that the process has, on a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        r = self.registry
        self.events = Counter("tocsin_notify_events", "Events handled", registry=r)
        self.unreadable = Counter("tocsin_notify_unreadable", "Messages that are no event", registry=r)
        self.active = Gauge(
            "tocsin_notify_active", "1 where this process has the events, 0 where it stands by", registry=r
        )
        self.lag = Gauge("tocsin_notify_lag_records", "Events not yet read", registry=r)
        self.retries = Counter(
            "tocsin_notify_broker_retries", "Calls to the broker that were tried again", registry=r
        )
        self.rewinds = Counter("tocsin_notify_rewinds", "Deliveries of state whose work is done again", registry=r)
        self.groups = Counter("tocsin_notify_groups", "Group events", ["transition"], registry=r)
        self.open_groups = Gauge("tocsin_notify_open_groups", "Groups that ring", registry=r)
        self.deliveries = Counter("tocsin_notify_deliveries", "Notifications taken", ["endpoint"], registry=r)
        self.failures = Counter(
            "tocsin_notify_failures", "Notifications that an endpoint refused for good", ["endpoint"], registry=r
        )
        self.endpoint_retries = Counter(
            "tocsin_notify_retries", "Notifications that failed and are tried again", ["endpoint"], registry=r
        )
        self.gathered = Counter(
            "tocsin_notify_gathered", "New notifications that only a summary tells of", ["endpoint"], registry=r
        )
        self.pending = Gauge("tocsin_notify_pending", "Notifications that wait", ["endpoint"], registry=r)
        self.delay_s = Histogram(
            "tocsin_notify_delay_seconds", "From a notification being decided to its being taken", ["endpoint"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800), registry=r,
        )  # fmt: skip
        for name, text in FIGURES.items():
            setattr(self, name, Gauge(f"tocsin_alarms_{name}", text, registry=r))
        self.flooding = Gauge("tocsin_alarms_flooding", "1 while alarms are in flood", registry=r)
        self.chattering = Gauge(
            "tocsin_alarms_chattering", "Alarms that rang three times within a minute", registry=r
        )
        self.stale = Gauge("tocsin_alarms_stale", "Alarms that stand for too long", registry=r)
        self.priorities = Gauge(
            "tocsin_alarms_priority_share", "Share of a priority in all annunciations", ["priority"], registry=r
        )

    def show(self, found: Figures) -> None:
        """Set the gauges of the standard's figures; one that does not exist is NaN."""
        for name in FIGURES:
            value = getattr(found, name)
            getattr(self, name).set(float("nan") if value is None else value)
        self.flooding.set(found.flooding)
        self.chattering.set(len(found.chattering))
        self.stale.set(len(found.stale))
        for name in PRIORITIES:
            self.priorities.labels(name).set(found.priorities.get(name, float("nan")))
