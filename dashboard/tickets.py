"""Signed tickets: what a page's component shows to the live routes, to which Streamlit gives no user.

A ticket is `payload.signature`, both base64url without padding, so that it can be a WebSocket subprotocol. Pure:
time is an argument.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from monitor.commands import Role

LONGEST = 2048  # what is longer was not made here, and is not looked at


class Ticket(Struct, frozen=True):
    """Who may see live data, and until when (wall clock, s)."""

    user: str
    role: Role
    until: float


class NoTicket(Exception):
    """A ticket that is missing, forged or over; the text is a sentence for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Tickets:
    """Issues and checks tickets with one secret."""

    secret: bytes
    lasts_s: float

    def issue(self, user: str, role: Role, now_s: float) -> str:
        """A ticket that begins now."""
        payload = _text(msgspec.json.encode(Ticket(user, role, now_s + self.lasts_s)))
        return f"{payload}.{_text(self._signature(payload))}"

    def check(self, ticket: str, now_s: float) -> Ticket:
        """Read a ticket back; raises NoTicket. The signature is compared first, in constant time."""
        if not ticket:
            raise NoTicket("No ticket: live data is for pages of the dashboard that somebody has opened.")
        payload, _, signature = ticket.partition(".")
        if len(ticket) > LONGEST or not hmac.compare_digest(_bytes(signature), self._signature(payload)):
            raise NoTicket("This ticket was not issued here.")
        found = msgspec.json.decode(_bytes(payload), type=Ticket)
        if found.until <= now_s:
            raise NoTicket("This ticket is over; the page renews it.")
        return found

    def _signature(self, payload: str) -> bytes:
        return hmac.new(self.secret, payload.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """The bytes of a part; empty where it is no base64."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
