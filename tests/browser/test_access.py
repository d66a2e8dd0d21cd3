"""Who is let in: tried from outside, without a browser, as one who means harm would."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dashboard.route import PROTOCOL, TICKET_OVER
from dashboard.tickets import Tickets
from monitor.broker import free_port
from tests.browser.conftest import ROOT, Dashboard, running_dashboard
from tests.dashboard.plant import Publisher, own_topics, scores

SECRET = "a secret that several processes share"
OURS = Tickets(SECRET.encode(), 300.0)
PROXY = "https://tocsin.example"
SETTINGS = f'[dashboard]\nticket_secret = "{SECRET}"\norigins = ["{PROXY}"]\n'


@pytest.fixture(scope="module")
def guarded(embedded_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard whose tickets this test can issue."""
    publisher = Publisher(embedded_broker, own_topics())
    publisher.create_topics()
    publisher.send_scores(scores("pump-1", 0, 100))
    with running_dashboard(publisher, tmp_path_factory.mktemp("guarded"), SETTINGS) as running:
        yield running
    publisher.close()


def ask(dashboard: Dashboard, path: str, **headers: str) -> http.client.HTTPResponse:
    """A request as curl would send it."""
    connection = http.client.HTTPConnection(urlsplit(dashboard.url).netloc, timeout=10)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def look(dashboard: Dashboard, ticket: str, stream: str = "fleet", **more: str) -> ClientConnection:
    """Open the live route with a ticket."""
    url = f"{dashboard.url.replace('http', 'ws')}/live/{stream}"
    protocols = [PROTOCOL, ticket] if ticket else None
    return connect(url, subprotocols=protocols, additional_headers=more, max_size=None)


def draw(socket: ClientConnection) -> dict[str, Any]:
    """Take a picture, and tell the server that it is drawn, as a page does."""
    message: dict[str, Any] = json.loads(socket.recv(10))
    socket.send(json.dumps({"drawn": message["seq"]}))
    return message


def close_code(socket: ClientConnection) -> int | None:
    """Read a view to its end, and tell with which code the server ended it."""
    try:
        while True:
            draw(socket)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def refusal(dashboard: Dashboard, ticket: str, stream: str = "fleet", **more: str) -> tuple[int, str]:
    """The status and sentence with which the live route is closed to somebody."""
    with pytest.raises(InvalidStatus) as refused:
        look(dashboard, ticket, stream, **more)
    return refused.value.response.status_code, (refused.value.response.body or b"").decode()


def test_live_pictures_are_closed_to_one_without_a_good_ticket(guarded: Dashboard) -> None:
    status, sentence = refusal(guarded, "")
    assert (status, sentence.startswith("No ticket")) == (401, True)
    forged = Tickets(b"a guess", 300.0).issue("root", "engineer", time.time())
    assert refusal(guarded, forged) == (401, "This ticket was not issued here.\n")
    status, sentence = refusal(guarded, OURS.issue("ann", "viewer", time.time() - 301))
    assert (status, sentence.startswith("This ticket is over")) == (401, True)
    assert refusal(guarded, OURS.issue("ann", "viewer", time.time()), "secrets")[0] == 404


def test_a_good_ticket_opens_live_pictures(guarded: Dashboard) -> None:
    with look(guarded, OURS.issue("ann", "viewer", time.time())) as socket:
        first, second = json.loads(socket.recv(10)), json.loads(socket.recv(10))
    assert (first["base"], second["base"]) == (None, first["seq"])


def test_a_view_that_draws_slowly_is_never_sent_the_past(guarded: Dashboard) -> None:
    with look(guarded, OURS.issue("ann", "viewer", time.time())) as slow:
        with look(guarded, OURS.issue("bob", "viewer", time.time())) as quick:
            first = json.loads(slow.recv(10))
            while draw(quick)["seq"] < first["seq"] + 5:
                pass
        assert json.loads(slow.recv(10))["base"] == first["seq"]
        with pytest.raises(TimeoutError):
            slow.recv(1.5)
        slow.send(json.dumps({"drawn": first["seq"] + 1}))
        late = json.loads(slow.recv(10))
    assert late["base"] is None
    assert late["seq"] >= first["seq"] + 5


