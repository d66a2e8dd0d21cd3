"""What the daemon needs of a message log, and nothing more; every transport passes the same contract suite.

Exactly once: outputs, state and positions of one `deliver` are one transaction; readers see all of it or nothing.
At least once, by choice: `deliver` returns when the outputs are acknowledged and a commit of the positions behind
them is sent; whatever fails before that is delivered again, with the same event ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitor.columns import Headers, Messages
from monitor.state import Position
from monitor.topics import TopicNow

TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish; without a partition its key chooses one."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


@dataclass(slots=True)
class Polled:
    """What a poll gave: partitions that left and came, in this order, then messages.

    gone: partitions whose next offset the log does not have, which therefore left and came again; with the offset
    where the log begins to differ from what was read, where that is known.
    """

    revoked: list[TopicPartition] = field(default_factory=list)
    assigned: list[TopicPartition] = field(default_factory=list)
    gone: dict[TopicPartition, int | None] = field(default_factory=dict)
    messages: list[Messages] = field(default_factory=list)


class Transport(Protocol):
    """A member of a consumer group on the input topic, and a producer for the outputs.

    Calls raise RetriableError when the broker does not answer, FencedError when another process took this member's
    place. A partition that was assigned gives no messages before `start` says where to begin.
    """

    def poll(self, max_wait_s: float) -> Polled:
        """Wait for messages, at most so long."""

    def topics(self) -> Mapping[str, TopicNow]:
        """What the broker has now of the topics that the daemon reads and writes."""

    def committed(self, where: TopicPartition) -> Position | None:
        """The group's committed position, None where there is none; earlier deliveries of this member are settled."""

    def read_state(self, where: TopicPartition) -> Sequence[tuple[bytes, bytes]]:
        """All entries of the state topic's partition of the same number: the last value of each key."""

    def bounds(self, where: TopicPartition) -> tuple[int, int]:
        """First offset that the log still has, and the one behind its last."""

    def start(self, where: TopicPartition, offset: int) -> bool | None:
        """Begin to read an assigned partition here; True, or None where it has left, as the next poll tells."""

    def lag(self, where: TopicPartition) -> int | None:
        """Messages behind this member's reading position; None while unknown."""

    def at_end(self, where: TopicPartition) -> bool:
        """Whether everything is read that the log has now: a question to the broker, not to what was fetched last."""

    def deliver(
        self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], positions: dict[TopicPartition, Position]
    ) -> None:
        """Publish outputs and state, and commit positions.

        Where it raises RetriableError, whether that was done is told by `committed` alone: the caller goes back to
        what that says, with the state that `read_state` gives. At least once, a later call may raise for this commit.
        """

    def close(self) -> None:
        """Leave the group and release everything; nothing is committed that was not delivered."""
