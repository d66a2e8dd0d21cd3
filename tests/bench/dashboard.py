"""The dashboard under load: many assets, many viewers, a browser's work for an update, memory over time.

python -m tests.bench.dashboard                    # 1,000 assets, 50 viewers, 60 s; then memory for 10 min
python -m tests.bench.dashboard --memory-minutes 60
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from monitor.broker import EmbeddedBroker
from tests.bench.dashboard_feed import STEP_NS, Plant, names
from tests.bench.dashboard_viewers import percentiles
from tests.browser.conftest import ARGUMENTS, CHROMIUM, Dashboard, running_dashboard
from tests.dashboard.plant import START_NS, Publisher, own_topics

Numbers = NDArray[np.float64]
SECRET = "the benchmark's own secret"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_S = 10.0
LABELS = ("server", "fleet", "asset", "fleet again")
FULL_ASSETS, FULL_WINDOWS = 100, 5200
SETTLE_S = 120.0  # after which memory is expected to be flat


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


@contextmanager
def stage(assets: int, past: int = 300) -> Iterator[tuple[Dashboard, Plant]]:
    """A broker, a plant that goes on, and a dashboard that has read its past."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        broker = ending.enter_context(EmbeddedBroker())
        publisher = Publisher(broker.bootstrap, own_topics(), partitions=4)
        publisher.create_topics()
        plant = Plant(publisher, assets, past)
        plant.begin()
        ending.callback(plant.end)
        settings = f'[dashboard]\nticket_secret = "{SECRET}"\n'
        yield ending.enter_context(running_dashboard(publisher, folder, settings)), plant


def watch(dashboard: Dashboard, plant: Plant, seconds: float, stream: str, **more: Any) -> dict[str, Any]:
    """Viewers of the live route for so long, and what the server spends on them."""
    job = {"url": dashboard.url, "secret": SECRET, "stream": stream, "seconds": seconds, "slow": 0, "slow_s": 0.0}
    command = [sys.executable, "-m", "tests.bench.dashboard_viewers"]
    began_s, began_cpu_s = time.monotonic(), cpu_of(dashboard.pid)
    done = subprocess.run(command, input=json.dumps(job | more) + "\n", capture_output=True, text=True, check=True)
    share = (cpu_of(dashboard.pid) - began_cpu_s) / (time.monotonic() - began_s)
    told = json.loads(done.stdout)
    delays = [at - plant.published_s[window_of(newest)] for at, newest in told.pop("arrived") if newest]
    return {
        **told,
        **more,
        "stream": stream,
        "delay_ms": percentiles(delays),
        "server_cpu_percent": round(100 * share, 1),
        "server_mb": round(resident_mb(dashboard.pid), 1),
    }


def window_of(newest_s: float) -> int:
    """The number of a window from its end."""
    return round((newest_s * 1e9 - START_NS) / STEP_NS)


