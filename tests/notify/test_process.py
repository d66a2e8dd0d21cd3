"""`tocsin notify` as a process: what is told, once, in order, whatever happens to it."""

import json
import os
import random
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime

import pytest

from monitor.broker import EmbeddedBroker, free_port
from monitor.encode import partition_of
from monitor.events import SensorEvent, to_datetime
from monitor.notify.notifier import Notifier
from monitor.notify.state import restored
from monitor.state import decode_key
from tests.e2e.site import DaemonProcess, metrics, readings, tocsin, until
from tests.e2e.site import site as daemon_site
from tests.kafka_cluster import KafkaCluster
from tests.notify.alertmanager import alertmanager, alerts, program
from tests.notify.events import T0, acknowledged, cleared, event
from tests.notify.receiver import Receiver
from tests.notify.site import PARTITIONS, NotifySite, notify_site
from tests.require import require

pytestmark = pytest.mark.slow


def pagerduty(receiver: Receiver, name: str = "pager", more: str = "") -> str:
    return f"""
[[notify.endpoints]]
name = "{name}"
kind = "pagerduty"
url = "{receiver.url}/v2/enqueue"
routing_key = "key-1"
timeout_s = 1
retry_most_s = 1
rate_per_minute = 100000
burst = 100000
{more}
"""


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(each.json["event_action"], each.json["dedup_key"]) for each in receiver.taken if each.method == "POST"]


def once(receiver: Receiver) -> list[tuple[str, str]]:
    """What was told, without what was told again under the same key."""
    return list(dict.fromkeys(told(receiver)))


def start(site: NotifySite, instance: str = "one") -> DaemonProcess:
    process = site.run(instance)
    process.await_events("notifying")
    return process


def kept(site: NotifySite) -> Notifier:
    entries = [(decode_key(key).detector, value) for key, value in site.state().items()]
    state, unreadable, _ = restored(entries, ["pager"])
    assert unreadable == []
    return state


def annunciations(state: Notifier) -> int:
    return sum(hour.total for day in state.performance.days.values() for hour in day.hours.values())


def incidents(count: int, seed: int = 1, **facts) -> list[list]:
    """Each a raise, an acknowledgement and an end, of an asset of its own."""
    chance = random.Random(seed)
    found = []
    for i in range(count):
        at, name = chance.uniform(0, 3600), f"pump-{i}"
        end = at + chance.uniform(100, 500)
        found.append(
            [
                event(name, at, labels={}, **facts),
                acknowledged(name, at + 50, at, labels={}),
                cleared(name, end, at, labels={}),
            ]
        )
    return found


def test_incident_is_triggered_acknowledged_and_resolved(either: NotifySite, receiver: Receiver) -> None:
    site = either
    site.settings = pagerduty(receiver)
    process = start(site)
    raised = event()
    site.send(raised, acknowledged(), cleared())
    until(lambda: len(receiver.taken) >= 3, "all three are told", process)
    key = raised.incident_id
    assert told(receiver) == [("trigger", key), ("acknowledge", key), ("resolve", key)]
    assert process.ask("/readyz")[0] == process.ask("/healthz")[0] == 200
    until(lambda: metrics(process)["tocsin_alarms_per_hour"] == 1.0, "the figures are shown", process)
    assert metrics(process)['tocsin_notify_deliveries_total{endpoint="pager"}'] == 3.0
    process.stop()
    assert process.events("stopped")


