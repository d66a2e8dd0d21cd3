"""One picture a second for all: who keeps up gets changes, who does not gets the whole picture."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from dashboard.hub import Hub, StreamFailed, UnknownStream

FAST_S = 0.02


class Counter:
    """A stream that counts its steps, and fails at one of them where it is told to."""

    def __init__(self, fails_at: int = 0) -> None:
        self.steps = 0
        self.wholes = 0
        self.fails_at = fails_at

    def step(self, _now_s: float) -> dict[str, Any]:
        self.steps += 1
        if self.steps == self.fails_at:
            raise ZeroDivisionError
        return {"new": self.steps}

    def whole(self) -> dict[str, Any]:
        self.wholes += 1
        return {"all": self.steps}


def played(story: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread: a browser of another test may have a loop in this one."""
    with ThreadPoolExecutor(1) as apart:
        apart.submit(asyncio.run, story).result(30)


def hub_of(made: list[Counter], fails_at: int = 0) -> Hub:
    """A hub whose streams are kept in `made`."""

    def make(name: str, _parameters: Mapping[str, str]) -> Counter:
        if name != "counter":
            raise UnknownStream(name)
        made.append(Counter(fails_at))
        return made[-1]

    return Hub(make, lambda _now_s: {}, update_s=FAST_S)


def test_all_viewers_share_one_stream_and_its_bytes() -> None:
    async def play() -> None:
        made: list[Counter] = []
        hub = hub_of(made)
        viewers = [hub.enter("counter", {}) for _ in range(5)]
        firsts = [await hub.next(viewer, 0) for viewer in viewers]
        nexts = await asyncio.gather(*(hub.next(viewer, firsts[0][0]) for viewer in viewers))
        await hub.stop()
        assert len(made) == 1
        assert made[0].wholes == 1
        assert all(message is nexts[0][1] for _seq, message in nexts)
        assert msgspec.json.decode(nexts[0][1])["base"] == firsts[0][0]

    played(play())


def test_a_slow_viewer_gets_the_whole_picture_as_it_then_is_and_nothing_waits_for_it() -> None:
    async def play() -> None:
        made: list[Counter] = []
        hub = hub_of(made)
        slow, quick = hub.enter("counter", {}), hub.enter("counter", {})
        seen, _message = await hub.next(slow, 0)
        now = seen
        while now < seen + 4:
            now, message = await hub.next(quick, now)
            assert msgspec.json.decode(message)["base"] == now - 1
        _seq, late = await hub.next(slow, seen)
        picture = msgspec.json.decode(late)
        await hub.stop()
        assert picture["base"] is None
        assert picture["all"] >= 4

    played(play())


def test_pictures_follow_each_other_without_a_gap() -> None:
    async def play() -> None:
        hub = hub_of([])
        viewer = hub.enter("counter", {})
        seen, _message = await hub.next(viewer, 0)
        for _ in range(10):
            before, (seen, message) = seen, await hub.next(viewer, seen)
            told = msgspec.json.decode(message)
            assert (told["seq"], told["base"]) == (before + 1, before)
        await hub.stop()

    played(play())


def test_a_stream_that_nobody_looks_at_is_let_go() -> None:
    async def play() -> None:
        now, made = [0.0], []
        hub = hub_of(made)
        hub.clock = lambda: now[0]
        viewer = hub.enter("counter", {})
        await hub.next(viewer, 0)
        hub.leave(viewer)
        again = hub.enter("counter", {})
        assert again is viewer
        hub.leave(again)
        now[0] = 60.0
        assert hub._ticking is not None
        await asyncio.wait_for(hub._ticking, 5.0)
        assert hub.enter("counter", {}) is not viewer
        await hub.stop()
        assert len(made) == 2

    played(play())


def test_a_stream_that_fails_sends_its_viewers_away_and_is_made_anew() -> None:
    async def play() -> None:
        made: list[Counter] = []
        hub = hub_of(made, fails_at=2)
        viewer = hub.enter("counter", {})
        seen, _message = await hub.next(viewer, 0)
        with pytest.raises(StreamFailed):
            await hub.next(viewer, seen)
        assert hub.enter("counter", {}) is not viewer
        await hub.stop()

    played(play())


def test_other_parameters_are_another_stream() -> None:
    async def play() -> None:
        made: list[Counter] = []
        hub = hub_of(made)
        assert hub.enter("counter", {"asset": "a"}) is not hub.enter("counter", {"asset": "b"})
        assert hub.enter("counter", {"x": "1", "y": "2"}) is hub.enter("counter", {"y": "2", "x": "1"})
        with pytest.raises(UnknownStream):
            hub.enter("nothing", {})
        await hub.stop()

    played(play())
