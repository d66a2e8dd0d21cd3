"""The daemon as a process when what is around it fails: no broker yet, no topics, a restart, a double."""

import signal

import pytest

from monitor.broker import EmbeddedBroker
from tests.e2e.site import PARTITIONS, Site, metrics, readings, until
from tests.kafka_cluster import KafkaCluster
from tests.require import require_client

pytestmark = pytest.mark.slow


def test_daemon_waits_for_the_broker_then_for_the_topics_and_says_each_once(
    early: Site, broker: EmbeddedBroker
) -> None:
    daemon = early.run()
    [told] = daemon.await_events("retrying")
    assert broker.bootstrap in told["detail"]
    broker.start()
    [told] = daemon.await_events("waiting_for_topics")
    assert early.config.topics.readings in told["detail"]
    early.create_topics()
    daemon.await_events("assigned", PARTITIONS)
    early.send(readings(30))
    until(lambda: bool(early.windows()), "windows are scored", daemon)
    assert len(daemon.events("retrying")) == 1
    assert len(daemon.events("waiting_for_topics")) == 1
    daemon.stop()


def test_daemon_that_waits_for_a_broker_leaves_when_it_is_asked_to(early: Site) -> None:
    daemon = early.run()
    daemon.await_events("retrying")
    daemon.stop()


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_daemon_whose_broker_is_gone_leaves_in_time(early: Site, broker: EmbeddedBroker, client: str) -> None:
    early.use(client=require_client(client))
    broker.start()
    early.create_topics()
    early.send(readings(30))
    daemon = early.run()
    until(lambda: bool(early.windows()), "windows are scored", daemon)
    broker.kill()
    until(lambda: bool(daemon.events("retrying") or daemon.events("rewinding")), "it says so", daemon)
    _, seconds = daemon.signal(signal.SIGTERM)
    assert seconds < 10
    assert "Traceback" not in daemon.text


@pytest.mark.kafka
def test_daemon_goes_on_when_the_broker_was_restarted(apache: Site, kafka_cluster: KafkaCluster) -> None:
    recording = readings(120)
    scores, events = apache.backtested(recording, upto=119)
    half = len(recording) // 2
    apache.send(recording.take(slice(0, half)))
    daemon = apache.run()
    until(lambda: bool(apache.windows()), "windows are scored", daemon)
    kafka_cluster.kill(0)
    kafka_cluster.start(0)
    apache.send(recording.take(slice(half, None)))
    until(lambda: apache.windows() >= set(scores), "every window is scored", daemon)
    published = apache.scores()
    assert {where for where, _ in published} == set(scores)
    assert [score for _, score in published] == pytest.approx([scores[where] for where, _ in published], rel=1e-5)
    until(lambda: {e.event_id for e in apache.incident_events()} >= set(events), "every incident is told", daemon)
    daemon.stop()


@pytest.mark.kafka
def test_daemon_whose_instance_id_another_process_took_leaves_with_one_sentence(apache: Site) -> None:
    apache.send(readings(30))
    first = apache.run()
    first.await_events("assigned", PARTITIONS)
    second = apache.run()
    second.await_events("assigned", PARTITIONS)
    until(lambda: first.process.poll() is not None, "the first one leaves")
    assert first.process.returncode == 1
    sentences = [line for line in first.text.splitlines() if not line.startswith("{")]
    assert sentences == ["tocsin: another process runs as instance 'one': give each daemon its own instance_id"], (
        first.text
    )
    until(lambda: metrics(second)["tocsin_assigned_partitions"] == PARTITIONS, "the second one works", second)
    second.stop()
