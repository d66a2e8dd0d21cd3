"""How kafka-python delivers: in transactions, or at least once."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import (
    ClusterAuthorizationFailedError,
    FencedInstanceIdError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from monitor.errors import FatalError, FencedError, RetriableError
from monitor.transport import Outgoing
from monitor.transport.apart import Deadline, apart
from monitor.transport.kafka_commits import Commits
from monitor.transport.member import fenced

ABORT_S = 2.0  # that the end of a transaction which failed may take; a later producer ends it otherwise
RETRY_BACKOFF_MS = 2  # its default, 100, is slept at nearly every begin: the broker still ends the last transaction
_REFUSED = (
    ClusterAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)


class Delivery(Protocol):
    """Outputs, state and positions on their way to the broker."""

    def ready(self) -> None:
        """Return when what was delivered before is settled: only then is a committed position the last one."""

    def check(self) -> None:
        """Raise what became of the last delivery, where that is known only now."""

    def deliver(self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], offsets: Any, group: Any) -> None:
        """Deliver; `offsets` and the member's `group` metadata are the client's."""

    def close(self, timeout_s: float) -> None:
        """End in order what is under way, within the time."""


class ExactlyOnce:
    """Outputs, state and positions in one transaction.

    After any failure or doubt the producer is discarded. The next one has the same transactional id: to make it ends
    what its predecessor, or another process of this name, has left open.
    """

    def __init__(self, settings: dict[str, Any], instance: str, timeout_s: float) -> None:
        """A delivery takes at most `timeout_s`."""
        self._settings, self._instance, self._timeout_s = settings, instance, timeout_s
        self._producer: Any = None
        self._open = False  # whether a transaction may be

    def ready(self) -> None:
        """Make a producer where there is none, which ends all earlier transactions of this name."""
        if self._producer is None:
            self._begin(self._settings)

    def _begin(self, settings: dict[str, Any]) -> None:
        producer = None
        try:
            producer = KafkaProducer(**settings)
            producer.init_transactions()
        except KafkaError as error:
            _discard(producer)
            raise self._meant("ending earlier transactions", error) from error
        self._producer, self._open = producer, False

    def check(self) -> None:
        """A delivery that returned is done."""

    def deliver(self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], offsets: Any, group: Any) -> None:
        """Begin, send, flush, look at every future, send positions, commit.

        All is acknowledged before the commit: what kafka-python 3.0 has still to send in a commit, it may lose.
        """
        if offsets and group is None:
            raise RetriableError("committing: this member has no place in the group")
        self.ready()
        deadline = Deadline(self._timeout_s)
        try:
            self._producer.begin_transaction()
            self._open = True
            send_all(self._producer, [*outputs, *state], deadline.left())
            if offsets:
                apart(deadline.left(), self._producer.send_offsets_to_transaction, offsets, group)
            apart(deadline.left(), self._producer.commit_transaction)
            self._open = False
        except KafkaError as error:
            raise self._meant("committing a transaction", error) from error
        except TimeoutError:
            raise RetriableError(f"committing a transaction: no answer in {self._timeout_s:g} s") from None
        finally:
            if self._open:
                self._abort()

    def _abort(self) -> None:
        """End the transaction if that is possible at once; discard the producer, of which nothing is known now."""
        producer, self._producer = self._producer, None
        with contextlib.suppress(KafkaError, TimeoutError):
            apart(ABORT_S, producer.abort_transaction)
            self._open = False
        _discard(producer)

    def _meant(self, doing: str, error: KafkaError) -> Exception:
        """An error of the client as one of ours."""
        if isinstance(error, FencedInstanceIdError):
            return fenced(self._instance)
        if isinstance(error, _REFUSED):
            return FatalError(f"{doing}: {say(error)}: this user may not write in transactions as '{self._instance}'")
        return RetriableError(f"{doing}: {say(error)}")

    def close(self, timeout_s: float) -> None:
        """Leave no transaction open where the broker can be asked to end it."""
        if self._open:
            with contextlib.suppress(RetriableError, FatalError, FencedError):
                self._begin(self._settings | {"max_block_ms": int(1000 * timeout_s)})
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError):
                producer.close(timeout=timeout_s)


class AtLeastOnce:
    """Outputs by an idempotent producer, then state, so that state is never ahead of an event; then a commit."""

    def __init__(
        self, settings: dict[str, Any], producer: Any, consumer: Any, instance: str, timeout_s: float
    ) -> None:
        """A call waits for the broker at most `timeout_s`."""
        self._settings, self._timeout_s = settings, timeout_s
        self._producer: Any = producer
        self._commits = Commits(consumer, instance, timeout_s)

    def ready(self) -> None:
        """Wait for the answer to the last commit."""
        self._commits.check(wait=True)

    def check(self) -> None:
        """Raise what became of the last commit."""
        self._commits.check(wait=False)

    def deliver(self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], offsets: Any, group: Any) -> None:
        """Publish and send the commit; a turn is shorter without the wait for its answer."""
        self._commits.check(wait=True)  # before anything is published that would be published again for its fault
        for messages in (outputs, state):
            self._publish(messages)
        if offsets:
            self._commits.send(offsets)

    def _publish(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        try:
            if self._producer is None:
                self._producer = KafkaProducer(**self._settings)
            send_all(self._producer, messages, self._timeout_s + 5)
        except KafkaError as error:
            # an idempotent producer that lost a message refuses all that follow
            producer, self._producer = self._producer, None
            _discard(producer)
            raise RetriableError(f"publishing: {say(error)}") from error

    def close(self, timeout_s: float) -> None:
        """Wait for what was sent."""
        if self._producer is not None:
            with contextlib.suppress(KafkaError):
                self._producer.close(timeout=timeout_s)
        with contextlib.suppress(FencedError, RetriableError):
            self._commits.check(wait=True, timeout_s=timeout_s)


def send_all(producer: Any, messages: Iterable[Outgoing], timeout_s: float) -> None:
    """Send messages and wait until each is acknowledged; raises KafkaError where one is not, within the time."""
    futures = [
        producer.send(
            message.topic,
            value=message.value,
            key=message.key,
            headers=list(message.headers),
            partition=message.partition,
        )
        for message in messages
    ]
    producer.flush(timeout=timeout_s)
    for future in futures:
        future.get(timeout=0)


def _discard(producer: Any) -> None:
    """Close a producer whose messages are of no use any more, and let go of what waits for it."""
    if producer is None:
        return
    try:
        producer.close(timeout=0)
    except KafkaError:  # it would still send what it has
        producer._sender.force_close()
        with contextlib.suppress(KafkaError):
            producer.close(timeout=0)
    if producer._transaction_manager is not None:
        producer._transaction_manager.authentication_failed(KafkaError("discarded"))  # ends calls that hang


def say(error: Exception) -> str:
    """An error of the client in few words."""
    name = type(error).__name__
    text = str(error).removeprefix(f"{name}: ").strip()
    return f"{name}: {text}" if text not in ("", "None") else name
