"""The live route: a WebSocket for each view, which shows its ticket at the door and is then sent pictures.

A WebSocket and not Server-Sent Events: browsers open six HTTP/1.1 connections to a server at most, over all tabs, so
that the seventh screen of a control room would hang, and Streamlit needs WebSockets of every proxy anyway. The ticket
comes as a subprotocol, hence never stands in an address that somebody logs.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from kafka.errors import KafkaError
from msgspec import Struct
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.hub import Hub, Running, StreamFailed, UnknownStream
from dashboard.past import past, wanted_of
from dashboard.shared import Shared
from dashboard.tickets import NoTicket, Ticket
from monitor.errors import RetriableError

PROTOCOL = "tocsin.v1"
MOST_VIEWERS = 500
LONGEST_PARAMETER = 1024
TICKET_OVER = 4401
TRY_AGAIN = 1013


class Said(Struct, frozen=True):
    """What a view may say: a renewed ticket, that it wants the whole picture again, or which one it has drawn."""

    ticket: str = ""
    again: bool = False
    drawn: int = 0


@dataclass(slots=True)
class Live:
    """The route's parts: who may come in, and what is shown."""

    hub: Hub
    shared: Shared
    clock: Callable[[], float] = time.time
    viewers: int = 0
    readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    def routes(self) -> list[BaseRoute]:
        """The address `/live/NAME?PARAMETERS` for each stream, and `/history` for what is no longer held."""
        return [
            WebSocketRoute("/live/{name}", self.serve),
            Route("/live/{name}", self.explain),
            Route("/history", self.past),
        ]

    async def explain(self, request: Request) -> Response:
        """Say to one who asks without a WebSocket what is missing."""
        try:
            self.admit(request)
        except NoTicket as error:
            return PlainTextResponse(f"{error}\n", 401)
        return PlainTextResponse("Live pictures come over a WebSocket.\n", 426, {"upgrade": "websocket"})

    async def past(self, request: Request) -> Response:
        """Older windows of one asset, as columns; two questions at a time, since each may read a lot."""
        try:
            self.admit(request)
            wanted = wanted_of(request)
        except NoTicket as error:
            return PlainTextResponse(f"{error}\n", 401)
        except ValueError:
            return PlainTextResponse("asset, detector, from and to (s) are needed.\n", 400)
        async with self.readers:
            try:
                return Response(await asyncio.to_thread(past, self.shared, wanted), media_type="application/json")
            except (RetriableError, KafkaError, OSError) as error:
                return PlainTextResponse(f"The past cannot be read now: {error}\n", 503)

    def admit(self, request: Request) -> Ticket:
        """The ticket of a request's `Authorization: Bearer`; raises NoTicket."""
        scheme, _, ticket = request.headers.get("authorization", "").partition(" ")
        return self.shared.tickets.check(ticket if scheme.lower() == "bearer" else "", self.clock())

    async def serve(self, socket: WebSocket) -> None:
        """One view, from the door to the end."""
        offered = socket.scope["subprotocols"]
        try:
            ticket = self.shared.tickets.check(offered[1] if len(offered) > 1 else "", self.clock())
        except NoTicket as error:
            await refuse(socket, 401, str(error))
            return
        if self.viewers >= MOST_VIEWERS:
            await refuse(socket, 503, f"{MOST_VIEWERS} views are open; close some.")
            return
        try:
            running = self.hub.enter(socket.path_params["name"], parameters_of(socket))
        except UnknownStream as error:
            await refuse(socket, 404, str(error))
            return
        self.viewers += 1
        try:
            await socket.accept(PROTOCOL)
            await Viewer(self, socket, running, ticket).run()
        finally:
            self.viewers -= 1
            self.hub.leave(running)


@dataclass(slots=True)
class Viewer:
    """One open view: a task that sends and one that listens; the first to end takes the other with it."""

    live: Live
    socket: WebSocket
    running: Running
    ticket: Ticket
    again: bool = False
    drawn: int = 0
    said: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Serve until the view leaves or its ticket is over."""
        tasks = [asyncio.create_task(work()) for work in (self._send, self._listen, self._end_with_the_ticket)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        """Send what comes next once the view has drawn what it was sent: a slow one skips, and nothing waits for it.

        A message that has left is not yet there: sockets hold megabytes, and would be full of the past.
        """
        seen = before = 0
        try:
            while True:
                while self.drawn < before:
                    self.said.clear()
                    await self.said.wait()
                before = seen  # one more may be on its way
                seen, message = await self.live.hub.next(self.running, seen)
                if self.again:  # in the place of the change, since a view passes over what it has already
                    self.again = False
                    seen, message = await self.live.hub.next(self.running, 0)
                await self.socket.send_text(message.decode())
        except StreamFailed:
            await self._close(TRY_AGAIN, "this picture could not be made")
        except (WebSocketDisconnect, RuntimeError):
            return

    async def _listen(self) -> None:
        try:
            while True:
                said = msgspec.json.decode(await self.socket.receive_text(), type=Said)
                if said.ticket:
                    self._renew(said.ticket)
                self.again = self.again or said.again
                self.drawn = max(self.drawn, said.drawn)
                self.said.set()
        except (WebSocketDisconnect, RuntimeError, KeyError):
            return
        except (msgspec.DecodeError, NoTicket) as error:
            await self._close(TICKET_OVER, str(error))

    def _renew(self, text: str) -> None:
        """Take a new ticket of the same person; another person is another view."""
        renewed = self.live.shared.tickets.check(text, self.live.clock())
        if (renewed.user, renewed.role) != (self.ticket.user, self.ticket.role):
            raise NoTicket("This ticket is another person's.")
        self.ticket = renewed

    async def _end_with_the_ticket(self) -> None:
        while (left_s := self.ticket.until - self.live.clock()) > 0:
            await asyncio.sleep(min(left_s, 5.0))
        await self._close(TICKET_OVER, "the ticket is over")

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self.socket.close(code, reason[:100])


def parameters_of(connection: HTTPConnection) -> dict[str, str]:
    """The parameters of an address; those that are too long are no names of anything."""
    found = {name: value for name, value in connection.query_params.items() if value}
    if any(len(part) > LONGEST_PARAMETER for item in found.items() for part in item):
        raise UnknownStream("This address is too long.")
    return found


async def refuse(socket: WebSocket, status: int, sentence: str) -> None:
    """Answer a handshake with a status and a sentence instead of opening it."""
    await socket.send_denial_response(PlainTextResponse(sentence + "\n", status))
