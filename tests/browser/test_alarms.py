"""The alarm page as operators use it: real commands on a real topic, answered by a stand-in daemon."""

import csv
import http.client
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from playwright.sync_api import Locator, Page, expect

from monitor.broker import EmbeddedBroker
from monitor.events import IncidentEvent
from tests.browser.conftest import Dashboard, Watched, running_dashboard
from tests.browser.standin import StandIn
from tests.dashboard.control_room import at, group, send, sensor
from tests.dashboard.plant import Publisher, channel_names, own_topics, scores

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=document.title='broken'>"

BLINKS = """
async (shape) => {
  const seen = new Set();
  for (const end = performance.now() + 2000; performance.now() < end; ) {
    seen.add(getComputedStyle(shape).strokeOpacity);
    await new Promise(requestAnimationFrame);
  }
  return seen.size > 1;
}
"""


@pytest.fixture
def daemon(dashboard: Dashboard) -> Iterator[StandIn]:
    """A stand-in daemon over the dashboard's topics; four pumps have been scored."""
    dashboard.publisher.send_scores(*[scores(f"pump-{n}", 0, 120, seed=n) for n in range(1, 5)])
    stand_in = StandIn(dashboard.publisher)
    yield stand_in
    stand_in.close()


@pytest.fixture
def alarms(dashboard: Dashboard, look: Callable[..., Watched]) -> Page:
    """The alarm page, open."""
    page = look(f"{dashboard.url}/alarms").page
    expect(page.locator("h1")).to_have_text("Alarms")
    return page


def row(page: Page, asset: str) -> Locator:
    """The row of an asset in the list that is shown."""
    return page.locator(".rows .row").filter(has=page.locator(".cell.asset").get_by_text(asset, exact=True))


def shows(page: Page, *assets: str) -> None:
    """Wait until the list has these assets in this order."""
    expect(page.locator(".rows .row .cell.asset a")).to_have_text(list(assets))


def blinks(page: Page, asset: str) -> bool:
    """Whether the shape of an asset's state comes and goes within two seconds."""
    return bool(row(page, asset).locator(".state .shape").evaluate(BLINKS))


def open_list(page: Page, name: str) -> None:
    """Choose a tab."""
    page.get_by_role("tab", name=name).click()


def test_the_list_is_in_the_order_in_which_operators_act_and_lives(alarms: Page, daemon: StandIn) -> None:
    daemon.ring("pump-1", "acknowledged", 90, priority="high")
    daemon.ring("pump-2", "unacknowledged", 70, priority="low")
    daemon.ring("pump-3", "returned", 60, priority="high")
    shows(alarms, "pump-2", "pump-3", "pump-1")
    daemon.ring("pump-4", "unacknowledged", 95, priority="high", peak=8.0)
    shows(alarms, "pump-4", "pump-2", "pump-3", "pump-1")
    first = row(alarms, "pump-4")
    expect(first.locator(".state")).to_have_text("Unacknowledged")
    expect(first.locator(".priority")).to_have_text("High")
    expect(first).to_contain_text("vibration 1 52 %")
    expect(first.locator(".peak")).to_have_text("8.00×")
    expect(alarms.locator(".counts")).to_have_text("3 to acknowledge, 2 of high priority")
    assert [blinks(alarms, asset) for asset in ("pump-4", "pump-3", "pump-1")] == [True, False, False]
    alarms.emulate_media(reduced_motion="reduce")
    assert not blinks(alarms, "pump-4")


def test_the_keyboard_walks_the_list_and_acknowledges(alarms: Page, daemon: StandIn) -> None:
    daemon.ring("pump-1", start=90)
    second = daemon.ring("pump-2", start=80)
    shows(alarms, "pump-1", "pump-2")
    row(alarms, "pump-1").focus()
    alarms.keyboard.press("ArrowDown")
    expect(row(alarms, "pump-2")).to_be_focused()
    alarms.keyboard.press("a")
    (command,) = daemon.read()
    assert (command.action, command.asset, command.detector) == ("acknowledge", "pump-2", "pumps")
    assert (command.incident_id, command.role) == (second.occurrence_id, "engineer")
    expect(row(alarms, "pump-2").locator(".answer")).to_contain_text("acknowledge: asked")
    daemon.answer(command, "acknowledged", "acknowledged")
    expect(row(alarms, "pump-2").locator(".state")).to_have_text("Acknowledged")
    expect(row(alarms, "pump-2").locator(".answer")).to_have_text("acknowledge: accepted")
    expect(row(alarms, "pump-2").locator(".by")).to_contain_text(command.user)
    expect(row(alarms, "pump-2")).to_be_focused()


