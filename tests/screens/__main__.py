"""Pictures of every page over a demo plant: `make screens`, or `SERVE=1` to look around in it.

The last line is one JSON object: pages, screenshots, frames without a chart while points arrived, places where a name
that is markup was shown as text, and errors that consoles told.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM, ROOT, Watched
from tests.screens.plant import MARKUP
from tests.screens.site import Site, running_site

OUT = ROOT / "docs" / "screens"
WATCH_FRAMES = (ROOT / "tests" / "browser" / "watch_frames.js").read_text(encoding="utf-8")
DESK, PHONE, WALL = (1440, 900), (390, 844), (3840, 2160)
FRAMES_S = 20
MOST_BYTES = 200_000
COLOURS = 160

Act = Callable[[Page], object]


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: what it is called, which page, what has to be there, and what is done before it is taken."""

    name: str
    path: str
    ready: str
    act: Act | None = None
    sizes: tuple[tuple[str, tuple[int, int]], ...] = (("", DESK),)
    themes: tuple[str, ...] = ("light", "dark")


@dataclass(slots=True)
class Told:
    """What the run found."""

    pages: set[str] = field(default_factory=set)
    screenshots: int = 0
    blank_frames: int = 0
    markup_shown_as_text: int = 0
    markup_that_ran: int = 0
    errors: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """The last line."""
        return json.dumps(
            {
                "pages": len(self.pages),
                "screenshots": self.screenshots,
                "blank_frames": self.blank_frames,
                "markup_shown_as_text": self.markup_shown_as_text,
                "markup_that_ran": self.markup_that_ran,
                "errors_in_console": len(self.errors),
            }
        )


def tab(name: str) -> Act:
    """Choose a list of the alarm page."""
    return lambda page: page.get_by_role("tab", name=name).click()


def shelve(page: Page) -> None:
    """Open the question that shelving asks."""
    page.get_by_label("Select press-01").check()
    page.get_by_role("button", name="Shelve").click()
    page.get_by_label("Reason").fill("bearing is changed at the next stop")


def groups(page: Page) -> None:
    """Open the first group."""
    tab("Groups")(page)
    page.locator(".groups summary").first.click()


def report(page: Page) -> None:
    """Open the training report."""
    page.get_by_role("button", name="Training report").click()
    expect(page.frame_locator("iframe.report").locator("h1")).to_be_visible()


EVERY = (("", DESK), ("-phone", PHONE), ("-wall", WALL))
SHOTS = (
    Shot("fleet", "", ".tile", sizes=EVERY),
    Shot("alarms", "alarms", ".rows .row", sizes=EVERY),
    Shot("alarms-shelve", "alarms", ".rows .row", shelve),
    *(
        Shot(f"alarms-{name.lower().replace(' ', '-')}", "alarms", ".rows .row", tab(name), themes=("light",))
        for name in ("Shelved", "Suppressed", "Out of service", "Sensor faults", "Past incidents", "Audit trail")
    ),
    Shot("alarms-groups", "alarms", ".rows .row", groups),
    Shot("asset", "asset?asset=press-01", ".chart:visible canvas", sizes=EVERY),
    Shot("performance", "performance?days=2", ".figure", sizes=EVERY),
    Shot("similar", "similar", ".matches > li", sizes=EVERY),
    Shot("models", "models", ".card .chip", sizes=EVERY),
    Shot("models-report", "models", ".card .chip", report, themes=("light",)),
    Shot("health", "health", ".letters tbody tr", sizes=EVERY),
)


def take(contexts: dict[tuple[str, tuple[int, int]], BrowserContext], site: Site, shot: Shot, told: Told) -> None:
    """All pictures of one page: a phone in the light of day, a wall in a dark control room."""
    for theme in shot.themes:
        for size, pixels in shot.sizes:
            if (size, theme) not in (("-wall", "light"), ("-phone", "dark")):
                name = f"{shot.name}{size}-{theme}"
                with_page(contexts[theme, pixels], site, shot.path, told, partial(picture, shot, name, told))


def picture(shot: Shot, name: str, told: Told, page: Page) -> None:
    """One picture, once the page has what it shows."""
    expect(page.locator(shot.ready).first).to_be_visible(timeout=30_000)
    if shot.act is not None:
        shot.act(page)
    page.wait_for_function("() => document.fonts.status === 'loaded'")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    file = OUT / f"{name}.png"
    page.screenshot(path=file, animations="disabled")
    told.screenshots += 1
    told.pages.add(shot.path.partition("?")[0] or "fleet")
    told.markup_shown_as_text += page.get_by_text(MARKUP).locator("visible=true").count()
    told.markup_that_ran += page.locator("img[src=x]").count() + (page.title() == "broken")
    with Image.open(file) as image:  # few colours are enough for a page that is grey
        whole = image.convert("RGB")
        shown = whole.resize((whole.width // 2, whole.height // 2)) if whole.width > DESK[0] else whole
        shown.quantize(COLOURS).save(file, optimize=True)
    if file.stat().st_size > MOST_BYTES:
        print(f"{file.name}: {file.stat().st_size:,} bytes are more than a picture of the docs should have")


def with_page(context: BrowserContext, site: Site, path: str, told: Told, use: Act) -> None:
    """Open a page, use it, and keep what its console told."""
    page = context.new_page()
    watched = Watched(page)
    page.on("console", lambda message: watched.note(message))
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.goto(f"{site.url}/{path}")
    use(page)
    page.close()
    told.errors += [f"{path}: {error}" for error in watched.errors]


def watch(told: Told, page: Page) -> None:
    """Count frames without their charts while points arrive."""
    expect(page.locator(".chart:visible canvas")).to_have_count(9, timeout=30_000)
    page.evaluate(WATCH_FRAMES)
    page.wait_for_timeout(FRAMES_S * 1000)
    found = page.evaluate("() => window.stopWatching()")
    print(f"frames: {found}")
    told.blank_frames += int(found["blank"] + found["remounted"] + found["dimmed"])


def main() -> int:
    """Run everything; 1 where a console told an error, markup ran, or a frame was blank."""
    with tempfile.TemporaryDirectory(prefix="tocsin-screens-") as folder:
        if os.environ.get("SERVE"):
            return serve(Path(folder))
        chromium = next(path for name in CHROMIUM if (path := shutil.which(name)))
        OUT.mkdir(parents=True, exist_ok=True)
        told = Told()
        with running_site(Path(folder)) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            contexts = {
                (theme, (w, h)): browser.new_context(
                    viewport={"width": w, "height": h}, color_scheme=theme, reduced_motion="reduce"
                )
                for theme in ("light", "dark")
                for w, h in (DESK, PHONE, WALL)
            }
            for shot in SHOTS:
                if not sys.argv[1:] or shot.name in sys.argv[1:]:
                    take(contexts, site, shot, told)
            with_page(contexts["light", DESK], site, "asset?asset=press-01", told, partial(watch, told))
            browser.close()
    for error in told.errors:
        print(error)
    print(told.as_json())
    return int(bool(told.errors or told.markup_that_ran or told.blank_frames))


def serve(folder: Path) -> int:
    """Leave the demo plant running until Ctrl-C."""
    with running_site(folder, port=int(os.environ.get("PORT", "8501"))) as site:
        print(f"{site.url}  (Ctrl-C ends it)", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
