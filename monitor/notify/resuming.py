"""Where `tocsin notify` goes on: the state that is kept, and up to which place of each partition that reaches."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from monitor.config import Config
from monitor.notify.notifier import Notifier
from monitor.notify.state import encode, key_of, restored
from monitor.state import Position, decode_key
from monitor.topics import NOTIFY
from monitor.transport import Outgoing, TopicPartition, Transport

STATE_PARTITION = 0


def resumed(
    config: Config, endpoints: Iterable[str], transport: Transport, partitions: Iterable[int], log: Any
) -> tuple[Notifier, list[tuple[str, None]]]:
    """The state, and changes to keep at once: entries of endpoints that are no more are over.

    `done` has where each partition goes on. Raises RetriableError.
    """
    topic = config.topics.readings
    wheres = [(topic, partition) for partition in sorted(partitions)]
    committed = {where: transport.committed(where) for where in wheres}  # which ends what was left open
    state, unreadable, strangers = restored(_entries(config, transport), endpoints)
    for part in unreadable:
        log.warning("state_unreadable", key=part[:200], detail="it is none of this version's")
    first_time = not state.done and not any(committed.values())
    for where in wheres:
        _resume(state, where, committed[where], transport.bounds(where), first_time, log)
    return state, [(part, None) for part in strangers]


def _resume(
    state: Notifier,
    where: TopicPartition,
    committed: Position | None,
    bounds: tuple[int, int],
    first_time: bool,
    log: Any,
) -> None:
    """A partition goes on behind all that is in the state; what another log has under these numbers is history."""
    (_, partition), (first, end) = where, bounds
    known = max(committed.offset if committed else first, state.done.get(partition, first))
    if not first <= known <= end:
        log.warning("offset_gone", partition=partition, committed=known, first=first, end=end)
    state.done[partition] = first if known > end else max(known, first)
    if first_time or known > end:
        state.history[partition] = end


def _entries(config: Config, transport: Transport) -> list[tuple[str, bytes]]:
    """Entries of this group, by part; what is another's is told by who it belongs to."""
    found = []
    for key, value in transport.read_state((config.topics.readings, STATE_PARTITION)):
        try:
            known = decode_key(key)
        except msgspec.DecodeError:
            continue
        if known.topic == NOTIFY and known.asset == config.delivery.group:
            found.append((known.detector, value))
    return found


def state_messages(config: Config, parts: Sequence[tuple[str, Any]]) -> list[Outgoing]:
    """Changed parts as messages of the state topic."""
    topic, group = config.topics.state, config.delivery.group
    return [Outgoing(topic, encode(value), key_of(group, part), (), STATE_PARTITION) for part, value in parts]
