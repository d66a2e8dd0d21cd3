"""Recorded or simulated readings into a topic, at the pace of their event times, until all are acknowledged."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.codec import has_lz4

from monitor.cluster import addresses, client_settings
from monitor.config import Config
from monitor.encode import Encoding, Message, encode
from monitor.errors import FatalError, RetriableError
from monitor.recording import Recording

_ROWS_AT_ONCE = 2_000  # readings encoded together: enough for speed, few enough to be sent in time


@dataclass(slots=True)
class Progress:
    """How far a replay is: readings sent and acknowledged, messages sent, event time of the last one sent."""

    sent: int = 0
    acknowledged: int = 0
    messages: int = 0
    event_time_ns: int = 0
    error: Exception | None = field(default=None, repr=False)


# -------------------------------------------------------------------------------------------------- pacing


def paced(
    batches: Iterable[Recording],
    speed: float | None,
    clock: Callable[[], float],
    wait: Callable[[float], object],
    tick_s: float = 0.02,
) -> Iterator[Recording]:
    """Hand out readings when they are due: `speed` seconds of event time in each second of `clock`.

    `batches` are sorted, and each begins where the last ended. The first reading is due at once; None is as
    fast as they are taken. `wait(seconds)` sleeps, at least `tick_s` so that readings go out together; where
    it returns true, as an event's `wait` does when the event is set, no more is handed out.
    """
    if speed is None:
        yield from batches
        return
    started_s, first_ns = clock(), None
    for batch in batches:
        if not len(batch):
            continue
        first_ns = int(batch.ts[0]) if first_ns is None else first_ns
        begin = 0
        while begin < len(batch):
            due_ns = first_ns + int((clock() - started_s) * speed * 1e9)
            end = int(np.searchsorted(batch.ts, due_ns, side="right"))
            if end > begin:
                yield batch.take(slice(begin, end))
                begin = end
            elif wait(max((int(batch.ts[begin]) - due_ns) / 1e9 / speed, tick_s)):
                return


# ----------------------------------------------------------------------------------------------- producing


def replay_producer(config: Config, timeout_s: float = 30.0) -> KafkaProducer:
    """A producer that waits for all copies, and for at most `timeout_s` when the broker is away.

    Raises RetriableError where no broker answers.
    """
    settings: dict[str, Any] = {
        "acks": "all",
        "linger_ms": 5,
        "batch_size": 64 * 1024,
        "compression_type": "lz4" if has_lz4() else None,
        "max_request_size": config.input.max_message_bytes + 64 * 1024,
        "max_block_ms": int(timeout_s * 1000),
        "delivery_timeout_ms": int(timeout_s * 1000),
        "request_timeout_ms": int(timeout_s * 500),
        "bootstrap_timeout_ms": int(timeout_s * 1000),
    }
    try:
        return KafkaProducer(**settings | client_settings(config.kafka, KafkaProducer))
    except kafka_errors.KafkaError as error:
        raise RetriableError(f"No answer from the broker at {addresses(config.kafka)}: {error}.") from None


def replay(
    recording: Recording | Iterable[Recording],
    producer: KafkaProducer,
    topic: str,
    speed: float | None = None,
    encoding: Encoding = "json",
    *,
    on_progress: Callable[[Progress], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> Progress:
    """Send readings at the pace of their event times; returns once every one of them is acknowledged.

    `speed` and `wait` are those of `paced`. `on_progress` is called after each group of readings that was
    sent, with the same object. Raises RetriableError where the broker is away or lacks the topic, FatalError
    where it refuses a message.
    """
    batches = [recording] if isinstance(recording, Recording) else recording
    progress = Progress()
    try:
        partitions = len(producer.partitions_for(topic) or ())
        for due in paced(batches, speed, clock, wait):
            for begin in range(0, len(due), _ROWS_AT_ONCE):
                part = due.take(slice(begin, begin + _ROWS_AT_ONCE))
                _send(producer, topic, encode(part, encoding, partitions), progress)
                progress.event_time_ns = int(part.ts[-1])
                if on_progress is not None:
                    on_progress(progress)
        producer.flush()
        _raise_failure(progress)
    except kafka_errors.KafkaError as error:
        raise _failure(producer, topic, progress, error) from None
    if on_progress is not None:
        on_progress(progress)
    return progress


def _send(producer: KafkaProducer, topic: str, messages: Iterable[Message], progress: Progress) -> None:
    """Queue messages; their acknowledgements and the first failure arrive in `progress` from the sender."""

    def acknowledge(readings: int, _metadata: object) -> None:
        progress.acknowledged += readings

    def fail(error: Exception) -> None:
        progress.error = progress.error or error

    for message in messages:
        future = producer.send(
            topic,
            key=message.key,
            value=message.value,
            headers=message.headers,
            partition=message.partition,
        )
        future.add_callback(acknowledge, message.readings).add_errback(fail)
        progress.sent += message.readings
        progress.messages += 1
    _raise_failure(progress)


def _raise_failure(progress: Progress) -> None:
    if progress.error is not None:
        raise progress.error


def _failure(
    producer: KafkaProducer, topic: str, progress: Progress, error: kafka_errors.KafkaError
) -> RetriableError | FatalError:
    where = addresses(producer.config)
    reason = (str(error) if str(error) not in ("", "None") else type(error).__name__).rstrip(".")
    so_far = f"{progress.acknowledged} of {progress.sent} readings sent were acknowledged"
    if isinstance(error, kafka_errors.KafkaTimeoutError) and not progress.sent:
        return RetriableError(
            f"No topic {topic} at {where}: create it with `tocsin topics`, or try again ({reason})."
        )
    if getattr(error, "retriable", False):
        return RetriableError(f"The broker at {where} went away; {so_far} ({reason}).")
    return FatalError(f"The broker at {where} refuses readings for {topic}; {so_far} ({reason}).")
