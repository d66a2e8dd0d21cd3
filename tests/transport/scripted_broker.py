"""A broker that does as it is told: the least of the Kafka protocol that both clients need, on loopback, in a thread.

Node 0 has all partitions, node 1 is the coordinator of transactions, node 2 that of groups. Without a script all is
well; a script says how one request is answered, and `log` has what came of it.
"""

import asyncio
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka.errors import BrokerResponseError, UnsupportedVersionError

from monitor.broker import free_port
from tests.transport.scripted_answers import DATA, HOST, NAMES, REQUESTS, VERSIONS, Answers
from tests.transport.scripted_log import ScriptedLog

NODES = 3
FETCH_EVERY_S = 0.01
EVER = float("inf")


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request is answered: whether it is done, the error that it is answered with, and what follows.

    What follows is to reply, to stay silent, to close the connection, to refuse all connections to this node from
    now on, or to hold the request back until `go_on`.
    """

    error: int = 0
    done: bool = True
    then: str = "reply"


SILENCE = Answer(done=False, then="silence")
CLOSED = Answer(done=False, then="close")
DONE_THEN_SILENCE = Answer(then="silence")
DONE_THEN_CLOSED = Answer(then="close")
REFUSED = Answer(done=False, then="refuse")
HELD = Answer(then="hold")


@dataclass(slots=True)
class _Rule:
    api: str
    answer: Answer
    first: int
    times: float
    seen: int = 0

    def take(self) -> Answer | None:
        self.seen += 1
        return self.answer if self.first <= self.seen < self.first + self.times else None


class _Closed(Exception):
    """The connection ends here."""


class ScriptedBroker:
    """Three nodes with these topics, each with so many partitions; a context manager."""

    def __init__(self, topics: dict[str, int]) -> None:
        self.log = ScriptedLog(topics)
        self.requests: list[str] = []  # the kinds of all that came, but for fetches and heartbeats
        self._ports: list[int] = []
        self._rules: list[_Rule] = []
        self._servers: dict[int, asyncio.Server] = {}
        self._connections: dict[int, set[asyncio.StreamWriter]] = {node: set() for node in range(NODES)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def bootstrap(self) -> str:
        """The address for `bootstrap_servers`."""
        return f"{HOST}:{self._ports[DATA]}"

    # ------------------------------------------------------------------------------------------------ the script

    def script(self, api: str, answer: Answer | type[BrokerResponseError], first: int = 1, times: float = 1) -> None:
        """Answer coming requests of this kind so, from the `first` one on, so many `times`."""
        if not isinstance(answer, Answer):
            answer = Answer(answer.errno, done=False)
        self._rules.append(_Rule(api, answer, first, times))

    def go_on(self) -> None:
        """Do what was held back, and answer everything as it should be from now on."""
        self._rules.clear()
        self._call(self._recover())

    async def _recover(self) -> None:
        for node in range(NODES):
            await self._listen(node)
        self._held.set()
        self._held = asyncio.Event()
        await asyncio.sleep(0)  # what was held is done in this turn of the loop

    def _answer_to(self, api: str) -> Answer:
        answers = [rule.take() for rule in self._rules if rule.api == api]
        return next((answer for answer in answers if answer is not None), Answer())

    # ------------------------------------------------------------------------------------------------- the nodes

    def __enter__(self) -> Self:
        self._held = asyncio.Event()
        self._thread.start()
        while not self._servers:
            self._ports = [free_port(HOST) for _ in range(NODES)]
            self._answers = Answers(self.log, self._ports)
            try:
                self._call(self._recover())
            except OSError:  # somebody else has taken one of them meanwhile
                self._call(self._end())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        for node in range(NODES):
            self._refuse(node)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self, node: int) -> None:
        if node not in self._servers:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._serve(node, reader, writer)

            self._servers[node] = await asyncio.start_server(serve, HOST, self._ports[node])

    def _refuse(self, node: int) -> None:
        server = self._servers.pop(node, None)
        if server is not None:
            server.close()
        for writer in self._connections[node]:
            writer.transport.abort()

    async def _serve(self, node: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[node].add(writer)
        try:
            while True:
                [size] = struct.unpack(">i", await reader.readexactly(4))
                reply = await self._reply(node, await reader.readexactly(size))
                if reply is not None:
                    writer.write(reply)
                    await writer.drain()
        except (_Closed, asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # a task that ends as cancelled is complained about by the library's own streams
        finally:
            self._connections[node].discard(writer)
            writer.close()

    async def _reply(self, node: int, data: bytes) -> bytes | None:
        key, version, correlation = struct.unpack_from(">hhi", data)
        api = NAMES[key]
        if version > VERSIONS[api]:  # only of the versions themselves does a client not know which there are
            request = REQUESTS[api](version=0)
            return self._encoded(self._answers(api, request, UnsupportedVersionError.errno), correlation)
        request = REQUESTS[api].decode(data, version=version, header=True)
        if api not in {"Fetch", "Heartbeat"}:
            self.requests.append(api)
        answer = self._answer_to(api)
        if answer.then == "hold":
            await self._held.wait()
        if answer.then == "refuse":
            self._refuse(node)
        if api == "Fetch":
            await self._await_records(request)
        response = self._answers(api, request, answer.error) if answer.done or answer.error else None
        if answer.then in {"close", "refuse"}:
            raise _Closed
        return None if answer.then == "silence" else self._encoded(response, correlation)

    async def _await_records(self, request: Any) -> None:
        """Wait as long as the client allows for records that it has not read."""
        asked = [
            (topic.topic, each.partition, each.fetch_offset) for topic in request.topics for each in topic.partitions
        ]
        deadline = self._loop.time() + request.max_wait_ms / 1000
        while self._loop.time() < deadline and not any(
            self.log.ends.get((topic, number), 0) > offset for topic, number, offset in asked
        ):
            await asyncio.sleep(FETCH_EVERY_S)

    @staticmethod
    def _encoded(response: Any, correlation: int) -> bytes:
        response.with_header(correlation)
        return bytes(response.encode(header=True, framed=True))