def test_several_and_all_that_are_shown_are_acknowledged_together(alarms: Page, daemon: StandIn) -> None:
    for n in range(1, 5):
        daemon.ring(f"pump-{n}", start=90 - n, labels={"site": "north" if n < 4 else "south"})
    shows(alarms, "pump-1", "pump-2", "pump-3", "pump-4")
    for asset in ("pump-1", "pump-3"):
        row(alarms, asset).get_by_role("checkbox").check()
    alarms.get_by_role("button", name="Acknowledge", exact=True).click()
    assert [command.asset for command in daemon.read(2)] == ["pump-1", "pump-3"]
    alarms.get_by_label("All sites").select_option("south")
    shows(alarms, "pump-4")
    alarms.get_by_role("button", name="Acknowledge all shown").click()
    assert [command.asset for command in daemon.read()] == ["pump-4"]
    alarms.get_by_label("All sites").select_option("")
    alarms.get_by_label("Search").fill("PUMP-2")
    shows(alarms, "pump-2")
    alarms.get_by_label("Search").fill("nothing like it")
    expect(alarms.locator(".empty")).to_have_text("Nothing passes the filters.")


def test_what_was_rejected_and_what_nobody_answered_is_told_at_the_row(alarms: Page, daemon: StandIn) -> None:
    daemon.ring("pump-1", start=90)
    daemon.ring("pump-2", start=80)
    shows(alarms, "pump-1", "pump-2")
    alarms.get_by_label("Select all shown").check()
    alarms.get_by_role("button", name="Acknowledge", exact=True).click()
    first, _second = daemon.read(2)
    daemon.answer(first, "rejected", reason="the incident that it is about is over")
    expect(row(alarms, "pump-1").locator(".answer")).to_have_text(
        "acknowledge: rejected: the incident that it is about is over"
    )
    expect(row(alarms, "pump-2").locator(".answer")).to_have_text("acknowledge: not confirmed", timeout=15_000)


def test_an_alarm_is_shelved_with_a_reason_for_a_time_and_comes_back(alarms: Page, daemon: StandIn) -> None:
    daemon.ring("pump-1")
    shows(alarms, "pump-1")
    row(alarms, "pump-1").focus()
    alarms.keyboard.press("s")
    dialog = alarms.get_by_role("dialog")
    dialog.get_by_role("button", name="Shelve").click()
    expect(dialog).to_be_visible()  # without a reason it does not go
    dialog.get_by_label("Reason").fill("bearing is changed at the next stop")
    dialog.get_by_label("4 hours").check()
    dialog.get_by_role("button", name="Shelve").click()
    (command,) = daemon.read()
    assert (command.action, command.reason) == ("shelve", "bearing is changed at the next stop")
    assert command.until is not None
    assert abs(command.until - command.at - timedelta(hours=4)) < timedelta(seconds=5)
    daemon.answer(command, "shelved", "shelved")
    expect(alarms.locator(".empty")).to_have_text("No alarm is waiting and none is open.")
    open_list(alarms, "Shelved")
    shelved = row(alarms, "pump-1")
    expect(shelved.locator(".left")).to_contain_text("in 4 h")
    expect(shelved.locator(".by")).to_have_text(command.user)
    expect(shelved).to_contain_text("bearing is changed")
    expect(shelved.locator(".under")).to_have_text("Over its limit")
    shelved.click()
    alarms.get_by_role("button", name="Unshelve").click()
    (command,) = daemon.read()
    assert command.action == "unshelve"
    daemon.answer(command, "unshelved", "unacknowledged")
    open_list(alarms, "Alarms")
    shows(alarms, "pump-1")


def test_a_shelving_ends_at_a_time_that_a_person_gives(alarms: Page, daemon: StandIn) -> None:
    daemon.ring("pump-1")
    shows(alarms, "pump-1")
    row(alarms, "pump-1").click()
    alarms.get_by_role("button", name="Shelve").click()
    dialog = alarms.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("known")
    dialog.get_by_label("Until …").check()
    end = (datetime.now(UTC) + timedelta(days=2)).replace(second=0, microsecond=0)
    dialog.get_by_label("Until, in UTC").fill(end.strftime("%Y-%m-%dT%H:%M"))
    alarms.keyboard.press("Enter")
    (command,) = daemon.read()
    assert command.until == end


