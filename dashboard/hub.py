"""One picture a second for all viewers: streams are computed once, encoded once, and sent as what changed.

A *stream* is what one address of the live route shows, such as the fleet or one asset. Every message has a number
`seq` within its `run`; `base` is the number that it continues, or null where it stands alone (it is *whole*). A
viewer who kept up gets what changed; one who is new, slow or missed something gets the whole picture as it then is:
nothing is ever queued for anybody.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

log = logging.getLogger("tocsin.dashboard")

UPDATE_S = 1.0
LINGER_S = 5.0  # a reload finds its stream as it left it
MOST_STREAMS = 1000


class Stream(Protocol):
    """What an address of the live route shows; both methods are called by one thread."""

    def step(self, now_s: float) -> dict[str, Any]:
        """What has changed since the last step."""
        ...

    def whole(self) -> dict[str, Any]:
        """The whole picture as of the last step."""
        ...


class UnknownStream(Exception):
    """An address that shows nothing; the text is a sentence for the person who asked."""


class StreamFailed(Exception):
    """A stream whose step went wrong: its viewers are sent away, and a new one is made for who comes back."""


@dataclass(slots=True, eq=False)
class Running:
    """A stream that somebody looks at; `latest` and `picture`, a number and its message, are set by one thread."""

    stream: Stream
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    latest: tuple[int, bytes] = (0, b"")
    picture: tuple[int, bytes] = (0, b"")
    viewers: int = 0
    left_s: float = 0.0
    failed: bool = False
    stepped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def seq(self) -> int:
        """Number of the last step."""
        return self.latest[0]

    def message(self, seq: int, base: int | None, parts: dict[str, Any], status: dict[str, Any]) -> bytes:
        """One message, encoded."""
        return msgspec.json.encode({"run": self.run, "seq": seq, "base": base, "status": status, **parts})


@dataclass(slots=True)
class Hub:
    """All streams that somebody looks at. `make` builds one by name and parameters, or raises UnknownStream."""

    make: Callable[[str, Mapping[str, str]], Stream]
    status: Callable[[float], dict[str, Any]]
    clock: Callable[[], float] = time.time
    update_s: float = UPDATE_S
    _running: dict[tuple[str, ...], Running] = field(default_factory=dict)
    _worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "tocsin-hub"))
    _ticking: asyncio.Task[None] | None = None

    def enter(self, name: str, parameters: Mapping[str, str]) -> Running:
        """Begin to look at a stream; `leave` ends it. Raises UnknownStream."""
        key = (name, *(part for item in sorted(parameters.items()) for part in item))
        running = self._running.get(key)
        if running is None:
            if len(self._running) >= MOST_STREAMS:
                raise UnknownStream("So many different pictures are looked at that there is room for no other.")
            running = self._running[key] = Running(self.make(name, parameters))
        running.viewers += 1
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick(), name="tocsin-hub")
        return running

    def leave(self, running: Running) -> None:
        """End looking."""
        running.viewers -= 1
        running.left_s = self.clock()

    async def next(self, running: Running, seen: int) -> tuple[int, bytes]:
        """The number and message that follow `seen` (0: nothing yet), when there is one. Raises StreamFailed."""
        while seen and running.seq <= seen and not running.failed:
            await running.stepped.wait()
        if running.failed:
            raise StreamFailed
        if seen and running.latest[0] == seen + 1:
            return running.latest
        whole: tuple[int, bytes] = await self._in_thread(self._whole, running)
        return whole

    async def stop(self) -> None:
        """End the work; for the end of the server."""
        if self._ticking is not None:
            self._ticking.cancel()
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _tick(self) -> None:
        """Step every stream once a second as long as anybody looks at one."""
        due_s = asyncio.get_running_loop().time() + self.update_s
        while self._running:
            now_s = asyncio.get_running_loop().time()
            await asyncio.sleep(max(due_s - now_s, 0.0))
            due_s = max(due_s, now_s) + self.update_s
            for key, running in list(self._running.items()):
                if running.viewers == 0 and self.clock() - running.left_s > LINGER_S:
                    del self._running[key]
                    continue
                await self._in_thread(self._step, running)
                if running.failed:
                    del self._running[key]
                # Those who wait now are woken; who comes after them waits for the next step.
                running.stepped.set()
                running.stepped = asyncio.Event()

    async def _in_thread(self, work: Callable[[Running], Any], running: Running) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, running)

    def _step(self, running: Running) -> None:
        now_s = self.clock()
        try:
            changed = running.stream.step(now_s)
            seq = running.seq + 1
            running.latest = (seq, running.message(seq, seq - 1, changed, self.status(now_s)))
        except Exception:
            log.exception("a picture of the dashboard could not be made")
            running.failed = True

    def _whole(self, running: Running) -> tuple[int, bytes]:
        """The whole picture, encoded once however many ask for it between two steps."""
        if running.seq == 0:
            self._step(running)
        if running.failed:
            raise StreamFailed
        if running.picture[0] != running.seq:
            message = running.message(running.seq, None, running.stream.whole(), self.status(self.clock()))
            running.picture = (running.seq, message)
        return running.picture
