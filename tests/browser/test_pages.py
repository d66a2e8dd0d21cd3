"""The pages about the alarm system and the monitor itself, as a person sees them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from msgspec.structs import replace
from playwright.sync_api import Page, expect

from monitor.events import IncidentEvent
from monitor.telemetry import Metrics, TelemetryServer
from monitor.topics import Topics
from tests.browser.conftest import Dashboard, Watched, running_dashboard
from tests.dashboard.control_room import alarm, send, send_dead_letter
from tests.dashboard.plant import Publisher, channel_names, own_topics, scores
from tests.kafka_cluster import unique

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=document.title='broken'>"
REPORT = f"<h1>Report of the pumps</h1><p>{MARKUP}</p><script>top.document.title = 'broken'</script>"


@pytest.fixture
def daemon() -> Iterator[tuple[TelemetryServer, Metrics]]:
    """What a daemon says of itself."""
    metrics = Metrics()
    server = TelemetryServer("127.0.0.1", 0, metrics.registry, lambda: "", lambda: "")
    yield server, metrics
    server.close()


@pytest.fixture
def room(embedded_broker: str, tmp_path: Path, daemon: tuple[TelemetryServer, Metrics]) -> Iterator[Dashboard]:
    """A dashboard that asks a daemon, over topics of its own with dead letters among them."""
    own = own_topics()
    topics = Topics(own.readings, own.scores, own.anomalies, unique("deadletter"), own.commands)
    publisher = Publisher(embedded_broker, topics)
    publisher.create_topics()
    admin = KafkaAdminClient(bootstrap_servers=embedded_broker)
    admin.create_topics([NewTopic(topics.deadletter, 2, 1)])
    admin.close()
    publisher.send_scores(*[scores(f"pump-{n}", 0, 120, seed=n) for n in range(1, 4)])
    settings = f'[dashboard]\ndaemons = ["{daemon[0].address}", "http://127.0.0.1:9"]\n'
    with running_dashboard(publisher, tmp_path, settings) as running:
        yield running
    publisher.close()


@pytest.fixture
def visit(room: Dashboard, look: Callable[..., Watched]) -> Callable[[str], Page]:
    """Open a page of it."""
    return lambda path: look(f"{room.url}/{path}").page


def past(asset: str, start: int, *latent: float, priority: str = "low", label: str = "") -> IncidentEvent:
    """An incident that is over."""
    begun = alarm(asset, "normal", start, priority=priority, latent=latent, active=False, label=label)
    end = begun.start + timedelta(seconds=90)
    return replace(begun, transition="cleared", seq=2, alarm_seq=2, end=end, detected=end)


def test_the_figures_stand_beside_what_is_recommended(room: Dashboard, visit: Callable[[str], Page]) -> None:
    page = visit("performance")
    expect(page.locator(".empty")).to_have_text("No alarm has been told of in the time that is held.")
    for n in range(12):
        send(room.publisher, replace(alarm("pump-1", start=60 + n), seq=1))
    send(room.publisher, alarm(MARKUP, start=70, priority="high"))
    most = page.locator(".figure[data-name=peak_10_minutes]")
    expect(most.locator(".value")).to_have_text("13")
    expect(most).to_contain_text("not as recommended")
    expect(most).to_contain_text("recommended: at most 10")
    expect(page.locator(".table").first).to_contain_text("pump-1")
    expect(page.locator(".table").first).to_contain_text(MARKUP)
    expect(page.get_by_text("13 alarms (1 high, 0 medium, 12 low)")).to_be_visible()
    page.get_by_label("Operators who share the alarms").select_option("2")
    expect(page).to_have_url(f"{room.url}/performance?days=1&operators=2")
    expect(page.locator(".figure[data-name=peak_10_minutes] .value")).to_have_text("6.5")
    expect(page.locator(".figure[data-name=peak_10_minutes]")).to_contain_text("as recommended")
    page.get_by_role("tab", name="7 days").click()
    expect(page).to_have_url(f"{room.url}/performance?days=7&operators=2")
    expect(page.locator(".figure[data-name=peak_10_minutes] .value")).to_have_text("6.5")


def test_similar_incidents_stand_nearest_first_with_their_labels(
    room: Dashboard, visit: Callable[[str], Page]
) -> None:
    far, near = past("pump-1", 10, 9.0, 9.0, 9.0), past("pump-2", 30, 1.0, 1.1, 1.0, label="true")
    silent = past("pump-3", 20)
    now = replace(alarm(MARKUP, start=100, names=[MARKUP, *channel_names(3)]), latent=(1.0, 1.0, 1.0))
    send(room.publisher, far, near, silent, now)
    page = visit("similar")
    expect(page.locator(".facts").first).to_have_text(
        "Compared with 2 earlier incidents of pumps, model version 7. 1 more had no latent vector."
    )
    expect(page.locator("select option:checked")).to_contain_text(MARKUP)
    names = page.locator(".matches .title .name")
    expect(names).to_have_text(["pump-2", "pump-1"])
    expect(page.locator(".matches > li").first).to_contain_text("True alarm")
    expect(page.locator(".matches > li").first).to_contain_text("lasted 90 s")
    expect(page.locator(".matches > li").first.locator(".sub")).to_have_text(["This incident", "Then"])
    page.get_by_label("Incident").select_option(silent.incident_id)
    expect(page).to_have_url(f"{room.url}/similar?incident={silent.incident_id}")
    expect(page.locator(".facts").first).to_contain_text("This incident has no latent vector")
    page.go_back()
    expect(names).to_have_text(["pump-2", "pump-1"])
    names.first.get_by_role("link").click()
    expect(page).to_have_url(f"{room.url}/asset?asset=pump-2&incident={near.incident_id}")


def test_a_model_card_and_its_report_which_runs_no_script(
    room: Dashboard, look: Callable[..., Watched], tmp_path: Path
) -> None:
    (tmp_path / "pumps" / "7" / "report.html").write_text(REPORT)
    watched = look(f"{room.url}/models")
    page = watched.page
    card = page.locator("[data-detector=pumps]")
    expect(card).to_contain_text("64 × 1 s = 64 s, every 8 s")
    expect(card).to_contain_text("1,000 rows of pump-1")
    expect(card).to_contain_text("1 false alarms per asset and day")
    expect(card.locator(".chip.now")).to_have_text("version 7: 3 assets")
    expect(card).to_contain_text("8 channels")
    expect(card).to_contain_text("7 in service")
    page.get_by_role("button", name="Training report").click(timeout=15_000)
    frame = page.frame_locator("iframe.report")
    expect(frame.locator("h1")).to_have_text("Report of the pumps")
    assert page.locator("iframe.report").get_attribute("sandbox") == ""
    assert page.title() != "broken"
    page.get_by_role("button", name="Close the report").click()
    expect(page.locator("iframe.report")).to_be_hidden()
    told = [error for error in watched.errors if "srcdoc" in error or "Content Security Policy" in error]
    assert len(told) >= 2  # the browser says of the script and of the image that it has blocked them
    watched.errors = [error for error in watched.errors if error not in told]


def test_daemons_and_dead_letters_are_told_as_they_are(
    room: Dashboard, visit: Callable[[str], Page], daemon: tuple[TelemetryServer, Metrics]
) -> None:
    metrics = daemon[1]
    metrics.lag.labels("0").set(17)
    metrics.drifting.labels("pumps", "inputs").set(2)
    send_dead_letter(room.publisher, "not_json", f"no field {MARKUP}", 41)
    page = visit("health")
    panels = page.locator(".panels").first.locator(".panel")
    expect(panels).to_have_count(2)
    first, second = panels.nth(0), panels.nth(1)
    expect(first).to_contain_text("17 messages")
    expect(second).to_contain_text("No answer")
    expect(page.get_by_text("pumps: inputs: 2")).to_be_visible()
    letters = page.locator(".letters tbody tr")
    expect(letters).to_have_count(1)
    expect(letters.first).to_contain_text("tocsin.readings-1-41")
    expect(letters.first).to_contain_text(f"no field {MARKUP}")
    send_dead_letter(room.publisher, "too_large", "1,204,113 bytes", 42)
    expect(letters).to_have_count(2, timeout=15_000)
    metrics.windows.inc(500)
    expect(first).to_contain_text("a second", timeout=15_000)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "broken"


def test_that_no_asset_drifts_is_told_as_soon_as_a_daemon_has_answered(visit: Callable[[str], Page]) -> None:
    page = visit("health")
    expect(page.locator(".panels").first.locator(".panel")).to_have_count(2)
    expect(page.get_by_text("No asset drifts.")).to_be_visible()
