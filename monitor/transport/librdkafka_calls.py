"""What the parts of the confluent transport share: how a client is ended, and what is said of its errors."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from monitor.transport.apart import apart

# What a producer that is given up says when it is closed is in the error that gave it up.
warnings.filterwarnings("ignore", "Producer abort_transaction failed during close", RuntimeWarning)

SLICE_S = 0.5  # longest wait in the main thread: librdkafka sees no signals while it waits


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
