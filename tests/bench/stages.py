"""Where a step of the daemon spends its CPU time, from outside: its parts are wrapped by clocks.

A batch passes each clock a few times, so that they cost nothing that could be measured.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from monitor.assembly import Assembly
from monitor.publish import Publisher
from tests.bench.measure import cpu_s


class Stages:
    """CPU seconds of the daemon's own thread by part; what other threads of the client take is `client threads`."""

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()
        self._marks: tuple[Counter[str], float, float] | None = None

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, its thread's CPU time added to a part."""

        def measured(*arguments: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                self._spent[part] += time.thread_time() - began

        return measured

    def watch(self, assembly: Assembly, transport: Any) -> None:
        """Put clocks around a daemon's parts; the model's is put where it is loaded."""
        transport.poll = self.timed("client", transport.poll)
        transport.deliver = self.timed("publish", transport.deliver)
        assembly.decoder.decode = self.timed("decode", assembly.decoder.decode)  # type: ignore[method-assign]
        assembly.pipeline.step = self.timed("step", assembly.pipeline.step)  # type: ignore[method-assign]
        for name in ("outputs", "state", "dead_letters"):
            setattr(Publisher, name, self.timed("publish", getattr(Publisher, name)))

    def start(self) -> None:
        """The measured part begins."""
        self._marks = self._spent.copy(), time.thread_time(), cpu_s()

    def shares(self) -> dict[str, float]:
        """CPU seconds of each part since `start`; they add up to the process's."""
        assert self._marks is not None
        before, thread_before, cpu_before = self._marks
        spent = {part: self._spent[part] - before[part] for part in ("client", "decode", "step", "model", "publish")}
        thread, cpu = time.thread_time() - thread_before, cpu_s() - cpu_before
        windows = spent.pop("step") - spent["model"]
        rest = thread - sum(spent.values()) - windows
        return {**spent, "windows and alarms": windows, "loop": rest, "client threads": max(cpu - thread, 0.0)}
