"""The asset page in the hands of a person: jumps, freezes, goes back in time, by mouse and by keys."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Dashboard, Watched
from tests.dashboard.plant import START_NS, STEP_NS, incident, scores, sensor_fault

pytestmark = pytest.mark.browser

HELD = 5000
VIEW = """
() => {
  const shadow = [...document.querySelectorAll("*")].find((e) => e.shadowRoot?.querySelector(".tocsin"));
  const { range, shown } = shadow.shadowRoot.querySelector(".tocsin").view;
  return { from: range[0], to: range[1], first: shown.time[0], last: shown.time.at(-1) };
}
"""


def time_of(window: int) -> float:
    """End of a window in s."""
    return (START_NS + window * STEP_NS) / 1e9


def opened(page: Page) -> Page:
    """An asset page once its charts are there."""
    expect(page.locator(".chart:visible canvas")).to_have_count(9)
    return page


def test_a_frozen_picture_stands_still_and_goes_on_where_the_plant_is(
    dashboard: Dashboard, look: Callable[..., Watched]
) -> None:
    dashboard.publisher.send_scores(scores("pump-1", 0, 300))
    page = opened(look(f"{dashboard.url}/asset?asset=pump-1").page)
    page.locator("body").press("f")
    expect(page.locator(".held")).to_contain_text("Frozen")
    before = page.evaluate(VIEW)
    dashboard.publisher.send_scores(scores("pump-1", 300, 50))
    expect(page.locator(".status")).to_contain_text("350 windows")
    assert page.evaluate(VIEW) == before
    page.locator("body").press("Escape")
    expect(page.locator(".held")).to_have_count(0)
    page.wait_for_function(f"() => ({VIEW})().last === {time_of(349)}")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("button", name="Freeze")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Freeze").click()
    expect(page.locator(".held")).to_have_count(0)


def test_an_alarm_in_the_address_is_shown_at_its_moment(dashboard: Dashboard, look: Callable[..., Watched]) -> None:
    send = dashboard.publisher
    send.send_scores(scores("pump-1", 0, 100), scores("pump-1", 100, 30, peak=3), scores("pump-1", 130, 800))
    past = incident("pump-1", 100, end=131, seq=2, peak=3.0)
    send.send_event(past)
    page = opened(look(f"{dashboard.url}/asset?asset=pump-1&incident={past.incident_id}").page)
    expect(page.locator(".held")).to_contain_text("Held")
    shown = page.evaluate(VIEW)
    assert shown["from"] <= time_of(100)
    assert time_of(131) <= shown["to"] < time_of(400)
    page.get_by_role("button", name="Live").click()
    expect(page.locator(".held")).to_have_count(0)
    assert page.evaluate(VIEW)["to"] == time_of(929)


def test_the_past_that_is_no_longer_held_is_read_when_it_is_asked_for(
    dashboard: Dashboard, look: Callable[..., Watched], keep: Callable[[Page, str], None]
) -> None:
    send = dashboard.publisher
    for first in range(0, 1500, 50):
        send.send_scores(scores("pump-1", first, 50, peak=4 if first == 300 else 0), scores("pump-3", first, 50))
    for first in range(1500, HELD + 1500, 500):
        send.send_scores(scores("pump-1", first, 500))
    old = incident("pump-1", 300, end=351, seq=2, peak=4.0)
    send.send_event(old)
    page = opened(look(f"{dashboard.url}/asset?asset=pump-1&incident={old.incident_id}").page)
    expect(page.locator(".held")).to_contain_text("History")
    shown = page.evaluate(VIEW)
    assert shown["first"] <= time_of(300)
    assert time_of(351) <= shown["last"] < time_of(1500)
    keep(page, "asset-history")
    page.get_by_role("button", name="Earlier").click()
    page.wait_for_function(f"() => ({VIEW})().first < {shown['first']}")
    begins = page.locator(".told", has_text="the record begins at 2026-01-01 00:00:00 UTC")
    for _ in range(5):
        if begins.count():
            break
        page.get_by_role("button", name="Earlier").click()
        expect(page.locator(".told")).not_to_have_text("Reading the past…")
    expect(begins).to_be_visible()
    page.locator("body").press("Escape")
    expect(page.locator(".held")).to_have_count(0)
    assert page.evaluate(VIEW)["to"] == time_of(HELD + 1499)


def test_an_incident_that_nobody_knows_is_said(dashboard: Dashboard, look: Callable[..., Watched]) -> None:
    dashboard.publisher.send_scores(scores("pump-1", 0, 100))
    page = opened(look(f"{dashboard.url}/asset?asset=pump-1&incident=abc").page)
    expect(page.locator(".told")).to_have_text("The incident in the address is not known here any more.")


def test_a_sensor_fault_stands_beside_its_channel(
    dashboard: Dashboard, look: Callable[..., Watched], keep: Callable[[Page, str], None]
) -> None:
    dashboard.publisher.send_scores(scores("pump-1", 0, 300))
    dashboard.publisher.send_event(sensor_fault("pump-1", "pressure 1", "stuck", 250))
    page = opened(look(f"{dashboard.url}/asset?asset=pump-1").page)
    expect(page.locator(".faults")).to_contain_text("pressure 1")
    expect(page.locator(".chart", has_text="pressure 1").locator(".fault")).to_have_text("stuck")
    keep(page, "asset-sensor")
    dashboard.publisher.send_event(sensor_fault("pump-1", "pressure 1", "ok", 280, seq=2))
    expect(page.locator(".faults li")).to_have_count(0)
    expect(page.locator(".fault:not(:empty)")).to_have_count(0)
