"""The daemon as a process when the broker or its topics change: late, grown, anew, cut, emptied; and its group."""

import json
import signal

import pytest

from monitor.broker import EmbeddedBroker
from monitor.recording import Recording
from tests.e2e.site import PARTITIONS, DaemonProcess, Site, metrics, readings, tocsin, until

pytestmark = pytest.mark.slow
SESSION_S = 30


def of_others(recording: Recording) -> Recording:
    """The same readings, of assets that no other partition has."""
    names = [name.replace("pump-", "pump-9") for name in recording.assets]
    return Recording(names, recording.asset, recording.ts, recording.channels, recording.values)


def test_telemetry_answers_before_there_is_a_broker_and_says_what_is_waited_for(
    early: Site, broker: EmbeddedBroker
) -> None:
    daemon = early.run()
    daemon.await_events("retrying")
    assert daemon.ask("/healthz")[0] == 200
    status, body = daemon.ask("/readyz")
    assert (status, json.loads(body)["ok"]) == (503, False)
    waits_for = f"waiting for the broker: No answer from the broker at {broker.bootstrap}"
    assert json.loads(body)["missing"].startswith(waits_for)
    broker.start()
    daemon.await_events("waiting_for_topics")
    until(lambda: "tocsin topics" in daemon.ask("/readyz")[1], "what is waited for is said", daemon)
    early.create_topics()
    until(lambda: daemon.ask("/readyz")[0] == 200, "the daemon is ready", daemon)
    daemon.stop()


@pytest.mark.kafka
def test_partitions_that_are_added_are_read_from_their_first_reading_once_state_has_them_too(apache: Site) -> None:
    apache.use(metadata_max_age_ms=1000)
    daemon = apache.run()
    daemon.await_events("assigned", PARTITIONS)
    apache.add_partitions(PARTITIONS + 1)
    added = of_others(readings(30, pumps=2))
    until(lambda: sent(apache, PARTITIONS, added), "the partition takes readings", daemon)
    [told] = daemon.await_events("waiting_for_topics")
    assert "`tocsin topics`" in told["detail"]
    assert daemon.ask("/readyz")[0] == 503
    mended = tocsin("topics", "--config", str(apache.config_file))
    assert mended.stdout.count("grown") == 2, mended
    until(lambda: ("pump-90", 27) in apache.windows(), "what came before is scored", daemon)
    until(lambda: daemon.ask("/readyz")[0] == 200, "the daemon is ready", daemon)
    apache.send(readings(30))
    until(lambda: any(asset == "pump-0" for asset, _ in apache.windows()), "the others go on", daemon)
    daemon.stop()


def sent(site: Site, partition: int, recording: Recording) -> bool:
    try:
        site.send_to(partition, recording)
    except ValueError:  # the broker does not tell of the partition yet
        return False
    return True


@pytest.mark.kafka
def test_input_topic_that_is_created_anew_while_the_daemon_runs_is_read_from_its_beginning(apache: Site) -> None:
    apache.use(metadata_max_age_ms=1000)
    apache.send(readings(60))
    daemon = apache.run()
    until(lambda: len(apache.windows()) > 50, "windows are scored", daemon)
    apache.delete(apache.config.topics.readings)
    daemon.await_events("topic_missing")
    until(lambda: daemon.ask("/readyz")[0] == 503, "the daemon is not ready", daemon)
    assert daemon.ask("/healthz")[0] == 200
    apache.create_topics()
    again = readings(40, first_s=10, seed=9)
    apache.send(again)
    scores, _ = apache.backtested(again, upto=49)
    until(
        lambda: latest(apache).items() >= as_rounded(scores).items(), "all windows of the new log are scored", daemon
    )
    assert daemon.events("topic_recreated")
    assert metrics(daemon)['tocsin_recoveries_total{kind="topic_missing"}'] == 1
    daemon.stop()


def latest(site: Site) -> dict[tuple[str, int], float]:
    """The score of each window that was published last."""
    return as_rounded(dict(site.scores()))


def as_rounded(scores: dict[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    return {where: float(f"{score:.4g}") for where, score in scores.items()}


@pytest.mark.kafka
def test_readings_that_retention_deletes_before_they_are_read_are_told_and_work_goes_on(apache: Site) -> None:
    apache.use(session_timeout_s=SESSION_S)
    apache.send(readings(30))
    daemon = apache.run()
    until(lambda: len(apache.windows()) > 20, "windows are scored", daemon)
    daemon.process.send_signal(signal.SIGSTOP)
    apache.send_to(0, readings(10, pumps=1, first_s=40))  # its last question is answered with the first of them
    apache.forget_readings()
    daemon.process.send_signal(signal.SIGCONT)
    told = daemon.await_events("offset_gone")
    assert all(line["first"] > line["committed"] for line in told)
    assert metrics(daemon)['tocsin_recoveries_total{kind="offset_gone"}'] >= 1
    apache.send(readings(30, first_s=60, seed=8))
    until(lambda: any(end > 80 for _, end in apache.windows()), "new readings are scored", daemon)
    daemon.stop()


@pytest.mark.kafka
def test_state_topic_that_lost_its_entries_is_told_and_work_goes_on(apache: Site) -> None:
    apache.send(readings(200))
    daemon = apache.run()
    until(lambda: bool(apache.incident_events()), "incidents are told", daemon)
    until(lambda: any(end > 190 for _, end in apache.windows()), "windows are scored", daemon)
    daemon.stop()
    apache.delete(apache.config.topics.state)
    apache.create_topics()
    daemon = apache.run()
    told = daemon.await_events("state_lost")
    assert all(line["found"] < line["written"] for line in told)
    apache.send(readings(30, first_s=200, seed=8))
    until(lambda: any(end > 220 for _, end in apache.windows()), "new readings are scored", daemon)
    daemon.stop()


@pytest.mark.kafka
def test_member_that_leaves_on_its_stop_gives_its_partitions_away_before_its_session_ends(apache: Site) -> None:
    apache.use(session_timeout_s=SESSION_S, leave_on_stop="true")
    one, two = apache.run("one"), apache.run("two")
    until(lambda: sum(map(owned, (one, two))) == PARTITIONS and owned(one) and owned(two), "both work", one, two)
    one.stop()
    assert one.events("left")[0]["level"] == "info"
    until(lambda: owned(two) == PARTITIONS, "the other one has all partitions", two, within_s=SESSION_S / 2)
    two.stop()


@pytest.mark.kafka
def test_member_that_died_for_good_is_taken_out_of_its_group_by_a_command(apache: Site) -> None:
    apache.use(session_timeout_s=SESSION_S)
    one, two = apache.run("one"), apache.run("two")
    until(lambda: sum(map(owned, (one, two))) == PARTITIONS and owned(one) and owned(two), "both work", one, two)
    one.kill()
    told = tocsin("leave", "--config", str(apache.config_file), "--instance", "one")
    assert told.stdout == f"one has left the group {apache.name}\n"
    until(lambda: owned(two) == PARTITIONS, "the other one has all partitions", two, within_s=SESSION_S / 2)
    again = tocsin("leave", "--config", str(apache.config_file), "--instance", "one")
    assert again.stdout == f"one is not in the group {apache.name}\n"
    two.stop()


def owned(daemon: DaemonProcess) -> int:
    return int(metrics(daemon)["tocsin_assigned_partitions"])
