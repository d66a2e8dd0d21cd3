"""kafka-python's commits: sent when a batch is delivered, answered while the next one is read and decoded."""

import threading
from typing import Any

from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from monitor.errors import RetriableError
from monitor.transport.member import fenced

_REBALANCED = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class Commits:
    """At most one commit on its way; what became of it is told by `check`, before anything else is committed.

    A commit is tried again only in the generation in which it was first sent: later the partition may be another's,
    whose position it would set back.
    """

    def __init__(self, consumer: Any, instance: str, timeout_s: float) -> None:
        """A call waits for the broker at most `timeout_s`."""
        self._consumer, self._instance, self._timeout_s = consumer, instance, timeout_s
        self._sent: tuple[Any, dict[Any, Any], Any] | None = None  # future, offsets, generation

    def send(self, offsets: dict[Any, Any]) -> None:
        """Commit these positions; raises what became of the commit before."""
        self.check(wait=True)
        coordinator = self._consumer._coordinator
        if coordinator.coordinator_unknown():
            self._commit(
                offsets, self._timeout_s
            )  # to send it once the coordinator is found may be after a rebalance
            return
        generation = coordinator.generation_if_stable()
        self._sent = self._consumer.commit_async(offsets, callback=_no_callback), offsets, generation

    def check(self, wait: bool, timeout_s: float | None = None) -> None:
        """Raise FencedError or RetriableError where the last commit failed, after it was tried once more."""
        within_s = self._timeout_s if timeout_s is None else timeout_s
        if self._sent is None:
            return
        future, offsets, generation = self._sent
        if not future.is_done:
            if not wait:
                return
            if not done_within(future, within_s):
                raise RetriableError(f"committing: no answer in {within_s:g} s")
        self._sent = None
        if isinstance(future.exception, FencedInstanceIdError):
            raise fenced(self._instance)
        if future.exception is None or isinstance(future.exception, _REBALANCED):
            return  # where the partitions have moved, their next owner does this work again
        if self._consumer._coordinator.generation_if_stable() == generation:
            self._commit(offsets, within_s)

    def _commit(self, offsets: dict[Any, Any], within_s: float) -> None:
        try:
            self._consumer.commit(offsets, timeout_ms=int(within_s * 1000))
        except FencedInstanceIdError:
            raise fenced(self._instance) from None
        except _REBALANCED:
            return
        except KafkaError as error:
            raise RetriableError(f"committing: {type(error).__name__}: {error}") from error


def done_within(future: Any, timeout_s: float) -> bool:
    """Wait for a future of the client's thread."""
    event = threading.Event()
    future.add_both(lambda _: event.set())
    return event.wait(timeout_s)


def _no_callback(offsets: Any, answer: Any) -> None:
    """The future says the same."""
