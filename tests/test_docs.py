"""Documentation that the code can contradict is held to it."""

import re
from pathlib import Path

import pytest

from monitor.config import load
from tests import reference

ROOT = Path(__file__).parent.parent


def test_reference_page_is_what_the_code_says():
    assert reference.FILE.read_text(encoding="utf-8") == reference.page(), "run: python -m tests.reference"


def test_schema_files_are_what_the_code_says():
    expected = reference.schema_files()
    assert {file: file.read_text(encoding="utf-8") for file in reference.SCHEMAS.glob("*.json")} == expected


def test_every_setting_metric_and_reason_has_a_meaning():
    rows = [line for line in reference.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert not [row for row in rows if re.match(r"\| `[^`]+` \| +\|", row)]


def test_architecture_is_at_most_1500_words():
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split()) <= 1500


PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/reference.md",
    "docs/scaling.md",
    "docs/notifications.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if not target.startswith("http")]
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_every_command_in_the_readme_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^(tocsin(?:-train)? [a-z]+|tocsin-dashboard)", text, re.MULTILINE))
    assert shown <= set(re.findall(r"^### `([^`]+)`$", reference.page(), re.MULTILINE))
    assert {"tocsin run", "tocsin replay", "tocsin backtest", "tocsin-train fit", "tocsin-dashboard"} <= shown


def test_example_configuration_is_valid_and_shows_every_table():
    config = load(ROOT / "deploy" / "tocsin.toml")
    text = (ROOT / "deploy" / "tocsin.toml").read_text(encoding="utf-8")
    assert all(f"\n{title}\n" in text for title in reference.TABLES)
    assert config.detectors
