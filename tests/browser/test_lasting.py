"""A page that stays open: through a restart of the server, of the broker, a sleep, and beside others."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from monitor.broker import EmbeddedBroker, free_port
from tests.browser.conftest import Dashboard, Watched, running_dashboard
from tests.dashboard.plant import Publisher, incident, own_topics, scores
from tests.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.browser

LONG_MS = 30_000


def same_page(page: Page) -> bool:
    """Whether the page was not loaded again since it was marked."""
    return bool(page.evaluate("() => window.marked === true"))


def test_two_people_see_the_same_and_a_reload_loses_nothing(
    dashboard: Dashboard, look: Callable[..., Watched]
) -> None:
    send = dashboard.publisher
    send.send_scores(*[scores(f"pump-{n}", 0, 200, seed=n) for n in range(4)])
    first, second = look(dashboard.url).page, look(f"{dashboard.url}/asset?asset=pump-2").page
    expect(first.locator(".tile")).to_have_count(4)
    expect(second.locator(".chart:visible canvas")).to_have_count(9)
    send.send_scores(scores("pump-2", 200, 30, peak=5))
    send.send_event(incident("pump-2", 201, peak=5.0))
    expect(first.locator(".tile .name").first).to_have_text("pump-2")
    expect(second.locator(".summary .state")).to_contain_text("Alarm")
    second.reload()
    first.reload()
    expect(first.locator(".tile .name").first).to_have_text("pump-2")
    expect(second.locator(".chart:visible canvas")).to_have_count(9)
    expect(second.locator(".bars .name").first).to_have_text("vibration 1")
    expect(second.locator(".status")).to_contain_text("830 windows")


@pytest.mark.slow
def test_an_open_page_outlives_a_restart_of_the_server(
    embedded_broker: str, tmp_path: Path, look: Callable[..., Watched]
) -> None:
    publisher = Publisher(embedded_broker, own_topics())
    publisher.create_topics()
    publisher.send_scores(scores("pump-1", 0, 100), scores("pump-2", 0, 100))
    port = free_port()
    with running_dashboard(publisher, tmp_path, port=port) as running:
        watched = look(running.url)
        page = watched.page
        expect(page.locator(".tile")).to_have_count(2)
        page.evaluate("() => (window.marked = true)")
    expect(page.locator(".status")).to_contain_text("Connection lost", timeout=LONG_MS)
    publisher.send_scores(scores("pump-3", 0, 100))
    with running_dashboard(publisher, tmp_path, port=port):
        expect(page.locator(".tile")).to_have_count(3, timeout=LONG_MS)
        expect(page.locator(".status")).to_contain_text("Live")
        assert same_page(page)
        watched.errors.clear()  # a browser tells every connection that fails while there is no server
        publisher.send_scores(scores("pump-4", 0, 100))
        expect(page.locator(".tile")).to_have_count(4)
        page.close()
    publisher.close()


def outlives(
    bootstrap: str, folder: Path, look: Callable[..., Watched], stop: Callable[[], None], start: Callable[[], None]
) -> None:
    """A page says that it waits for the broker while that is gone, and goes on when it is back."""
    publisher = Publisher(bootstrap, own_topics())
    publisher.create_topics()
    publisher.send_scores(scores("pump-1", 0, 100))
    publisher.close()
    with running_dashboard(publisher, folder) as running:
        page = look(running.url).page
        expect(page.locator(".tile")).to_have_count(1)
        stop()
        expect(page.locator(".status")).to_contain_text("Waiting for the broker", timeout=LONG_MS)
        start()
        again = Publisher(bootstrap, publisher.topics)
        again.send_scores(scores("pump-2", 0, 100))
        again.close()
        expect(page.locator(".tile")).to_have_count(2, timeout=LONG_MS)
        expect(page.locator(".status")).to_contain_text("Live")
        page.close()


@pytest.mark.slow
def test_an_open_page_outlives_a_restart_of_the_broker(tmp_path: Path, look: Callable[..., Watched]) -> None:
    with EmbeddedBroker(data_dir=tmp_path / "broker") as broker:
        outlives(broker.bootstrap, tmp_path, look, broker.stop, broker.start)


@pytest.mark.slow
@pytest.mark.kafka
def test_an_open_page_outlives_the_death_of_apache_kafka(
    kafka_home_folder: Path, tmp_path: Path, look: Callable[..., Watched]
) -> None:
    with KafkaCluster(kafka_home_folder, tmp_path / "kafka") as cluster:
        outlives(cluster.bootstrap, tmp_path, look, lambda: cluster.kill(0), lambda: cluster.start(0))


@pytest.mark.slow
def test_a_silence_is_told_and_ends_by_itself(dashboard: Dashboard, look: Callable[..., Watched]) -> None:
    dashboard.publisher.send_scores(scores("pump-1", 0, 100))
    page = look(dashboard.url).page
    expect(page.locator(".status")).to_contain_text("Live")
    page.evaluate("() => (window.marked = true)")
    os.kill(dashboard.pid, signal.SIGSTOP)
    try:
        expect(page.locator(".status")).to_contain_text("Connection lost", timeout=LONG_MS)
    finally:
        os.kill(dashboard.pid, signal.SIGCONT)
    expect(page.locator(".status")).to_contain_text("Live", timeout=LONG_MS)
    dashboard.publisher.send_scores(scores("pump-2", 0, 100))
    expect(page.locator(".tile")).to_have_count(2)
    assert same_page(page)


@pytest.mark.slow
def test_a_page_renews_its_ticket_before_that_ends(
    embedded_broker: str, tmp_path: Path, look: Callable[..., Watched]
) -> None:
    publisher = Publisher(embedded_broker, own_topics())
    publisher.create_topics()
    publisher.send_scores(scores("pump-1", 0, 100))
    with running_dashboard(publisher, tmp_path, "[dashboard]\nticket_s = 6\n") as running:
        page = look(running.url).page
        expect(page.locator(".tile")).to_have_count(1)
        page.evaluate(
            """() => {
              const find = (e) => e.shadowRoot?.querySelector(".tocsin");
              const { view } = find([...document.querySelectorAll("*")].find(find));
              const [tell, first] = [view.connection.bind(view), view.ticket()];
              Object.assign(window, { losses: 0, tickets: () => view.ticket() !== first });
              view.connection = (since) => ((window.losses += since !== null), tell(since));
            }"""
        )
        for first in range(100, 120):
            publisher.send_scores(scores("pump-1", first, 1))
            expect(page.locator(".status")).to_contain_text(f"{first + 1} windows")
        assert page.evaluate("() => [window.tickets(), window.losses]") == [True, 0]
        page.close()
    publisher.close()
