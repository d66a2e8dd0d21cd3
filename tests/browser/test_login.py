"""People who log in at a real provider: what each role sees, and what each may do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from msgspec.structs import replace
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, BrowserContext, Page, expect

from monitor.commands import Command, decode_command
from tests.browser.conftest import Dashboard, running_dashboard
from tests.dashboard.plant import Publisher, incident, own_topics, scores

pytestmark = pytest.mark.browser

ROLES = '[dashboard]\nrole_claim = "groups"\nroles = { watchers = "viewer", control = "operator" }\n'
PEOPLE = {"vera": ["watchers"], "otto": ["watchers", "control"], "norm": ["canteen"]}

# What somebody can do who owns the browser: say anything to the page.
SAY = """
([name, value]) => {
  const shadow = [...document.querySelectorAll("*")].find((e) => e.shadowRoot?.querySelector(".tocsin"));
  shadow.shadowRoot.querySelector(".tocsin").view.trigger(name, value);
}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of an OpenID Connect provider that knows three people."""
    people = [User(sub=name, claims={"email": f"{name}@plant", "groups": groups}) for name, groups in PEOPLE.items()]
    with run_server_in_thread(user_claims=people) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def locked(embedded_broker: str, provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard with a login, and an asset whose alarm nobody has acknowledged."""
    publisher = Publisher(embedded_broker, own_topics())
    publisher.create_topics()
    publisher.send_scores(scores("pump-1", 0, 300), scores("pump-1", 300, 40, peak=5))
    publisher.send_event(incident("pump-1", 301, peak=5.0))
    with running_dashboard(publisher, tmp_path_factory.mktemp("locked"), ROLES, provider) as running:
        yield running
    publisher.close()


@pytest.fixture
def log_in(chromium: Browser, locked: Dashboard) -> Iterator[Callable[[str], Page]]:
    """Log somebody in, in a browser of their own; the console is judged at the end."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def enter(name: str) -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(locked.url)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name=name).click()
        return page

    yield enter
    for context in contexts:
        context.close()
    assert errors == []


def commands(dashboard: Dashboard) -> list[Command]:
    """All commands that were published."""
    topic = dashboard.publisher.topics.commands
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=dashboard.publisher.bootstrap,
        auto_offset_reset="earliest",
        group_id=None,
        consumer_timeout_ms=1500,
    )
    found = [decode_command(record.value) for record in consumer]
    consumer.close()
    return found


def test_one_who_has_not_logged_in_sees_nothing_of_the_plant(locked: Dashboard, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto(f"{locked.url}/asset?asset=pump-1")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page.locator(".tocsin")).to_have_count(0)
    assert "pump-1" not in page.content()
    page.close()


def test_one_without_a_role_is_told_so(log_in: Callable[[str], Page]) -> None:
    page = log_in("norm")
    expect(page.get_by_text("You are logged in, and have no role here.")).to_be_visible()
    expect(page.get_by_text("norm@plant")).to_be_visible()
    expect(page.locator(".tocsin")).to_have_count(0)


def test_a_viewer_sees_everything_and_has_no_buttons_and_is_refused_if_they_are_forged(
    locked: Dashboard, log_in: Callable[[str], Page]
) -> None:
    page = log_in("vera")
    expect(page.locator(".tile .name")).to_have_text("pump-1")
    expect(page.locator(".status .who")).to_contain_text("vera@plant · viewer")
    page.locator(".tile").click()
    expect(page.locator(".chart:visible canvas")).to_have_count(9)
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.evaluate(SAY, ["acknowledge", {"incident": "", "at": 1}])
    expect(page.locator(".notice")).to_contain_text("may not acknowledge")
    assert [command.user for command in commands(locked) if command.user.startswith("vera")] == []


def test_a_viewer_finds_no_actions_in_the_alarm_list_and_is_refused_if_they_are_forged(
    locked: Dashboard, log_in: Callable[[str], Page]
) -> None:
    page = log_in("vera")
    page.get_by_role("link", name="Alarms").click()
    expect(page.locator(".rows .row .asset")).to_have_text("pump-1")
    page.locator(".rows .row").focus()
    for key in ("a", "s"):
        page.keyboard.press(key)
    expect(page.get_by_role("toolbar").get_by_role("button")).to_have_text(["Similar events"])
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)
    wish = {"action": "acknowledge", "targets": [{"asset": "pump-1", "detector": "pumps"}]}
    page.evaluate(SAY, ["act", wish])
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent: the role viewer may not acknowledge")
    page.evaluate(SAY, ["act", {"action": "format the disk", "targets": [{"asset": "pump-1"}]}])
    expect(page.get_by_role("alert")).to_contain_text("is not understood")
    assert [command.user for command in commands(locked) if command.user.startswith("vera")] == []


def test_an_operator_finds_what_operators_may_do_in_the_alarm_list(log_in: Callable[[str], Page]) -> None:
    page = log_in("otto")
    page.get_by_role("link", name="Alarms").click()
    expect(page.locator(".rows .row .asset")).to_have_text("pump-1")
    buttons = page.get_by_role("toolbar").get_by_role("button")
    expect(buttons).to_have_text(
        ["Similar events", "Acknowledge", "Acknowledge all shown", "Shelve …", "Reset", "True alarm", "False alarm"]
    )


def test_an_operator_acknowledges_and_the_answer_is_shown(
    locked: Dashboard, log_in: Callable[[str], Page], tmp_path: Path
) -> None:
    page = log_in("otto")
    expect(page.locator(".status .who")).to_contain_text("otto@plant · operator")
    page.locator(".tile").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".decisions")).to_contain_text("acknowledge · otto@plant")
    raised = incident("pump-1", 301, peak=5.0)
    sent = [command for command in commands(locked) if command.user == "otto@plant"]
    assert [(c.action, c.asset, c.role, c.incident_id) for c in sent] == [
        ("acknowledge", "pump-1", "operator", raised.incident_id)
    ]
    done = replace(
        raised,
        seq=2,
        transition="acknowledged",
        state="acknowledged",
        actor="otto@plant",
        command_id=sent[0].command_id,
    )
    locked.publisher.send_event(done)
    expect(page.locator(".decisions b").first).to_have_text("done")
    expect(page.locator(".summary .state")).to_contain_text("Acknowledged")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/end_session**")
    page.goto(locked.url)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page.locator(".tocsin")).to_have_count(0)
