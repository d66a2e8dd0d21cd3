"""A TCP proxy in front of each broker that understands where Kafka's frames begin, and whose they are.

It delays, holds, cuts and resets, and it calls back when a request of a kind passes, so that a daemon can be killed
at each step of a transaction. Protocol: a frame is a length of 4 bytes and as many bytes; a request begins with API
key (int16), version (int16), correlation id (int32) and client id, a response with the correlation id
(https://kafka.apache.org/protocol, "Request Header" and "Response Header").
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Self

CHUNK = 1 << 20
LINGER_0 = struct.pack("ii", 1, 0)  # closing resets the connection, and what was not sent is lost


class Api(IntEnum):
    """Requests that faults are about, by their API key."""

    PRODUCE = 0
    FETCH = 1
    OFFSET_COMMIT = 8
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


When = Literal["before", "after"]  # the broker has the request; the client has the response
WHEN: tuple[When, ...] = ("before", "after")


@dataclass(eq=False, slots=True)
class Hook:
    """Call once when the next such request of a client is about to pass; the connection is cut after that."""

    api: Api
    when: When
    client: str
    call: Callable[[], object]
    passed: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False, slots=True)
class Hold:
    """Requests of these kinds wait, all clients' or one's; `waits` is set once one of them does."""

    apis: Collection[Api]
    client: str | None
    waits: threading.Event = field(default_factory=threading.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Request:
    api: int
    correlation: int
    client: str


@dataclass(eq=False, slots=True)
class _Connection:
    """A client and its broker; requests that wait for their response are kept, to know what it answers."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    asked: dict[int, _Request] = field(default_factory=dict)

    def close(self, reset: bool) -> None:
        for writer in (self.near, self.far):
            if reset and (sock := writer.get_extra_info("socket")) is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            writer.transport.abort() if reset else writer.close()