@pytest.mark.parametrize(
    ("button", "reason", "before", "action", "transition", "after", "then"),
    [
        ("Take out of service", "dismantled", "acknowledged", "take_out_of_service", "taken_out_of_service",
         "out_of_service", "Out of service"),
        ("Accept as normal", "new product", "unacknowledged", "accept", "cleared", "normal", ""),
        ("Reset", "", "latched_acknowledged", "reset", "reset", "normal", ""),
        ("True alarm", "", "acknowledged", "label", "labelled", "", "True alarm"),
        ("False alarm", "", "unacknowledged", "label", "labelled", "", "False alarm"),
    ],
)  # fmt: skip
def test_what_engineers_and_operators_decide_reaches_the_daemon(
    alarms: Page,
    daemon: StandIn,
    button: str,
    reason: str,
    before: str,
    action: str,
    transition: str,
    after: str,
    then: str,
) -> None:
    event = daemon.ring("pump-1", before)
    shows(alarms, "pump-1")
    row(alarms, "pump-1").click()
    alarms.get_by_role("button", name=button).click()
    if reason:
        alarms.get_by_label("Reason").fill(reason)
        alarms.get_by_role("dialog").get_by_role("button", name=button).click()
    (command,) = daemon.read()
    assert (command.action, command.reason) == (action, reason)
    daemon.answer(command, transition, after)
    if action == "label":
        assert (command.label, command.incident_id) == (then.split()[0].lower(), event.occurrence_id)
        expect(row(alarms, "pump-1").locator(".label")).to_have_text(then)
        return
    expect(alarms.locator(".empty")).to_be_visible()
    if then:
        open_list(alarms, then)
        expect(row(alarms, "pump-1")).to_contain_text(reason)
        row(alarms, "pump-1").click()
        alarms.get_by_role("button", name="Return to service").click()
        assert daemon.read()[0].action == "return_to_service"


def test_enter_opens_the_asset_at_the_moment_of_its_alarm(
    alarms: Page, daemon: StandIn, dashboard: Dashboard
) -> None:
    event = daemon.ring("pump-3")
    row(alarms, "pump-3").focus()
    alarms.keyboard.press("Enter")
    expect(alarms).to_have_url(f"{dashboard.url}/asset?asset=pump-3&incident={event.occurrence_id}")
    expect(alarms.locator(".chart:visible canvas").first).to_be_visible()


def test_groups_open_to_their_members_and_sensor_faults_are_listed(alarms: Page, daemon: StandIn) -> None:
    first, second = daemon.ring("pump-1", start=70), daemon.ring("pump-2", start=75)
    send(daemon.publisher, group(first, second), sensor("pump-3"))
    expect(row(alarms, "pump-1").locator(".group")).to_have_text("Origin of 2")
    expect(row(alarms, "pump-2").locator(".group")).to_have_text("1 of 2, after pump-1")
    open_list(alarms, "Groups")
    alarms.get_by_text("2 incidents, suspected origin pump-1").click()
    members = alarms.locator(".member")
    expect(members).to_have_count(2)
    expect(members.first).to_contain_text("first: suspected origin")
    expect(members.last).to_contain_text("40 s later")
    open_list(alarms, "Sensor faults")
    expect(row(alarms, "pump-3")).to_contain_text("Stuck")
    expect(row(alarms, "pump-3")).to_contain_text("the same value for 40 readings")


def test_the_audit_trail_is_searched_and_downloaded(alarms: Page, daemon: StandIn, tmp_path: Path) -> None:
    daemon.ring("pump-1", start=90)
    daemon.ring("pump-2", start=80)
    shows(alarms, "pump-1", "pump-2")
    alarms.get_by_role("button", name="Acknowledge all shown").click()
    first, second = daemon.read(2)
    daemon.answer(first, "acknowledged", "acknowledged")
    daemon.answer(second, "rejected", reason="it is shelved")
    open_list(alarms, "Audit trail")
    trail = alarms.locator(".rows .row")
    expect(trail).to_have_count(2)
    expect(trail.filter(has_text="pump-2")).to_contain_text("rejected: it is shelved")
    alarms.get_by_label("Search").fill("shelved")
    expect(trail).to_have_count(1)
    with alarms.expect_download() as download:
        alarms.get_by_role("button", name="Download CSV").click()
    file = tmp_path / "audit.csv"
    download.value.save_as(file)
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [(each["what"], each["asset"], each["answer"]) for each in rows] == [
        ("acknowledge", "pump-2", "rejected"),
        ("acknowledge", "pump-1", "accepted"),
    ]


