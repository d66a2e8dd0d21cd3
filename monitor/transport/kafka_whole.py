"""An assignor that gives one member of a group every partition; the others stand by, and take over when it leaves."""

from collections.abc import Iterable, Sequence
from typing import Any

from kafka.coordinator.assignors.abstract import (
    AbstractPartitionAssignor,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)

WHOLE = "whole"


class WholeAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """All to the member whose instance id is the first in order: the same one after a restart within its session."""

    name = WHOLE
    version = 0

    @classmethod
    def assign(cls, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """Every partition of every topic, to one member."""
        chosen = min(members, key=lambda each: (each.group_instance_id or "", each.member_id)).member_id
        topics = sorted({topic for member in members for topic in member.metadata.topics})
        everything = [(topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in topics]
        return {
            member.member_id: ConsumerProtocolAssignment(
                cls.version, everything if member.member_id == chosen else [], b""
            )
            for member in members
        }

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> Any:
        """What a member says of itself."""
        return ConsumerProtocolSubscription(cls.version, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any, generation: int) -> None:
        """Nothing is kept."""
