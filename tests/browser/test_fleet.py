"""The fleet page in the hands of a person: filters, keys, states in words, shapes and colours."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from playwright.sync_api import Page, expect

from tests.browser.conftest import Dashboard, Watched
from tests.dashboard.plant import incident, scores, sensor_fault

pytestmark = pytest.mark.browser

STATES = {
    "unacknowledged": "Alarm · high",
    "acknowledged": "Acknowledged · medium",
    "returned": "Returned · low",
    "latched": "Latched · low",
    "suppressed": "Suppressed",
    "shelved": "Shelved",
    "out_of_service": "Out of service",
}
BLINKS = """
async (all) => {
  const seen = all.map(() => new Set());
  for (const began = performance.now(); performance.now() - began < 2500; ) {
    await new Promise(requestAnimationFrame);
    all.forEach((svg, n) => seen[n].add(getComputedStyle(svg).fillOpacity));
  }
  return seen.map((values) => values.size > 1);
}
"""
PRIORITY = {"unacknowledged": "high", "acknowledged": "medium"}


@pytest.fixture
def all_states(dashboard: Dashboard) -> Dashboard:
    """An asset in each state, and one with a sensor fault."""
    send = dashboard.publisher
    names = [f"{state}-1" for state in STATES]
    send.send_scores(*[scores(name, 0, 200, seed=n) for n, name in enumerate([*names, "normal-1"])])
    for state in STATES:
        raised = incident(f"{state}-1", 180, peak=3.0)
        send.send_event(replace(raised, state=state, priority=PRIORITY.get(state, "low"), active=True))
    send.send_event(sensor_fault("normal-1", "pressure 1", "dead", 190))
    return dashboard


def test_every_state_has_its_word_and_shape_and_only_an_unacknowledged_alarm_blinks(
    all_states: Dashboard, look: Callable[..., Watched], keep: Callable[[Page, str], None]
) -> None:
    page = look(all_states.url).page
    expect(page.locator(".tile .name")).to_have_count(8)
    expect(page.locator(".tile .name")).to_have_text([f"{state}-1" for state in [*STATES, "normal"]])
    words = page.locator(".tile .state").all_inner_texts()
    assert words == [*STATES.values(), "Normal"]
    shapes = page.locator(".tile .state svg").evaluate_all("all => all.map((svg) => svg.innerHTML)")
    assert len(set(shapes)) == 8
    assert page.locator(".tile .state svg").evaluate_all(BLINKS) == [True] + [False] * 7
    expect(page.locator(".sensors:visible")).to_have_text("pressure 1 dead")
    keep(page, "fleet-states")
    page.emulate_media(reduced_motion="reduce")
    assert not any(page.locator(".tile .state svg").evaluate_all(BLINKS))
    dark = look(all_states.url, "dark").page
    expect(dark.locator(".tile .name")).to_have_count(8)
    keep(dark, "fleet-states-dark")


def test_tiles_are_found_by_name_and_state(all_states: Dashboard, look: Callable[..., Watched]) -> None:
    page = look(all_states.url).page
    shown = page.locator(".tile:visible .name")
    expect(shown).to_have_count(8)
    page.get_by_label("Search assets").fill("LATCH")
    expect(shown).to_have_text(["latched-1"])
    page.get_by_label("Search assets").fill("nowhere")
    expect(page.get_by_text("No asset fits these filters.")).to_be_visible()
    page.get_by_label("Search assets").fill("")
    page.get_by_label("State").select_option("Shelved")
    expect(shown).to_have_text(["shelved-1"])
    page.get_by_label("State").select_option("Sensor faults")
    expect(shown).to_have_text(["normal-1"])
    expect(page.get_by_text("1 of 8")).to_be_visible()


def test_tiles_are_reached_and_opened_by_keys(all_states: Dashboard, look: Callable[..., Watched]) -> None:
    page = look(all_states.url).page
    expect(page.locator(".tile")).to_have_count(8)
    page.get_by_label("State").focus()
    page.keyboard.press("Tab")
    expect(page.locator(".tile").first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tile").nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".tile").nth(6)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".picker")).to_have_value("acknowledged-1")
