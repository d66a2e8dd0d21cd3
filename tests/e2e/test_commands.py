"""What people decide, on both brokers: obeyed once by a daemon that may be killed, and back by itself."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from monitor.commands import Command
from monitor.events import IncidentEvent
from tests.e2e.conftest import MakeSite
from tests.e2e.site import Site, readings, tocsin, until

pytestmark = pytest.mark.slow


def command(action: Any, asset: str, **changes: Any) -> Command:
    asked = {"command_id": f"{action} {asset}", "action": action, "asset": asset, "user": "bea", "role": "engineer"}
    return Command(**(asked | {"reason": "because", "at": datetime.now(UTC)} | changes))


def answers(site: Site) -> list[IncidentEvent]:
    """The events that commands brought about."""
    return [event for event in site.incident_events() if event.command_id]


def test_a_command_is_obeyed_once_by_a_daemon_that_is_killed_and_a_shelved_alarm_comes_back(
    make_site: MakeSite,
) -> None:
    site = make_site(idle_limit_s=600)
    site.send(readings())
    daemon = site.run()
    until(lambda: len({e.asset for e in site.incident_events()}) == 5, "every pump has rung", daemon)
    site.post(command("acknowledge", "pump-1", command_id="a"))
    until(lambda: [event.command_id for event in answers(site)] == ["a"], "it is answered", daemon)
    daemon.kill()
    end = datetime.now(UTC) + timedelta(seconds=20)
    site.post(command("shelve", "pump-2", command_id="b", until=end))
    site.post(command("acknowledge", "pump-99", command_id="nobody's"))
    site.post(command("unshelve", "pump-3", command_id="c"))
    daemon = site.run()
    until(
        lambda: {event.command_id for event in answers(site)} >= {"b", "c"}, "what came meanwhile is obeyed", daemon
    )
    daemon.kill()
    daemon = site.run()
    unshelved = lambda: [event for event in site.incident_events() if event.transition == "unshelved"]  # noqa: E731
    until(lambda: bool(unshelved()), "it comes back when its time is up", daemon)
    daemon.stop()
    [back] = unshelved()
    assert (back.asset, back.decided, back.actor) == ("pump-2", end, "")
    first, *others = answers(site)
    assert (first.state, first.actor) in {("acknowledged", "bea"), ("normal", "bea")}
    assert {(event.asset, event.command_id): event.transition for event in others} == {
        ("pump-2", "b"): "shelved",
        ("pump-3", "c"): "rejected",
    }
    assert len(others) == 2 or not site.exactly_once
    for asset in {event.asset for event in site.incident_events()}:  # one chain of states for each alarm
        chain = {event.alarm_seq: event for event in site.incident_events() if event.asset == asset}
        states = [chain[number] for number in sorted(chain)]
        assert sorted(chain) == list(range(1, len(chain) + 1))
        for earlier, later in pairwise(states):
            assert later.previous_state == earlier.state or "revised" in (earlier.transition, later.transition)


def test_a_person_decides_at_the_command_line_and_is_told_what_became_of_it(make_site: MakeSite) -> None:
    site = make_site(idle_limit_s=600)
    site.send(readings())
    daemon = site.run()
    until(lambda: len({e.asset for e in site.incident_events()}) == 5, "every pump has rung", daemon)

    def decide(*words: str) -> tuple[int, str]:
        done = tocsin("decide", *words, "--config", str(site.config_file), "--user", "bea")
        return done.returncode, done.stdout + done.stderr

    assert decide("shelve", "pump-1", "--reason", "new seal") == (0, "pump-1, pumps: shelved; it is shelved\n")
    code, said = decide("acknowledge", "pump-1")
    assert code == 1
    assert "rejected: it is shelved" in said
    assert decide("unshelve", "pump-1")[0] == 0
    assert decide("accept", "pump-1", "--reason", "new normal") == (
        1,
        "tocsin: the role operator may not accept as normal; it takes an engineer\n",
    )
    code, said = decide("acknowledge", "pump-99")
    assert code == 1
    assert said.startswith("not confirmed: no daemon that has seen pump-99 answered in 10 s; ")
