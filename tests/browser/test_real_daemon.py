"""The alarm page with a real daemon behind it: readings in, people decide, the daemon answers."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from monitor.broker import free_port
from monitor.recording import Recording
from tests.browser.conftest import ROOT, Watched, await_answer
from tests.browser.test_alarms import open_list, row
from tests.e2e.site import CHANNELS, T0, Site, site

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def readings(seconds: int, loud_from: int) -> Recording:
    """A reading a second of two pumps, of which the first goes over its limit and stays there."""
    second, pump = np.divmod(np.arange(seconds * 2), 2)
    values = np.random.default_rng(3).uniform(0, 0.3, (seconds * 2, 2)).astype(np.float32)
    values[(pump == 0) & (second >= loud_from)] += 4.0
    times = (T0 + second).astype(np.int64) * 1_000_000_000
    return Recording(["pump-0", "pump-1"], pump.astype(np.int32), times, CHANNELS, values)


@pytest.fixture
def plant(embedded_broker: str, topic: str, tmp_path: Path) -> Iterator[Site]:
    """An installation whose daemon has raised an alarm of pump-0."""
    with site(embedded_broker, topic, tmp_path, "range") as made:
        daemon = made.run()
        made.send(readings(120, 80))
        daemon.await_events("batch")
        yield made


@pytest.fixture
def url(plant: Site, tmp_path: Path) -> Iterator[str]:
    """A dashboard with the daemon's own configuration."""
    port = free_port()
    command = [sys.executable, "-m", "dashboard.cli", "--config", str(plant.config_file), "--port", str(port)]
    with (tmp_path / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        await_answer(f"http://127.0.0.1:{port}/_stcore/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def decide(page: Page, button: str, reason: str) -> None:
    """Press a button that asks for a reason about the pump, and give it."""
    row(page, "pump-0").click()
    page.get_by_role("button", name=button).click()
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("dialog").get_by_role("button", name=button).click()


def test_what_people_decide_on_the_page_is_what_the_daemon_does(url: str, look: Callable[..., Watched]) -> None:
    page = look(f"{url}/alarms").page
    expect(row(page, "pump-0").locator(".state")).to_have_text("Unacknowledged", timeout=30_000)
    row(page, "pump-0").focus()
    page.keyboard.press("a")
    expect(row(page, "pump-0").locator(".state")).to_have_text("Acknowledged", timeout=15_000)
    expect(row(page, "pump-0").locator(".answer")).to_have_text("acknowledge: accepted")
    page.get_by_role("button", name="True alarm").click()
    expect(row(page, "pump-0").locator(".label")).to_have_text("True alarm", timeout=15_000)
    decide(page, "Shelve", "known leak")
    expect(page.get_by_role("tab", name="Shelved")).to_contain_text("1", timeout=15_000)
    open_list(page, "Shelved")
    expect(row(page, "pump-0").locator(".under")).to_have_text("Over its limit")
    expect(row(page, "pump-0")).to_contain_text("known leak")
    expect(row(page, "pump-0").locator(".left")).to_contain_text("in 60 min")
    row(page, "pump-0").click()
    page.get_by_role("button", name="Unshelve").click()
    open_list(page, "Alarms")
    expect(row(page, "pump-0").locator(".state")).to_have_text("Unacknowledged", timeout=15_000)
    decide(page, "Accept as normal", "a new product")
    open_list(page, "Past incidents")
    expect(row(page, "pump-0").locator(".state")).to_have_text("Normal", timeout=15_000)
    row(page, "pump-0").click()
    page.get_by_role("button", name="False alarm").click()
    expect(row(page, "pump-0").locator(".label")).to_have_text("False alarm", timeout=15_000)
    decide(page, "Take out of service", "dismantled")
    open_list(page, "Out of service")
    expect(row(page, "pump-0")).to_contain_text("dismantled", timeout=15_000)
    row(page, "pump-0").click()
    page.get_by_role("button", name="Return to service").click()
    expect(page.locator(".empty")).to_have_text("Nothing is out of service.", timeout=15_000)
    open_list(page, "Audit trail")
    decided = page.locator(".rows .row .what")
    said = ["return to service", "take out of service", "label: false alarm", "accept as normal", "unshelve"]
    expect(decided).to_have_text([*said, "shelve", "label: true alarm", "acknowledge"])
    assert set(page.locator(".rows .row .answer").all_inner_texts()) == {"accepted"}
