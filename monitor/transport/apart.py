"""Calls of Kafka clients that may wait for ever: with a deadline, and apart from the main thread."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Deadline:
    """A moment that several calls share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, at least 0."""
        return max(self._end - time.monotonic(), 0.0)


def apart(timeout_s: float, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call in a thread, and wait at most so long; raises TimeoutError.

    Some calls of both clients take no deadline, and while one of librdkafka waits no signal is seen in its thread.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(timeout_s)
