"""Calls of librdkafka that may wait: with a deadline, and apart from the main thread."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException

SLICE_S = 0.5  # longest wait in the main thread: librdkafka sees no signals while it waits


def apart(timeout_s: float, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call in a thread, and wait at most so long.

    Some calls of librdkafka take no deadline, and while one waits in the main thread no signal is seen.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(timeout_s)


def end(close: Callable[[], Any]) -> None:
    """Close a client, and do not wait for one that cannot."""
    with contextlib.suppress(KafkaException, RuntimeError, TimeoutError):
        apart(5.0, close)


def ignore(error: KafkaError) -> None:
    """Errors in the background pass by themselves; without this they would come as messages, or be printed."""


def say(error: object) -> str:
    reason = error.args[0] if isinstance(error, KafkaException) and error.args else error
    if not isinstance(reason, KafkaError):
        return f"{type(error).__name__}: {reason}"
    return f"{reason.name()}: {reason.str()}"
