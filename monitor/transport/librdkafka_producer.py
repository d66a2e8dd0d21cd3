"""librdkafka's idempotent producer: every message acknowledged, or an error and a new producer."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from monitor.errors import RetriableError
from monitor.transport import Outgoing
from monitor.transport.librdkafka_calls import SLICE_S, end, say


class Publisher:
    """Publishes messages and waits for their acknowledgement, at most so long."""

    def __init__(self, settings: dict[str, Any], timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._producer: Producer | None = Producer(settings)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns when all are acknowledged; raises RetriableError where one is not."""
        if not messages:
            return
        failures: list[KafkaError] = []

        def told(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        deadline = time.monotonic() + self._timeout_s + 5
        try:
            if self._producer is None:
                self._producer = Producer(self._settings)
            for message in messages:
                self._send(self._producer, message, told, deadline)
            while self._producer.flush(SLICE_S) and time.monotonic() < deadline:
                pass
            if failures or len(self._producer):
                raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))
        except (KafkaException, BufferError) as error:
            self.close()
            raise RetriableError(f"publishing: {say(error)}") from error

    @staticmethod
    def _send(producer: Producer, message: Outgoing, told: Callable[..., None], deadline: float) -> None:
        """Hand a message to the producer, waiting while its queue is full."""
        named = {} if message.partition is None else {"partition": message.partition}
        headers = list(message.headers)
        while True:
            try:
                producer.produce(
                    message.topic, message.value, message.key, headers=headers, on_delivery=told, **named
                )
                return
            except BufferError:
                if time.monotonic() > deadline:
                    raise
                producer.poll(0.1)

    def close(self) -> None:
        """After any failure comes a new producer: an idempotent one that lost a message refuses all that follow."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(blocking=False)
            end(producer.close)
