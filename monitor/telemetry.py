"""Metrics and log events, all declared here; /metrics, /healthz and /readyz over HTTP.

No label has an unbounded set of values: no asset, no channel, no offset.
"""

import json
import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from monitor.logfile import STANDARD_ERROR, LogFile

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

EVENTS = {
    "started": "The process runs; its detectors, models, provider, Kafka client and telemetry address.",
    "slow_checksums": "The package crc32c is missing: kafka-python computes checksums in Python, many times slower.",
    "assigned": "A partition was taken over: what is committed, how far back windows go, which snapshot serves.",
    "revoked": "A partition left, its windows and alarm state with it.",
    "batch": "One step: readings, windows, incidents, dead letters, lag and times.",
    "topic_missing": "The input topic is gone; the daemon waits for it.",
    "topic_recreated": "The input topic was created anew: it is read from its beginning; alarms stay, windows go.",
    "offset_gone": "The log does not have the reading that is next: retention passed it, or a broker lost it. Work "
    "goes on at the nearest offset there is.",
    "state_lost": "The state topic has fewer entries than were written: alarms that were open may be raised again.",
    "refill_cut": "Retention has deleted readings that are needed: open windows stay partly empty, and incidents "
    "are not revised.",
    "snapshot_ignored": "A snapshot of open windows does not serve, and why: they are rebuilt from the input.",
    "snapshot_failed": "A snapshot of open windows could not be written; the next one is tried in its time.",
    "state_unreadable": "An entry of the state topic was skipped: it is none of this version's.",
    "model_fault": "A model gave NaN or infinity for some windows, or its call failed: they are not scored, but for "
    "those that the model before it could score.",
    "drift_began": "An asset began to drift: its inputs, scores or level, since which window. It changes no alarm.",
    "drift_ended": "An asset drifts no more.",
    "model_refused": "A model that a pointer or file names is not taken, and why; the one in service stays.",
    "model_rolled_back": "A model failed in service where the one before it did not: that one serves again.",
    "model_serves": "Another model has taken over, from this step on.",
    "command": "A person's command was obeyed or rejected: what, by whom, and why not.",
    "command_unreadable": "A message on the commands' topic is no command; it is passed over.",
    "commands_unread": "The commands' topic cannot be read, and why; it is tried again.",
    "retrying": "A call to the broker failed and is tried again.",
    "rewinding": "A delivery failed or may have: work since the committed position is done again.",
    "waiting_for_topics": "Topics are missing or have too few partitions; work begins when they are mended.",
    "log_left_out": "So many lines before this one are missing: the log could not be written, as on a full disk.",
    "left": "The member was taken out of its group on an orderly end: others have its partitions at once.",
    "stopped": "The daemon has ended; its partitions are its own until its session ends, unless it left the group.",
}
# What the daemon can go on after, though something was lost or changed: each is an event, too.
RECOVERIES = ("topic_missing", "topic_recreated", "offset_gone", "refill_cut", "state_lost")


