"""Where a partition that was assigned goes on: its committed position, held against the log that is there now.

A log may have changed since: retention has cut it, a broker has lost its end, the topic was created anew. What is
done about it is worked out here, and told; nothing of it is silent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from monitor.revisions import limited
from monitor.state import END_OF_MESSAGE, Position, StateEntry, StateKey

Entries = Sequence[tuple[StateKey, StateEntry]]


@dataclass(slots=True)
class Resumed:
    """Where to go on and with which entries, and what was found on the way: events with their details."""

    position: Position
    entries: Entries
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def resume(
    committed: Position | None,
    bounds: tuple[int, int],
    topic_id: str | None,
    entries: Entries,
    ran_on: str | None = None,
    position_gone: bool = False,
) -> Resumed:
    """Decide where a partition goes on.

    bounds: the log's first offset and the one behind its last. entries: those of the state topic for this input
    topic. ran_on: id of the topic that this process last read this partition of, where it did. position_gone: the
    log did not have the offset that was to be read next.

    Of a topic that was created anew everything is read, with fresh windows: they depend on their log alone. An alarm
    outlives the log, since it is about the machine.
    """
    first, end = bounds
    told: list[tuple[str, dict[str, Any]]] = []
    was = _other_topic(committed, topic_id, entries, ran_on)
    kept = [(key, _of_this_topic(entry, topic_id)) for key, entry in entries]
    cmd = committed.cmd if committed else None
    start = Position(first, first, None, topic_id, len(entries), cmd)
    if was is not None:
        told.append(("topic_recreated", {"was": was, "now": topic_id}))
    elif committed is None:
        if entries or position_gone:  # there was work, and its position is forgotten
            told.append(("offset_gone", {"committed": None, "first": first, "end": end}))
    else:
        offset = min(max(committed.offset, first), end)
        if offset != committed.offset or position_gone:
            told.append(("offset_gone", {"committed": committed.offset, "first": first, "end": end}))
        if first > committed.low:
            told.append(("refill_cut", {"needed": committed.low, "first": first}))
        low = min(max(committed.low, first), offset)
        start = Position(offset, low, committed.stream, topic_id or committed.topic_id, len(entries), cmd)
        kept = [(key, _before(entry, end)) for key, entry in kept]
    if told:  # what incidents were made of cannot be read again
        kept = [(key, replace(entry, alarm=limited(entry.alarm, 0))) for key, entry in kept]
    if committed is not None and committed.entries > len(entries):
        told.append(("state_lost", {"written": committed.entries, "found": len(entries)}))
    return Resumed(start, kept, told)


def _other_topic(
    committed: Position | None, topic_id: str | None, entries: Entries, ran_on: str | None
) -> str | None:
    """Id of the topic that the last work was done on, where it is another one than now.

    A broker forgets what was committed of a topic that is deleted; the entries know it still.
    """
    if topic_id is None:
        return None
    if committed is not None:
        return committed.topic_id if committed.topic_id != topic_id else None
    known = {entry.topic_id for _, entry in entries} | {ran_on}
    return None if topic_id in known else max((each for each in known if each), default=None)


def _of_this_topic(entry: StateEntry, topic_id: str | None) -> StateEntry:
    """An entry of another topic without its closes: they are places in a log that is no more."""
    if None in (topic_id, entry.topic_id) or entry.topic_id == topic_id:
        return entry
    return replace(entry, closes=())


def _before(entry: StateEntry, end: int) -> StateEntry:
    """Closes behind the log's end happen at its end: what they closed was scored, and stays closed."""
    if all(close.offset < end for close in entry.closes):
        return entry
    at_end = [c if c.offset < end else c._replace(offset=end - 1, row=END_OF_MESSAGE) for c in entry.closes]
    return replace(entry, closes=tuple(at_end))