@pytest.mark.kafka
def test_events_of_all_partitions_come_in_the_order_of_their_times(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    start(site).stop()  # what comes from now on is no history
    raised = sorted((each[0] for each in incidents(60)), key=lambda each: each.detected)
    site.send(*sorted(raised, key=lambda each: partition_of(each.asset, PARTITIONS)))  # one partition after the other
    process = start(site)
    until(lambda: len(once(receiver)) == 60, "all are told", process)
    order = [key for _, key in once(receiver)]
    time_of = {each.incident_id: each.detected for each in raised}
    assert [time_of[key] for key in order] == sorted(time_of.values())


def test_killed_in_the_middle_it_tells_everything_under_the_same_keys(either: NotifySite, receiver: Receiver) -> None:
    site = either
    site.settings = pagerduty(receiver)
    log = incidents(40)
    process = start(site)
    flat = [
        each for triple in zip(*log, strict=True) for each in triple
    ]  # all raises, then all answers, then all ends
    for begin, enough in ((0, 10), (60, 40), (100, 70)):
        site.send(*flat[begin : {0: 60, 60: 100, 100: 120}[begin]])
        until(lambda enough=enough: len(once(receiver)) >= enough, f"{enough} are told", process)
        process.kill()
        process = start(site)
    until(lambda: len(once(receiver)) == 120, "all are told", process)
    by_key = defaultdict(list)
    for action, key in once(receiver):
        by_key[key].append(action)
    assert set(by_key) == {triple[0].incident_id for triple in log}
    assert all(actions == ["trigger", "acknowledge", "resolve"] for actions in by_key.values())
    process.stop()
    state = kept(site)
    assert state.boxes["pager"].items == {}
    if site.exactly_once:
        assert annunciations(state) == 40
    else:
        assert annunciations(state) >= 40


@pytest.mark.kafka
def test_end_of_an_incident_while_it_was_down_is_told(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    process = start(site)
    site.send(event())
    until(lambda: len(receiver.taken) == 1, "it is told", process)
    process.kill()
    site.send(cleared())
    process = start(site)
    until(lambda: once(receiver)[-1][0] == "resolve", "its end is told", process)
    assert [action for action, _ in once(receiver)] == ["trigger", "resolve"]


def test_what_could_not_be_delivered_is_kept_through_a_restart(either: NotifySite) -> None:
    site = either
    port = free_port()
    site.settings = pagerduty(Receiver(port=port))
    process = start(site)
    site.send(event(), acknowledged())
    process.await_events("endpoint_away")
    until(lambda: len(kept(site).boxes["pager"].items) == 2, "both are kept", process)
    until(lambda: metrics(process)['tocsin_notify_pending{endpoint="pager"}'] == 2, "they wait", process)
    process.kill()
    site.send(cleared())
    process = start(site)
    with Receiver(port=port) as receiver:
        until(lambda: len(once(receiver)) == 3, "all are told", process)
        assert [action for action, _ in once(receiver)] == ["trigger", "acknowledge", "resolve"]
        process.stop()


@pytest.mark.kafka
def test_what_is_over_leaves_nothing_behind(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    process = start(site)
    site.send(*[each for triple in incidents(10) for each in triple], event("late", 9000, labels={}))
    until(lambda: len(once(receiver)) == 31, "all are told", process)
    site.send(cleared("late", 9500, 9000, labels={}))
    until(lambda: len(once(receiver)) == 32, "all are told", process)
    process.stop()
    assert {json.loads(key)[2].partition("/")[0] for key in site.state()} <= {"head", "day", "box", "alarm"}
    assert all(len(value) < 20_000 for value in site.state().values())


@pytest.mark.kafka
def test_of_what_was_there_before_only_what_stands_is_news(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    old = [each for triple in incidents(20) for each in triple]
    stands = event("stands", 4000, labels={})
    site.send(*old, stands, acknowledged("stands", 4010, 4000, labels={}))
    process = start(site)
    until(lambda: bool(receiver.taken), "what stands is told", process)
    after = event("after", 5000, labels={})
    site.send(after)
    until(lambda: len(receiver.taken) == 2, "what comes after is told", process)
    assert told(receiver) == [("trigger", stands.incident_id), ("trigger", after.incident_id)]
    until(lambda: annunciations(kept(site)) == 22, "the figures are of all", process)


def test_groups_are_published_and_notified_as_one(either: NotifySite, receiver: Receiver) -> None:
    site = either
    site.settings = pagerduty(receiver)
    process = start(site)
    log = [event("a", 0), event("b", 10), cleared("a", 60, 0), cleared("b", 70, 10)]
    for each in log:  # one by one, whatever their partitions
        site.send(each)
    until(lambda: len(receiver.taken) == 3, "the group is told", process)
    lead = log[0].incident_id
    assert told(receiver) == [("trigger", lead), ("trigger", lead), ("resolve", lead)]
    assert (
        receiver.taken[1].json["payload"]["summary"] == "[low] 2 incidents on line 2, site north, first a: abnormal"
    )
    until(lambda: len(site.groups()) == 2, "group events are published", process)
    opened, closed = site.groups()
    assert (opened.transition, closed.transition, closed.seq) == ("opened", "closed", 2)
    assert opened.origin.asset == "a"


@pytest.mark.kafka
def test_what_is_no_event_is_told_and_passed_over(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    process = start(site)
    site.send_raw(b"no event at all", "pump-1", [])
    site.send_raw(b"{}", "pump-1", [("ce_type", b"tocsin.incident.raised.v1")])
    at = to_datetime(T0)
    site.send(SensorEvent("s", 1, "pump-1", "pumps", "vibration", "stuck", "ok", at, at, "t", 0), event())
    until(lambda: len(receiver.taken) == 1, "the incident is told", process)
    assert len(process.events("event_unreadable")) == 2


@pytest.mark.kafka
def test_endpoint_that_is_dead_slows_no_other_one(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver) + pagerduty(Receiver(port=free_port()), "dead")
    process = start(site)
    site.send(*[each for triple in incidents(20) for each in triple])
    until(lambda: len(once(receiver)) == 60, "all are told to the one that lives", process)
    assert metrics(process)['tocsin_notify_pending{endpoint="dead"}'] > 0
    process.stop()


@pytest.mark.kafka
def test_second_process_stands_by_and_takes_over(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver)
    first = start(site, "one")
    second = site.run("two")
    site.send(event("a", labels={}))
    until(lambda: len(once(receiver)) == 1, "it is told", first, second)
    first.kill()
    site.send(cleared("a", labels={}))
    until(lambda: len(once(receiver)) == 2, "the other one has taken over", second)
    assert second.ask("/readyz")[0] == 200
    assert second.events("notifying")


def test_broker_that_comes_late_is_waited_for(tmp_path, topic, receiver: Receiver) -> None:
    port = free_port()
    broker = EmbeddedBroker(port=port)
    with notify_site(f"127.0.0.1:{port}", topic, tmp_path, exactly_once=False, create=False) as site:
        site.settings = pagerduty(receiver)
        process = site.run()
        process.await_events("retrying")
        assert process.ask("/readyz")[0] == 503
        with broker:
            process.await_events("waiting_for_topics")
            site.create_topics()
            process.await_events("notifying")
            site.send(event())
            until(lambda: bool(receiver.taken), "it is told", process)
            assert process.ask("/readyz")[0] == 200
            process.stop()


@pytest.mark.kafka
def test_check_and_test_of_an_endpoint(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver) + pagerduty(Receiver(port=free_port()), "dead")
    config = str(site.write_config())
    found = tocsin("check", "--config", config).stdout
    assert "ok   endpoint pager: answers" in found
    assert "bad  endpoint dead: no connection" in found
    done = tocsin("notify", "--config", config, "--test", "pager")
    assert (done.returncode, done.stdout) == (0, "pager: raise was taken\npager: resolve was taken\n")
    assert [action for action, _ in told(receiver)] == ["trigger", "resolve"]
    assert "dead did not take it" in failed(tocsin("notify", "--config", config, "--test", "dead"))
    assert "there are: pager, dead" in failed(tocsin("notify", "--config", config, "--test", "nobody"))


@pytest.mark.kafka
def test_secret_that_is_missing_is_a_sentence_and_only_for_who_notifies(site: NotifySite, receiver: Receiver) -> None:
    site.settings = pagerduty(receiver).replace('"key-1"', '{ env = "TOCSIN_TEST_NO_SUCH" }')
    config = str(site.write_config())
    assert "the environment has no variable TOCSIN_TEST_NO_SUCH" in failed(tocsin("notify", "--config", config))
    assert "ok   configuration" in tocsin("check", "--config", config).stdout


def failed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    return done.stderr


@pytest.mark.kafka
def test_broker_that_goes_away_is_waited_for(kafka_home_folder, topic, tmp_path, receiver: Receiver) -> None:
    with (
        KafkaCluster(kafka_home_folder, tmp_path / "kafka") as cluster,
        notify_site(cluster.bootstrap, topic, tmp_path, exactly_once=True) as site,
    ):
        site.settings = pagerduty(receiver)
        process = start(site)
        site.send(event("a", labels={}))
        until(lambda: len(once(receiver)) == 1, "it is told", process)
        cluster.stop(0)
        until(lambda: process.ask("/readyz")[0] == 503, "it says that it waits", process)
        assert process.ask("/healthz")[0] == 200
        cluster.start(0)
        until(lambda: process.ask("/readyz")[0] == 200, "it goes on", process)
        site.send(cleared("a", labels={}))
        until(lambda: len(once(receiver)) == 2, "the end is told", process)
        process.stop()
        assert annunciations(kept(site)) == 1


@pytest.mark.kafka
def test_alertmanager_has_what_stands_whatever_happens(site: NotifySite, receiver: Receiver, tmp_path) -> None:
    require(program() is not None, "Alertmanager is missing: apt-get install prometheus-alertmanager")
    now = datetime.now(UTC).timestamp() - T0 / 1e9
    with alertmanager(tmp_path, receiver.url) as url:
        site.settings = f"""
[[notify.endpoints]]
name = "pager"
kind = "alertmanager"
url = "{url}"
resend_s = 1
"""
        process = start(site)
        site.send(event("a", now, labels={}), event("b", now + 1, labels={}))
        until(lambda: len(alerts(url)) == 2, "both are there", process)
        process.kill()
        site.send(cleared("a", now + 2, now, labels={}))
        process = start(site)
        until(lambda: [each["labels"]["asset"] for each in alerts(url)] == ["b"], "one is over", process)
        first = alerts(url)[0]["endsAt"]
        until(lambda: alerts(url)[0]["endsAt"] > first, "the other is told again", process)
        process.stop()


@pytest.mark.kafka
def test_incidents_of_a_real_daemon_are_told(
    kafka_cluster: KafkaCluster, topic, tmp_path, receiver: Receiver
) -> None:
    with daemon_site(kafka_cluster.bootstrap, topic, tmp_path, "cooperative-sticky", idle_limit_s=3) as plant:
        text = plant.write_config("notify").read_text() + "\n[notify]\norder_wait_s = 0.5\ntelemetry_port = 0\n"
        config = tmp_path / "notify.toml"
        config.write_text(text + pagerduty(receiver))
        process = DaemonProcess(config, tmp_path / "notify.log", dict(os.environ), "notify")
        try:
            process.await_events("notifying")
            daemon = plant.run()
            plant.send(readings())
            until(lambda: any(e.transition == "cleared" for e in plant.incident_events()), "one is over", daemon)
            _, expected = plant.backtested(readings())
            until(lambda: len(plant.incident_events()) >= len(expected), "all are published", daemon)
            open_at_the_end = {}
            for each in plant.incident_events():
                open_at_the_end[each.incident_id] = each.active
            ends = sum(not stands for stands in open_at_the_end.values())
            until(lambda: len(once(receiver)) >= len(open_at_the_end) + ends, "all are told", process)
            actions = Counter(action for action, _ in once(receiver))
            assert actions == {"trigger": len(open_at_the_end), "resolve": ends}
            assert {key for _, key in once(receiver)} == set(open_at_the_end)
            process.stop()
        finally:
            process.kill()
