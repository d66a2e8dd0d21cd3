"""The daemon as a process, on both brokers: the same results as a backtest, whatever happens to it."""

import signal
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

from monitor.state import decode_position
from tests.e2e.conftest import MakeSite
from tests.e2e.site import PARTITIONS, DaemonProcess, Site, metrics, readings, until
from tests.require import require_client

pytestmark = pytest.mark.slow


def assert_as_backtested(site: Site, scores, events, daemon: DaemonProcess, once: bool = True) -> None:
    """Wait for all expected windows and events: no others, equal ones, and where told each of them once."""
    until(lambda: site.windows() >= set(scores), "every window is scored", daemon)
    until(lambda: {e.event_id for e in site.incident_events()} >= set(events), "every incident is told", daemon)
    published = site.scores()
    assert {where for where, _ in published} == set(scores)
    for where, score in published:
        assert score == pytest.approx(scores[where], rel=1e-5)
    told = [(event.event_id, event.transition) for event in site.incident_events()]
    assert dict(told) == events
    if once:
        assert len(published) == len(scores)
        assert len(told) == len(events)


def test_daemon_gives_the_windows_scores_and_incidents_of_a_backtest(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=3)
    recording = readings()
    scores, events = site.backtested(recording)
    assert {"raised", "cleared"} <= set(events.values())
    site.send(recording)
    assert_as_backtested(site, scores, events, site.run())


def test_daemon_that_was_killed_goes_on_and_nothing_is_missing(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=3, max_poll_records=50)
    recording = readings(500)
    scores, events = site.backtested(recording)
    site.send(recording)
    for batches in (4, 7):
        daemon = site.run()
        daemon.await_events("batch", batches)
        daemon.kill()
    assert len(site.windows()) < len(scores)
    assert_as_backtested(site, scores, events, site.run(), once=site.exactly_once)


def test_daemon_with_librdkafka_that_was_killed_goes_on_and_nothing_is_missing(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=3, max_poll_records=50, client=require_client("confluent"))
    recording = readings(500)
    scores, events = site.backtested(recording)
    site.send(recording)
    daemon = site.run()
    daemon.await_events("batch", 4)
    daemon.kill()
    assert len(site.windows()) < len(scores)
    daemon = site.run()
    assert_as_backtested(site, scores, events, daemon, once=site.exactly_once)
    assert daemon.events("started")[0]["client"].startswith("confluent-kafka 2.")
    daemon.stop()