def test_files_are_closed_to_one_without_a_ticket(dashboard: Dashboard) -> None:
    for path in ("/files/audit.csv", "/files/report?detector=pumps&version=7"):
        for headers in ({}, {"authorization": "Bearer made.up"}):
            connection = http.client.HTTPConnection(urlsplit(dashboard.url).netloc, timeout=10)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            assert (answer.status, "icket" in answer.read().decode()) == (401, True)


def test_past_incidents_are_labelled(alarms: Page, daemon: StandIn) -> None:
    event = daemon.ring("pump-1", "normal", 20, active=False, end=at(40), transition="cleared")
    open_list(alarms, "Past incidents")
    expect(row(alarms, "pump-1").locator(".state")).to_have_text("Normal")
    row(alarms, "pump-1").get_by_role("checkbox").check()
    alarms.get_by_role("button", name="False alarm").click()
    (command,) = daemon.read()
    assert (command.label, command.incident_id) == ("false", event.occurrence_id)
    daemon.answer(command, "labelled")
    expect(row(alarms, "pump-1").locator(".label")).to_have_text("False alarm")


def test_names_and_reasons_that_are_markup_are_shown_as_text_in_every_list(alarms: Page, daemon: StandIn) -> None:
    names = [MARKUP, *channel_names(2)]

    def told(state: str, transition: str, number: int) -> IncidentEvent:
        event = daemon.ring(f"{MARKUP}{number}", state, names=names, labels={"site": MARKUP})
        return replace(
            event, seq=2, alarm_seq=2, transition=transition, actor=MARKUP, reason=MARKUP,
            command_id=f"{number}", decided=datetime.now(UTC), end=at(99),
        )  # fmt: skip

    ringing = told("unacknowledged", "rejected", 1)
    events = [
        ringing,
        told("shelved", "shelved", 2),
        told("suppressed", "suppressed", 3),
        told("out_of_service", "taken_out_of_service", 4),
        told("normal", "cleared", 5),
    ]
    fault = replace(sensor(MARKUP, MARKUP), detail=MARKUP)
    send(daemon.publisher, *events, fault, replace(group(*events[:2]), shared={MARKUP: MARKUP}))
    lists = ("Alarms", "Shelved", "Suppressed", "Out of service", "Sensor faults", "Groups", "Past", "Audit")
    for name in lists:
        open_list(alarms, name)
        expect(alarms.locator(".list").get_by_text(MARKUP).locator("visible=true").first).to_be_visible()
        assert alarms.locator("img[src=x]").count() == 0
    assert alarms.title() != "broken"


def test_a_row_keeps_its_place_in_the_page_while_others_come_and_go(alarms: Page, daemon: StandIn) -> None:
    daemon.ring("pump-2", priority="low")
    shows(alarms, "pump-2")
    row(alarms, "pump-2").evaluate("node => { node.marked = true; node.focus(); }")
    daemon.ring("pump-1", priority="high")
    shows(alarms, "pump-1", "pump-2")
    assert row(alarms, "pump-2").evaluate("node => node.marked") is True
    expect(row(alarms, "pump-2")).to_be_focused()


@pytest.mark.slow
def test_a_broker_that_is_away_is_named_and_nothing_hangs(tmp_path: Path, look: Callable[..., Watched]) -> None:
    with EmbeddedBroker(data_dir=tmp_path / "broker") as broker:
        publisher = Publisher(broker.bootstrap, own_topics())
        publisher.create_topics()
        publisher.send_scores(scores("pump-1", 0, 50))
        daemon = StandIn(publisher)
        daemon.ring("pump-1")
        with running_dashboard(publisher, tmp_path) as running:
            page = look(f"{running.url}/alarms").page
            shows(page, "pump-1")
            publisher.close()
            broker.stop()
            expect(page.get_by_role("button", name="Acknowledge", exact=True)).to_be_disabled()  # nothing is chosen
            row(page, "pump-1").click()
            page.get_by_role("button", name="Acknowledge", exact=True).click()
            expect(row(page, "pump-1").locator(".answer")).to_have_text("acknowledge: sending …")
            alert = page.get_by_role("alert")
            expect(alert).to_contain_text(f"Nothing was sent: The broker at {broker.bootstrap}", timeout=20_000)
            expect(row(page, "pump-1").locator(".answer")).to_have_text("")
            page.close()