class Watched:
    """A page and what its browser says of its work."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1440, "height": 900})
        self.cdp: CDPSession = self.page.context.new_cdp_session(self.page)
        self.cdp.send("Performance.enable")
        self.page.goto(url)

    def metrics(self) -> dict[str, float]:
        """Totals since the page was opened."""
        return {metric["name"]: metric["value"] for metric in self.cdp.send("Performance.getMetrics")["metrics"]}

    def heap_mb(self) -> float:
        """Memory of scripts after a collection."""
        self.cdp.send("HeapProfiler.collectGarbage")
        return self.metrics()["JSHeapUsedSize"] / 1e6


UPDATES = """
() => {
  const shadow = [...document.querySelectorAll("*")].find((e) => e.shadowRoot?.querySelector(".tocsin"));
  const { view } = shadow.shadowRoot.querySelector(".tocsin");
  const show = view.show.bind(view);
  window.shown = [];
  view.show = (...payload) => {
    const began = performance.now();
    show(...payload);
    window.shown.push(performance.now() - began);
  };
}
"""


def browse(browser: Browser, url: str, expected: str, seconds: float) -> dict[str, Any]:
    """What one update of a page costs its browser: in its own script, and all told with styles and layout."""
    watched = Watched(browser, url)
    watched.page.wait_for_selector(expected, timeout=60_000)
    watched.page.wait_for_timeout(5000)
    watched.page.evaluate(UPDATES)
    before = watched.metrics()
    watched.page.wait_for_timeout(seconds * 1000)
    after, shown = watched.metrics(), watched.page.evaluate("() => window.shown")
    updates = max(len(shown), 1)
    each = {
        name: round(1000 * (after[name] - before[name]) / updates, 2)
        for name in ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration", "TaskDuration")
    }
    watched.page.close()
    return {"updates": len(shown), "show_ms": percentiles([ms / 1000 for ms in shown]), "each_ms": each}


def remember(browser: Browser, minutes: float) -> dict[str, Any]:
    """Memory of the server and of three open pages over time, and the slopes once it has settled.

    The plant's past is longer than what is held of an asset: what grows then is not the past.
    """
    with stage(FULL_ASSETS, FULL_WINDOWS) as (dashboard, _plant):
        asset = names(1)[0]
        pages = [Watched(browser, f"{dashboard.url}{path}") for path in ("/", f"/asset?asset={asset}", "/")]
        began_s, samples = time.monotonic(), []
        while time.monotonic() - began_s < minutes * 60:
            pages[0].page.wait_for_timeout(SAMPLE_S * 1000)
            heaps = [page.heap_mb() for page in pages]
            samples.append((time.monotonic() - began_s, resident_mb(dashboard.pid), *heaps))
        for page in pages:
            page.page.close()
    columns = np.array(samples)
    settled = columns[columns[:, 0] > min(SETTLE_S, minutes * 30)]
    return {
        "minutes": minutes,
        **{label: course(settled[:, 0], settled[:, n + 1]) for n, label in enumerate(LABELS)},
    }


def course(at_s: Numbers, mb: Numbers) -> dict[str, float]:
    """Memory at the beginning and the end of a time, and its slope."""
    slope = float(np.polyfit(at_s, mb, 1)[0]) * 3600
    return {"first_mb": round(float(mb[0]), 1), "last_mb": round(float(mb[-1]), 1), "mb_per_h": round(slope, 1)}


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=1000)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--memory-minutes", type=float, default=10.0)
    given = parser.parse_args()
    chromium = next(path for name in CHROMIUM if (path := shutil.which(name)))
    result: dict[str, Any] = {"assets": given.assets, "load": os.getloadavg()[0]}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        if given.seconds:
            result |= under_load(browser, given.assets, given.viewers, given.seconds)
        if given.memory_minutes:
            result["memory"] = remember(browser, given.memory_minutes)
        browser.close()
    print(json.dumps(result))


def under_load(browser: Browser, assets: int, viewers: int, seconds: float) -> dict[str, Any]:
    """One viewer and many, of the fleet and of one asset, some of them slow; and what an update costs a browser."""
    result: dict[str, Any] = {}
    with stage(assets) as (dashboard, plant):
        result["alone"] = watch(dashboard, plant, seconds / 2, "fleet", viewers=1)
        result["fleet"] = watch(dashboard, plant, seconds, "fleet", viewers=viewers)
        asset = f"asset?asset={names(1)[0]}&detector=pumps"
        result["asset"] = watch(dashboard, plant, seconds / 2, asset, viewers=viewers)
        result["slow"] = watch(dashboard, plant, seconds, "fleet", viewers=10, slow=5, slow_s=5.0)
        result["browser_fleet"] = browse(browser, dashboard.url, ".tile", seconds / 2)
        url = f"{dashboard.url}/asset?asset={names(1)[0]}"
        result["browser_asset"] = browse(browser, url, ".chart canvas", seconds / 2)
    return result


if __name__ == "__main__":
    main()