def test_daemon_says_which_client_runs_and_warns_where_checksums_are_slow(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site()
    daemon = site.run()
    daemon.await_events("assigned", PARTITIONS)
    assert daemon.events("started")[0]["client"] == f"kafka-python {version('kafka-python')}"
    assert daemon.events("slow_checksums") == []
    daemon.stop()
    (tmp_path / "in_front").mkdir()
    (tmp_path / "in_front" / "crc32c.py").write_text("raise ImportError")  # as where the package is missing
    daemon = site.run(PYTHONPATH=str(tmp_path / "in_front"))
    [told] = daemon.await_events("slow_checksums")
    assert told["level"] == "warning"
    daemon.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemon_under_load_leaves_soon_and_commits_what_it_did(make_site: MakeSite, number: int) -> None:
    site = make_site(max_poll_records=25)
    site.send(readings(600))
    daemon = site.run()
    daemon.await_events("batch", 4)
    code, seconds = daemon.signal(number)
    assert (code, len(daemon.events("stopped"))) == (0, 1), daemon.text
    assert seconds < 10
    done = sum(batch["readings"] for batch in daemon.events("batch"))
    assert sum(offset for offset, _ in site.committed().values()) == done > 0


def test_silent_partitions_are_closed_by_the_clock_and_not_again_after_a_restart(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=2)
    first, later = readings(60), readings(40, first_s=80, seed=8)
    scores, _ = site.backtested(first)
    site.send(first)
    daemon = site.run()
    until(lambda: site.windows() == set(scores), "the last windows are closed by the clock", daemon)
    daemon.stop()
    daemon = site.run()
    daemon.await_events("assigned", PARTITIONS)
    site.send(later)
    until(lambda: any(end > 118 for _, end in site.windows()), "the readings after the restart are scored", daemon)
    assert [where for where, count in Counter(where for where, _ in site.scores()).items() if count > 1] == []
    assert daemon.events("refill_cut") == []


def test_poison_among_good_messages_is_dead_lettered_once_and_changes_nothing_else(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=3)
    recording = readings(60)
    scores, events = site.backtested(recording)
    good = '{"asset":"pump-1","ts":"2026-01-01T00:00:30Z","values":{"a":1}}'
    poison = [
        (b"not json", "not_json", []),
        (b"", "empty", []),
        (None, "empty", []),
        (good.replace("1}}", "NaN}}").encode(), "not_json", []),
        (b'{"ts":1767225600000,"values":{"a":1}}', "no_asset", [("trace", b"\x00\xff")]),
        (good.replace('"a":1', '"a":"high"').encode(), "wrong_type", []),
        (good.replace("2026", "1970").encode(), "time_out_of_range", []),
        (good.replace("2026", "2099").encode(), "time_out_of_range", []),
        (good.replace('"a"', '"z"').encode(), "no_known_channel", []),
        (b'{"note":' + b"[" * 50_000, "too_deep", []),
        (good.replace("pump-1", "p" * 120_000).encode(), "too_large", []),
        (good.encode(), "unknown_encoding", [("content-type", b"application/avro")]),
        (b"ARROW1", "not_arrow", [("content-type", b"application/vnd.apache.arrow.stream")]),
    ]
    messages = site.encoded(recording)
    for place, (value, _, headers) in enumerate(poison):
        messages.insert(20 * place, (b"poison-%d" % place, value, headers))
    site.send_raw(messages)
    daemon = site.run()
    assert_as_backtested(site, scores, events, daemon)
    letters = {}
    for record in site.records(site.config.topics.deadletter):
        told = dict(record.headers)
        own = [header for header in record.headers if not header[0].startswith("tocsin-")]
        assert record.key not in letters
        letters[record.key] = (record.value, told["tocsin-reason"].decode(), own)
    assert letters == {b"poison-%d" % place: each for place, each in enumerate(poison)}
    until(lambda: metrics(daemon).get('tocsin_dead_letters_total{reason="no_asset"}') == 1.0, "it is counted", daemon)


def test_telemetry_answers_while_the_daemon_works(make_site: MakeSite) -> None:
    site = make_site()
    site.send(readings(60))
    daemon = site.run()
    until(lambda: daemon.ask("/readyz")[0] == 200, "the daemon is ready", daemon)
    assert daemon.ask("/healthz")[0] == 200
    assert daemon.ask("/elsewhere")[0] == 404
    until(lambda: metrics(daemon)["tocsin_readings_total"] > 0, "readings are counted", daemon)
    values = metrics(daemon)
    assert values["tocsin_windows_total"] > 0
    assert values["tocsin_assigned_partitions"] == PARTITIONS
    assert values["tocsin_inference_seconds_count"] > 0


def test_position_says_what_a_restart_needs_in_few_bytes_whatever_the_number_of_assets(make_site: MakeSite) -> None:
    site = make_site()
    site.send(readings(10, pumps=400))
    daemon = site.run()
    until(lambda: sum(offset for offset, _ in site.committed().values()) > 3900, "everything is committed", daemon)
    for offset, told in site.committed().values():
        assert 0 < len(told) < 4096
        position = decode_position(offset, told)
        assert position.low < position.offset
        assert position.stream is not None


def test_log_that_retention_has_cut_is_said_aloud_and_work_goes_on(make_site: MakeSite) -> None:
    site = make_site()
    site.send(readings(60))
    daemon = site.run()
    until(lambda: bool(site.windows()), "windows are scored", daemon)
    daemon.stop()
    site.forget_readings()
    daemon = site.run()
    told = daemon.await_events("refill_cut")
    assert all(line["first"] > line["needed"] for line in told)
    site.send(readings(30, first_s=60, seed=8))
    until(lambda: any(end > 80 for _, end in site.windows()), "new readings are scored", daemon)


def test_two_daemons_share_the_work_and_the_results_are_those_of_one(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=3, max_poll_records=50)
    recording = readings(200)
    scores, events = site.backtested(recording)
    one = site.run("one")
    until(lambda: metrics(one)["tocsin_assigned_partitions"] == PARTITIONS, "the first one owns everything", one)
    two = site.run("two")
    until(lambda: metrics(one)["tocsin_assigned_partitions"] < PARTITIONS, "the first one gives some up", one, two)
    until(lambda: two.ask("/readyz")[0] == 200, "the second one has work", one, two)
    site.send(recording)
    assert_as_backtested(site, scores, events, one, once=site.exactly_once)
    assert one.events("batch")
    assert two.events("batch")
