"""A thread that asks for something again and again, as long as somebody looks: pages never wait for it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("tocsin.dashboard")

LOOKED_AT_S = 30.0


@dataclass(slots=True)
class Poller:
    """Calls `ask()` every `every_s` seconds while `latest` is read; what `ask` raises is kept as `problem`."""

    name: str
    ask: Callable[[], Any]
    every_s: float
    clock: Callable[[], float] = time.monotonic
    problem: str = ""
    _latest: Any = None
    _looked_s: float = float("-inf")
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def latest(self) -> Any:
        """The last answer, None before the first; being asked keeps the thread at work."""
        with self._lock:
            self._looked_s = self.clock()
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name=f"tocsin-{self.name}", daemon=True)
                self._thread.start()
        return self._latest

    def stop(self) -> None:
        """Ask no more; for tests and for the end of the server."""
        self._stop.set()
        if (thread := self._thread) is not None:
            thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if self.clock() - self._looked_s > LOOKED_AT_S:
                    self._thread = None
                    return
            try:
                self._latest, self.problem = self.ask(), ""
            except Exception as error:  # whatever it is, the page says so and the next answer may be better
                self.problem = f"{type(error).__name__}: {error}"
                log.debug("%s: %s", self.name, self.problem)
            self._stop.wait(self.every_s)
