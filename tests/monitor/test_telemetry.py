"""Metrics, probes and the log: all declared, none with an endless set of labels, told over HTTP."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import monitor
from monitor.notify.telemetry import EVENTS as NOTIFY_EVENTS
from monitor.telemetry import EVENTS, Metrics, TelemetryServer, configure_logging, metric_table

BOUNDED_LABELS = {"kind", "detector", "reason", "transition", "verdict", "outcome", "partition"}
SOURCES = [path.read_text() for path in Path(monitor.__file__).parent.rglob("*.py")]


@pytest.fixture
def served():
    """Asks a server for a path: (status, content type, body); `missing` says what healthy and ready lack."""
    missing = {"/healthz": "", "/readyz": ""}
    metrics = Metrics()
    server = TelemetryServer(
        "127.0.0.1", 0, metrics.registry, lambda: missing["/healthz"], lambda: missing["/readyz"]
    )

    def ask(path):
        try:
            with urllib.request.urlopen(server.address + path, timeout=5) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()

    ask.metrics, ask.missing = metrics, missing
    yield ask
    server.close()


def test_every_metric_that_is_used_is_declared():
    used = {
        name
        for source in SOURCES
        for name in re.findall(r"\bmetrics\.(\w+)\.(?:inc|set|observe|labels|time|remove)", source)
    }
    used |= {name for source in SOURCES for name in re.findall(r"\bmetrics\.(\w+_s)\b", source)}
    assert used
    assert used <= set(vars(Metrics()))


def test_every_log_event_that_is_used_is_declared_and_the_other_way_round():
    used = {
        name for source in SOURCES for name in re.findall(r'log\.(?:info|warning|error|debug)\(\s*"(\w+)"', source)
    }
    assert used
    declared = EVENTS | NOTIFY_EVENTS
    assert used <= set(declared)
    elsewhere = [source for source in SOURCES if "EVENTS = {" not in source]
    assert {name for name in declared if any(f'"{name}"' in source for source in elsewhere)} == set(declared)


def test_no_metric_has_a_label_with_an_endless_set_of_values():
    labels = {label for _, _, labels, _ in metric_table() for label in labels.split(", ") if label}
    assert labels <= BOUNDED_LABELS


def test_every_metric_has_a_name_of_ours_and_a_meaning():
    rows = metric_table()
    assert len(rows) == len({name for name, _, _, _ in rows}) == len(vars(Metrics())) - 1
    for name, kind, _, meaning in rows:
        assert re.fullmatch(r"tocsin_[a-z_]+", name)
        assert name.endswith("_total") == (kind == "counter")
        assert kind != "histogram" or name.endswith("_seconds")
        assert meaning


def test_metrics_are_told_in_the_format_of_prometheus(served):
    served.metrics.readings.inc(5)
    served.metrics.dead.labels("not_json").inc()
    served.metrics.inference_s.observe(0.02)
    status, kind, body = served("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    samples = {
        sample.name: sample.value for family in text_string_to_metric_families(body) for sample in family.samples
    }
    assert samples["tocsin_readings_total"] == 5
    assert samples["tocsin_dead_letters_total"] == 1
    assert samples["tocsin_inference_seconds_count"] == 1
    assert {name for name, _, labels, _ in metric_table() if not labels} <= {
        name.removesuffix("_count") for name in samples
    }
    assert served("/metrics?name[]=x")[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probe_answers_200_or_503_with_what_is_missing(served, path):
    status, kind, body = served(path)
    assert (status, kind, json.loads(body)) == (200, "application/json", {"ok": True, "missing": None})
    served.missing[path] = 'no partition is "assigned"'
    status, _, body = served(path)
    assert (status, json.loads(body)) == (503, {"ok": False, "missing": 'no partition is "assigned"'})
    other = {"/healthz": "/readyz", "/readyz": "/healthz"}[path]
    assert served(other)[0] == 200


def test_other_paths_are_404_and_say_which_there_are(served):
    for path in ("/", "/metrics/x", "/../etc/passwd", "/healthzz"):
        status, _, body = served(path)
        assert status == 404
        assert "/healthz" in body


def test_two_registries_do_not_meet():
    first, second = Metrics(), Metrics()
    first.readings.inc(3)
    assert second.registry.get_sample_value("tocsin_readings_total") == 0


def test_log_is_one_json_object_a_line_on_standard_error(capfd):
    log = configure_logging("info")
    log.debug("unseen")
    log.info("batch", readings=5, text="line\nbreak")
    log.warning("retrying", detail='"quoted"')
    out, err = capfd.readouterr()
    assert out == ""
    first, second = (json.loads(line) for line in err.splitlines())
    assert (first["event"], first["level"], first["readings"], first["text"]) == ("batch", "info", 5, "line\nbreak")
    assert (second["event"], second["level"]) == ("retrying", "warning")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", first["timestamp"])
