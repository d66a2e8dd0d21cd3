"""Tickets to live data: what is accepted, and what is said to others."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.tickets import NoTicket, Tickets

TICKETS = Tickets(b"a secret of this process", lasts_s=300.0)


def test_a_ticket_says_who_and_until_when() -> None:
    found = TICKETS.check(TICKETS.issue("ann", "operator", 1000.0), 1299.0)
    assert (found.user, found.role, found.until) == ("ann", "operator", 1300.0)


def test_a_ticket_may_stand_in_a_websocket_subprotocol() -> None:
    ticket = TICKETS.issue('Zoë "the, one"', "viewer", 1000.0)
    assert set(ticket) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@pytest.mark.parametrize("now_s", [1300.0, 9e9])
def test_a_ticket_that_is_over_is_refused(now_s: float) -> None:
    with pytest.raises(NoTicket, match="over"):
        TICKETS.check(TICKETS.issue("ann", "operator", 1000.0), now_s)


def test_a_ticket_of_another_secret_is_refused() -> None:
    with pytest.raises(NoTicket, match="not issued here"):
        TICKETS.check(replace(TICKETS, secret=b"another").issue("ann", "engineer", 1000.0), 1000.0)


def test_a_ticket_whose_role_was_raised_is_refused() -> None:
    payload, signature = TICKETS.issue("ann", "viewer", 1000.0).split(".")
    raised = base64.urlsafe_b64decode(payload + "==").replace(b"viewer", b"engineer")
    with pytest.raises(NoTicket, match="not issued here"):
        TICKETS.check(f"{base64.urlsafe_b64encode(raised).decode().rstrip('=')}.{signature}", 1000.0)


def test_no_ticket_is_told_apart() -> None:
    with pytest.raises(NoTicket, match="No ticket"):
        TICKETS.check("", 0.0)


@given(st.text(max_size=300))
def test_whatever_is_no_ticket_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(NoTicket):
        TICKETS.check(text, 0.0)


def test_processes_with_the_same_secret_accept_each_others_tickets() -> None:
    issued = Tickets(b"shared", 300.0).issue("ann", "viewer", 0.0)
    assert Tickets(b"shared", 60.0).check(issued, 100.0).user == "ann"