class Metrics:
    """Every metric that the daemon has, on a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        r = self.registry
        self.readings = Counter("tocsin_readings", "Readings processed", registry=r)
        self.late = Counter("tocsin_late_readings", "Readings that came after their window was closed", registry=r)
        self.resets = Counter("tocsin_resets", "Resets of an asset's windows after long silence", registry=r)
        self.dead = Counter("tocsin_dead_letters", "Messages that are no reading", ["reason"], registry=r)
        self.ignored = Counter("tocsin_ignored_values", "Values of channels that no model uses", registry=r)
        self.unwatched = Counter("tocsin_unwatched_readings", "Readings of assets without a detector", registry=r)
        self.windows = Counter("tocsin_windows", "Windows closed", registry=r)
        self.not_scored = Counter("tocsin_windows_not_scored", "Windows with too little observed", registry=r)
        self.over = Counter("tocsin_windows_over_limit", "Windows scored over their limit", registry=r)
        self.faults = Counter(
            "tocsin_model_faults", "Windows for which a model gave no finite score", ["detector"], registry=r
        )
        self.refused = Counter(
            "tocsin_model_refused", "Models that were to serve and were not taken", ["detector"], registry=r
        )
        self.swaps = Counter("tocsin_model_swaps", "Models that took over", ["detector"], registry=r)
        self.rollbacks = Counter(
            "tocsin_model_rollbacks", "Models that failed in service and gave way to the one before", ["detector"],
            registry=r,
        )  # fmt: skip
        self.incidents = Counter("tocsin_incident_events", "Incident events", ["transition"], registry=r)
        self.sensors = Counter(
            "tocsin_sensor_events", "Verdicts on sensors that changed, by the new one", ["verdict"], registry=r
        )
        self.revisions = Counter("tocsin_revisions", "Incidents revised by late readings", registry=r)
        self.commands = Counter(
            "tocsin_commands", "Commands of people, by outcome: obeyed, rejected, unreadable", ["outcome"], registry=r
        )
        self.retries = Counter("tocsin_retries", "Calls to the broker that failed and were tried again", registry=r)
        self.rewinds = Counter("tocsin_rewinds", "Deliveries that failed and whose work is done again", registry=r)
        self.recoveries = Counter(
            "tocsin_recoveries", "What was found lost or changed and gone on after", ["kind"], registry=r
        )
        for kind in RECOVERIES:
            self.recoveries.labels(kind)
        self.lag = Gauge("tocsin_lag_records", "Messages not yet read", ["partition"], registry=r)
        self.lag_s = Gauge("tocsin_lag_seconds", "Age of the newest message processed", ["partition"], registry=r)
        self.assets = Gauge("tocsin_assets", "Assets seen", registry=r)
        self.drifting = Gauge(
            "tocsin_drifting_assets", "Assets that drift, by kind: inputs, scores, level", ["detector", "kind"],
            registry=r,
        )  # fmt: skip
        self.assigned = Gauge("tocsin_assigned_partitions", "Partitions that this process owns", registry=r)
        self.batch_s = Histogram(
            "tocsin_batch_seconds", "Duration of a step with delivery", buckets=_SECONDS, registry=r
        )
        self.inference_s = Histogram(
            "tocsin_inference_seconds", "Duration of a model call", buckets=_SECONDS, registry=r
        )
        self.end_to_end_s = Histogram(
            "tocsin_end_to_end_seconds", "From a batch's oldest append to its scores being acknowledged",
            buckets=_SECONDS, registry=r,
        )  # fmt: skip


def metric_table(metrics: object | None = None) -> list[tuple[str, str, str, str]]:
    """Name, kind, labels and meaning of every metric, by default of the daemon, for the documentation."""
    rows = []
    for metric in vars(metrics or Metrics()).values():
        if not isinstance(metric, Counter | Gauge | Histogram):
            continue
        name = metric._name + ("_total" if isinstance(metric, Counter) else "")
        labels = ", ".join(metric._labelnames)
        rows.append((name, type(metric).__name__.lower(), labels, metric._documentation))
    return rows


def configure_logging(level: str = "info") -> Any:
    """A logger that writes one JSON object a line to standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, LogFile(STANDARD_ERROR))),
    )
    logging.getLogger("kafka").setLevel(logging.ERROR)
    return structlog.get_logger()


class TelemetryServer:
    """Serves /metrics, /healthz and /readyz from a thread of its own."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, healthy: Callable[[], str], ready: Callable[[], str]
    ) -> None:
        """`healthy` and `ready` return what is missing, or an empty text; port 0 takes any free one."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path in ("/healthz", "/readyz"):
                    missing = healthy() if path == "/healthz" else ready()
                    body = json.dumps({"ok": not missing, "missing": missing or None}).encode()
                    self._answer(503 if missing else 200, "application/json", body)
                else:
                    self._answer(404, "text/plain", b"there are /metrics, /healthz and /readyz\n")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep probes out of the log."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.address = f"http://{host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