def test_a_view_ends_with_its_ticket_unless_that_is_renewed(guarded: Dashboard) -> None:
    short = Tickets(SECRET.encode(), 2.0)
    issued = short.issue("ann", "viewer", time.time())
    with look(guarded, issued) as ends, look(guarded, issued) as stays:
        stays.send(json.dumps({"ticket": OURS.issue("ann", "viewer", time.time())}))
        assert close_code(ends) == TICKET_OVER
        seen = [draw(stays)["seq"] for _ in range(4)]
    assert seen == list(range(seen[0], seen[0] + 4))


def test_a_view_does_not_become_another_persons(guarded: Dashboard) -> None:
    with look(guarded, OURS.issue("ann", "viewer", time.time())) as socket:
        socket.send(json.dumps({"ticket": OURS.issue("bob", "engineer", time.time())}))
        assert close_code(socket) == TICKET_OVER


def test_the_past_is_closed_and_opened_by_the_same_tickets(guarded: Dashboard) -> None:
    path = "/history?asset=pump-1&detector=pumps&from=1767225600&to=1767229600"
    assert ask(guarded, path).status == 401
    good = f"Bearer {OURS.issue('ann', 'viewer', time.time())}"
    assert ask(guarded, path, Authorization=good).status == 200
    assert ask(guarded, "/history?asset=pump-1", Authorization=good).status == 400
    assert ask(guarded, "/live/fleet").status == 401


def test_what_streamlit_would_answer_to_anyone_is_closed(guarded: Dashboard) -> None:
    assert ask(guarded, "/_stcore/metrics").status == 403
    assert ask(guarded, "/_stcore/agent/openapi.json").status == 403
    assert ask(guarded, "/_stcore/health").status == 200


def test_pages_of_other_sites_may_neither_ask_nor_listen(guarded: Dashboard) -> None:
    assert ask(guarded, "/_stcore/health", Origin="http://evil.example").status == 403
    assert refusal(guarded, OURS.issue("ann", "viewer", time.time()), Origin="http://evil.example")[0] == 403
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"{guarded.url.replace('http', 'ws')}/_stcore/stream",
            additional_headers={"Origin": "http://evil.example"},
        )
    assert refused.value.response.status_code == 403
    assert ask(guarded, "/", Host="evil.example").status == 403


def test_our_own_address_behind_a_proxy_may(guarded: Dashboard) -> None:
    with look(guarded, OURS.issue("ann", "viewer", time.time()), Origin=PROXY) as socket:
        assert draw(socket)["base"] is None
    stream = f"{guarded.url.replace('http', 'ws')}/_stcore/stream"
    with connect(stream, additional_headers={"Origin": PROXY}) as socket:
        assert socket.response is not None
        assert socket.response.status_code == 101


def test_browsers_are_told_what_to_refuse(guarded: Dashboard) -> None:
    headers = dict(ask(guarded, "/").getheaders())
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "'unsafe-inline'" not in headers["content-security-policy"].split("style-src")[0]
    assert "cross-origin-resource-policy" in dict(ask(guarded, "/app/static/fleet.js").getheaders())


def command(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a configuration of its own, to its end."""
    config = folder / "tocsin.toml"
    config.write_text("")
    line = [sys.executable, "-m", "dashboard.cli", "--config", str(config), "--port", str(free_port()), *more]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_login_it_does_not_listen_to_others(tmp_path: Path) -> None:
    told = command(tmp_path, "--host", "0.0.0.0")
    assert told.returncode == 1
    assert told.stderr.startswith("Without a login the dashboard listens to this machine only")
    assert len(told.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("secrets", ["[auth\n", '[auth]\nclient_id = "x"\n'])
def test_a_login_that_is_not_whole_is_not_taken_for_none(tmp_path: Path, secrets: str) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(secrets)
    told = command(tmp_path)
    assert told.returncode == 1
    assert "Streamlit's secrets" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
