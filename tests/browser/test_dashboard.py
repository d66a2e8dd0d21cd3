"""The dashboard as a person sees it: a real process, a real broker, a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from monitor.broker import free_port
from monitor.topics import Topics
from tests.browser.conftest import Dashboard, Watched, running_dashboard
from tests.dashboard.plant import Publisher, incident, scores, sensor_fault

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=document.title='broken'>"
POINTS = 5000
UPDATES = 60

WATCH_FRAMES = Path(__file__).with_name("watch_frames.js").read_text(encoding="utf-8")

LOSE_AN_UPDATE = """
async () => {
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const { Sequence } = await import(loaded.find((name) => name.includes("/mount.js")));
  const accept = Sequence.prototype.accept;
  Sequence.prototype.accept = function () {
    Sequence.prototype.accept = accept;
    window.lost = true;
    return null;
  };
}
"""


def state_of(page: Page, asset: str) -> str:
    """The word on an asset's tile."""
    return page.locator(".tile", has_text=asset).locator(".state").inner_text()


def test_the_fleet_stands_worst_first_and_an_incident_appears_live(
    dashboard: Dashboard, look: Callable[..., Watched], keep: Callable[[Page, str], None]
) -> None:
    page = look(dashboard.url).page
    expect(page.get_by_text("No scores yet")).to_be_visible()
    keep(page, "fleet-empty-light")
    send = dashboard.publisher
    calm = [f"pump-{n:02}" for n in range(1, 12)]
    send.send_scores(*[scores(name, 0, 400, seed=n) for n, name in enumerate(calm)])
    send.send_scores(scores("fan-1", 0, 380), scores("fan-1", 380, 20, peak=4), scores("silent-1", 0, 300))
    send.send_event(incident("fan-1", 381))
    names = page.locator(".tile .name")
    expect(names.first).to_have_text("fan-1")
    expect(names).to_have_count(13)
    expect(page.locator(".tile").nth(1)).to_contain_text("Stale", timeout=15_000)
    assert state_of(page, "pump-05") == "Normal"
    keep(page, "fleet-light")
    send.send_scores(*[scores(name, 400, 20, seed=n) for n, name in enumerate(calm) if name != "pump-05"])
    send.send_scores(scores("pump-05", 400, 20, seed=4, peak=8), scores("fan-1", 400, 20, peak=4))
    send.send_event(incident("pump-05", 400, peak=8.0))
    expect(names.first).to_have_text("pump-05")
    expect(page.locator(".tile").first).to_contain_text("Alarm")
    dark = look(dashboard.url, "dark").page
    expect(dark.locator(".tile .name")).to_have_count(13)
    keep(dark, "fleet-dark")
    page.locator(".tile", has_text="pump-05").click()
    expect(page.locator(".picker")).to_have_value("pump-05")
    expect(page).to_have_url(f"{dashboard.url}/asset?asset=pump-05")
    expect(page.locator(".chart:visible canvas")).to_have_count(9)
    expect(page.locator(".bars")).to_contain_text("vibration 1")
    page.go_back()
    expect(names.first).to_have_text("pump-05")


@pytest.mark.slow
def test_no_frame_is_blank_while_points_arrive(
    dashboard: Dashboard, look: Callable[..., Watched], keep: Callable[[Page, str], None]
) -> None:
    send = dashboard.publisher
    send.send_scores(scores("pump-1", 0, POINTS - 400), scores("pump-1", POINTS - 400, 60, peak=2))
    send.send_scores(scores("pump-1", POINTS - 340, 300), scores("pump-1", POINTS - 40, 40, peak=5))
    send.send_event(incident("pump-1", POINTS - 400, end=POINTS - 338, seq=2, peak=2.0))
    send.send_event(incident("pump-1", POINTS - 39, peak=5.0))
    page = look(f"{dashboard.url}/asset?asset=pump-1").page
    expect(page.locator(".chart:visible canvas")).to_have_count(9)
    page.get_by_role("button", name="All").click()
    seen = follow(page, send, "pump-1", POINTS)
    print(f"\n{seen}")
    assert seen["canvases"] == 9
    assert seen["updates"] >= UPDATES
    assert (seen["blank"], seen["remounted"], seen["dimmed"]) == (0, 0, 0)
    page.get_by_role("button", name="1 h").click()
    keep(page, "asset-light")
    keep(opened(look(f"{dashboard.url}/asset?asset=pump-1", "dark").page), "asset-dark")
    keep(opened(look(f"{dashboard.url}/asset?asset=pump-1", "light", 390, 844).page), "asset-phone")


def follow(page: Page, send: Publisher, asset: str, first: int) -> dict[str, Any]:
    """Watch every frame of a page while windows are published, each after the one before it is on the screen."""
    page.evaluate(WATCH_FRAMES)
    for k in range(first, first + UPDATES):
        send.send_scores(scores(asset, k, 1))
        expect(page.locator(".status")).to_contain_text(f"{k + 1:,} windows")
    return dict(page.evaluate("() => window.stopWatching()"))


def opened(page: Page) -> Page:
    """An asset page once its charts are there."""
    expect(page.locator(".chart:visible canvas")).to_have_count(9)
    return page


def test_a_name_that_is_markup_is_shown_as_text(dashboard: Dashboard, look: Callable[..., Watched]) -> None:
    dashboard.publisher.send_scores(scores(MARKUP, 0, 100), scores("pump-1", 0, 100))
    dashboard.publisher.send_event(incident(MARKUP, 80, names=[MARKUP, "pressure"]))
    dashboard.publisher.send_event(sensor_fault(MARKUP, MARKUP, "stuck", 90))
    page = look(dashboard.url).page
    expect(page.locator(".tile .name").first).to_have_text(MARKUP)
    expect(page.locator(".why").first).to_contain_text(MARKUP)
    expect(page.locator(".sensors").first).to_contain_text(MARKUP)
    page.locator(".tile").first.click()
    expect(page.locator(".picker option:checked")).to_have_text(MARKUP)
    expect(page.locator(".bars .name").first).to_have_text(MARKUP)
    expect(page.locator(".faults b")).to_have_text(MARKUP)
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert page.title() != "broken"


def test_a_page_that_missed_an_update_asks_for_everything(dashboard: Dashboard, look: Callable[..., Watched]) -> None:
    dashboard.publisher.send_scores(scores("pump-1", 0, 100))
    page = opened(look(f"{dashboard.url}/asset?asset=pump-1").page)
    page.evaluate(LOSE_AN_UPDATE)
    for k in (100, 101):
        dashboard.publisher.send_scores(scores("pump-1", k, 1))
        page.wait_for_function("k => window.lost || k > 100", arg=k)
    expect(page.locator(".status")).to_contain_text("102 windows")
    expect(page.locator(".chart:visible canvas")).to_have_count(9)


def test_an_open_page_says_that_it_waits_for_the_broker(tmp_path: Path, look: Callable[..., Watched]) -> None:
    address = f"127.0.0.1:{free_port()}"
    with running_dashboard(Publisher(address, Topics()), tmp_path) as running:
        page = look(running.url).page
        expect(page.locator(".empty")).to_have_text(f"Waiting for the broker at {address}")
