"""librdkafka's producers: every message acknowledged, or an error and a new producer."""

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from monitor.errors import RetriableError
from monitor.transport import Outgoing
from monitor.transport.apart import Deadline
from monitor.transport.librdkafka_calls import SLICE_S, end, say


class Publisher:
    """An idempotent producer that publishes messages and waits for their acknowledgement, at most so long."""

    def __init__(self, settings: dict[str, Any], timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._producer: Producer | None = Producer(settings)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns when all are acknowledged; raises RetriableError where one is not."""
        if not messages:
            return
        try:
            if self._producer is None:
                self._producer = Producer(self._settings)
            send_all(self._producer, messages, Deadline(self._timeout_s + 5))
        except (KafkaException, BufferError) as error:
            self.close(0)
            raise RetriableError(f"publishing: {say(error)}") from error

    def close(self, timeout_s: float) -> None:
        """After any failure comes a new producer: an idempotent one that lost a message refuses all that follow."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(blocking=False)
            end(producer.close)


def send_all(producer: Producer, messages: Sequence[Outgoing], deadline: Deadline) -> None:
    """Send messages and wait until each is acknowledged; raises KafkaException where one is not, within the time."""
    failures: list[KafkaError] = []

    def told(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    for message in messages:
        named = {} if message.partition is None else {"partition": message.partition}
        headers = list(message.headers)
        while True:
            try:
                producer.produce(
                    message.topic, message.value, message.key, headers=headers, on_delivery=told, **named
                )
                break
            except BufferError:  # its queue is full
                if not deadline.left():
                    raise
                _serve(producer.poll, 0.1)
    while _serve(producer.flush, min(SLICE_S, deadline.left())) and deadline.left():
        pass
    if failures or len(producer):
        raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))


def _serve(call: Callable[[float], int], wait_s: float) -> int:
    """Have reports delivered; an error that librdkafka calls fatal is raised as such.

    Where it comes together with a report, Python meets it there, as an error that was set and not raised.
    """
    try:
        return call(wait_s)
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from None
        raise
