"""librdkafka's transactional producer: outputs, state and positions of a delivery are one transaction."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from monitor.errors import RetriableError
from monitor.transport import Outgoing
from monitor.transport.apart import Deadline, apart
from monitor.transport.librdkafka_calls import end
from monitor.transport.librdkafka_producer import send_all

ABORT_S = 2.0  # that the end of a transaction which failed may take; a later producer ends it otherwise
GRACE_S = 1.0  # in which a call that knows its deadline says so itself
Meant = Callable[[str, KafkaError], Exception]


class Transactions:
    """One transaction a delivery.

    After any failure or doubt the producer is discarded. The next one has the same transactional id: to make it ends
    what its predecessor, or another process of this name, has left open.
    """

    def __init__(self, settings: dict[str, Any], timeout_s: float, meant: Meant) -> None:
        """A delivery takes at most `timeout_s`; `meant` makes one of our errors of what was done and librdkafka's."""
        self._settings, self._timeout_s, self._meant = settings, timeout_s, meant
        self._producer: Producer | None = None
        self._open = False  # whether a transaction may be

    def ready(self, timeout_s: float | None = None) -> Producer:
        """The producer; where there is none it is made, which ends all earlier transactions of this name."""
        if self._producer is not None:
            return self._producer
        producer = Producer(self._settings)
        try:
            self._call(Deadline(timeout_s or self._timeout_s), producer.init_transactions)
        except (KafkaException, TimeoutError) as error:
            end(producer.close)
            raise self._ours("ending earlier transactions", error) from error
        self._producer, self._open = producer, False
        return producer

    def deliver(self, messages: Sequence[Outgoing], offsets: list[Any], group: Any) -> None:
        """Begin, send, flush, look at every report, send positions, commit."""
        if offsets and group is None:
            raise RetriableError("committing: this member has no place in the group")
        producer = self.ready()
        deadline = Deadline(self._timeout_s)
        try:
            producer.begin_transaction()
            self._open = True
            send_all(producer, messages, deadline)
            if offsets:
                self._call(deadline, producer.send_offsets_to_transaction, offsets, group)
            self._call(deadline, producer.commit_transaction)
            self._open = False
        except (KafkaException, BufferError, TimeoutError) as error:
            raise self._ours("committing a transaction", error) from error
        finally:
            if self._open:
                self._abort()

    @staticmethod
    def _call(deadline: Deadline, call: Callable[..., Any], *arguments: Any) -> Any:
        left = deadline.left()
        return apart(left + GRACE_S, call, *arguments, left)

    def _abort(self) -> None:
        """End the transaction if that is possible at once; discard the producer, of which nothing is known now."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(KafkaException, TimeoutError):
            self._call(Deadline(ABORT_S), producer.abort_transaction)
            self._open = False
        producer.purge(blocking=False)
        end(producer.close)

    def _ours(self, doing: str, error: BaseException) -> Exception:
        if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
            return self._meant(doing, error.args[0])
        return RetriableError(f"{doing}: no answer in {self._timeout_s:g} s")

    def close(self, timeout_s: float) -> None:
        """Leave no transaction open where the broker can be asked to end it."""
        if self._open:
            with contextlib.suppress(Exception):
                self.ready(timeout_s)
        producer, self._producer = self._producer, None
        if producer is not None:
            end(producer.close)
