"""A real dashboard process on an embedded broker, and a headless Chromium to look at it."""

import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from monitor.broker import free_port
from tests.dashboard.plant import Publisher, own_topics, write_model
from tests.require import require

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Streamlit looks for its server beside the address of a page before it looks above it.
PAGES = ("asset", "alarms", "performance", "similar", "models", "health")
PROBES = tuple(f"/{page}/_stcore/{probe}" for page in PAGES for probe in ("health", "host-config"))


@dataclass(slots=True)
class Dashboard:
    """A running dashboard: where it answers, and what feeds it."""

    url: str
    publisher: Publisher
    pid: int = 0


@dataclass(slots=True)
class Watched:
    """A page, and the errors that its console has told."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keep an error; the probes of Streamlit's own start are none."""
        if message.type == "error" and not message.location.get("url", "").endswith(PROBES):
            self.errors.append(message.text)


@contextmanager
def running_dashboard(
    publisher: Publisher, folder: Path, settings: str = "", provider: str = "", port: int = 0
) -> Iterator[Dashboard]:
    """Run the command as a user would, from when it answers until a signal ends it in good order.

    `settings` are added to the configuration; with the address of a `provider` people have to log in there.
    """
    port = port or free_port()
    if provider:
        write_secrets(folder, provider, port)
    config = folder / "tocsin.toml"
    names = ("scores", "anomalies", "deadletter", "commands")
    topics = "\n".join(f'{name} = "{getattr(publisher.topics, name)}"' for name in names)
    model = folder / "pumps" if (folder / "pumps").exists() else write_model(folder)
    detector = f'[[detectors]]\nname = "pumps"\nmodel = "{model}"\nassets = ["*"]'
    kafka = f'[kafka]\nbootstrap_servers = "{publisher.bootstrap}"'
    config.write_text(f"{kafka}\n[topics]\n{topics}\n{settings}\n{detector}\n")
    command = [sys.executable, "-m", "dashboard.cli", "--config", str(config), "--port", str(port)]
    with (folder / "dashboard.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    dashboard = Dashboard(f"http://127.0.0.1:{port}", publisher, process.pid)
    try:
        await_answer(f"{dashboard.url}/_stcore/health", process)
        yield dashboard
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()


def write_secrets(folder: Path, provider: str, port: int) -> None:
    """Streamlit's secrets for a login, as an administrator writes them."""
    secrets = folder / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir(exist_ok=True)
    secrets.write_text(
        "[auth]\n"
        f'redirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
        'cookie_secret = "a secret that signs the cookies of this test"\n'
        'client_id = "tocsin"\nclient_secret = "of the client"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )


def await_answer(url: str, process: subprocess.Popen[bytes], within_s: float = 30.0) -> None:
    """Wait until an address answers; fails when the process ends first."""
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            pause.wait(0.05)
        else:
            return
    pytest.fail(f"nothing answers at {url}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium; skips where the machine has none."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    require(found is not None, "Chromium is missing: install it so that `chromium` is on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def look(chromium: Browser) -> Iterator[Callable[..., Watched]]:
    """Open pages that are closed, and whose console is judged, at the end of the test."""
    opened: list[Watched] = []

    def open_page(url: str, theme: str = "light", width: int = 1440, height: int = 900) -> Watched:
        page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        watched = Watched(page)
        page.on("console", lambda message: watched.note(message))
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        opened.append(watched)
        page.goto(url)
        return watched

    yield open_page
    errors = [error for watched in opened for error in watched.errors]
    for watched in opened:
        if not watched.page.is_closed():
            errors += watched.page.locator("[data-testid=stAlertContainer]").all_inner_texts()
            watched.page.close()
    assert errors == []


@pytest.fixture
def dashboard(embedded_broker: str, tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard over topics of its own, which are there and empty."""
    publisher = Publisher(embedded_broker, own_topics())
    publisher.create_topics()
    with running_dashboard(publisher, tmp_path) as running:
        yield running
    publisher.close()


@pytest.fixture
def keep() -> Callable[[Page, str], None]:
    """Keep a picture of a page as a build output."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=SCREENSHOTS / f"{name}.png") and None