class Proxy:
    """Listens on `ports` for `behind`, in a thread of its own; a context manager. All its methods may be called
    from any thread; nodes are counted from 0, and None means all of them."""

    def __init__(self, ports: list[int], behind: list[int]) -> None:
        self._routes = list(zip(ports, behind, strict=True))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._connections: list[set[_Connection]] = [set() for _ in ports]
        self._delay_s = [0.0] * len(ports)
        self._cut = [False] * len(ports)
        self._flowing = [asyncio.Event() for _ in ports]
        self._holds: list[Hold] = []
        self._hooks: list[Hook] = []

    @property
    def bootstrap(self) -> str:
        """The addresses at which clients find the brokers through this proxy."""
        return ",".join(f"127.0.0.1:{port}" for port, _ in self._routes)

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # --------------------------------------------------------------------------------------------- faults

    def delay(self, seconds: float, node: int | None = None) -> None:
        """Every frame takes so much longer, in each direction."""
        for number in self._nodes(node):
            self._delay_s[number] = seconds

    def stall(self, node: int | None = None) -> None:
        """Nothing passes any more, and no connection is closed: what a dropped route looks like."""

        def stall() -> None:
            for number in self._nodes(node):
                self._flowing[number].clear()

        self._call(stall)

    def hold(self, *apis: Api, client: str | None = None) -> Hold:
        """Requests of these kinds wait until `release`, and with them what follows on their connection."""
        hold = Hold(apis, client)
        self._call(lambda: self._holds.append(hold))
        return hold

    def release(self, hold: Hold) -> None:
        """Let go on what was held."""

        def release() -> None:
            if hold in self._holds:
                self._holds.remove(hold)
            hold.free.set()

        self._call(release)

    def cut(self, node: int | None = None) -> None:
        """Close all connections and refuse new ones."""

        def cut() -> None:
            for number in self._nodes(node):
                self._cut[number] = True
            self._close(node, reset=False)

        self._call(cut)

    def reset(self, node: int | None = None) -> None:
        """Reset all connections (RST); new ones are welcome."""
        self._call(lambda: self._close(node, reset=True))

    def mend(self, clients: str = "") -> None:
        """End every fault, or hooks and holds of clients whose names begin so."""

        def mend() -> None:
            for hold in [each for each in self._holds if (each.client or "").startswith(clients)]:
                self._holds.remove(hold)
                hold.free.set()
            self._hooks = [each for each in self._hooks if not each.client.startswith(clients)]
            if not clients:
                count = len(self._routes)
                self._delay_s, self._cut = [0.0] * count, [False] * count
                for event in self._flowing:
                    event.set()

        self._call(mend)

    def on(self, api: Api, when: When, client: str, call: Callable[[], object]) -> Hook:
        """Call once when this client's next such request comes ("before": the broker never gets it), or when its
        response does ("after": the broker has done it, and the client never knows)."""
        hook = Hook(api, when, client, call)
        self._call(lambda: self._hooks.append(hook))
        return hook

    def forget(self, hook: Hook) -> None:
        """Call it no more."""
        self._call(lambda: self._hooks.remove(hook) if hook in self._hooks else None)

    # ------------------------------------------------------------------------------------------- plumbing

    def _nodes(self, node: int | None) -> Collection[int]:
        return range(len(self._routes)) if node is None else (node,)

    def _call(self, call: Callable[[], object]) -> None:
        async def within() -> None:
            call()

        self._run(within())

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _close(self, node: int | None, reset: bool) -> None:
        for number in self._nodes(node):
            for connection in self._connections[number]:
                connection.close(reset)

    async def _listen(self) -> None:
        for number, (port, _) in enumerate(self._routes):

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int = number
            ) -> None:
                await self._serve(number, reader, writer)

            await asyncio.start_server(accept, "127.0.0.1", port, limit=CHUNK)

    async def _serve(self, number: int, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self._cut[number]:
            near.close()
            return
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._routes[number][1], limit=CHUNK)
        except OSError:
            near.close()
            return
        connection = _Connection(near, far)
        self._connections[number].add(connection)
        ways = [
            asyncio.ensure_future(self._pass_on(number, connection, reader, far, self._asked)),
            asyncio.ensure_future(self._pass_on(number, connection, far_reader, near, self._answered)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connections[number].discard(connection)
            for way in ways:
                way.cancel()
            connection.close(reset=False)

    async def _pass_on(
        self,
        number: int,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        look: Callable[[_Connection, bytes], Coroutine[Any, Any, bool]],
    ) -> None:
        """Frames of one direction, until the connection ends or a hook says that this one goes no further."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                length = await reader.readexactly(4)
                frame = await reader.readexactly(int.from_bytes(length, "big"))
                if self._delay_s[number]:
                    await asyncio.sleep(self._delay_s[number])
                await self._flowing[number].wait()
                if not await look(connection, frame):
                    return
                writer.write(length + frame)
                await writer.drain()

    async def _asked(self, connection: _Connection, frame: bytes) -> bool:
        """Note a request; False where it goes no further."""
        request = _request(frame)
        connection.asked[request.correlation] = request
        for hold in list(self._holds):
            if request.api in hold.apis and hold.client in (None, request.client):
                hold.waits.set()
                await hold.free.wait()
        return await self._tell(request, "before")

    async def _answered(self, connection: _Connection, frame: bytes) -> bool:
        """Find out what a response answers; False where it goes no further."""
        request = connection.asked.pop(int.from_bytes(frame[:4], "big"), None)
        return request is None or await self._tell(request, "after")

    async def _tell(self, request: _Request, when: When) -> bool:
        for hook in self._hooks:
            if (hook.api, hook.when, hook.client) == (request.api, when, request.client):
                self._hooks.remove(hook)
                await asyncio.to_thread(hook.call)
                hook.passed.set()
                return False
        return True


def _request(frame: bytes) -> _Request:
    api, _, correlation, length = struct.unpack_from(">hhih", frame)
    return _Request(api, correlation, frame[10 : 10 + max(length, 0)].decode("utf-8", "replace"))
