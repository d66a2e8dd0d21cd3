"""Takes partitions over: asks what was committed, what the log is now, and whether the topics fit each other."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from monitor.config import Config
from monitor.errors import RetriableError
from monitor.resume import Entries, Resumed, resume
from monitor.state import decode_entry, decode_key
from monitor.telemetry import Metrics
from monitor.topics import NOTIFY, TopicNow, lacking
from monitor.transport import TopicPartition, Transport

LOOK_EVERY_S = 30.0
LOOK_SOON_S = 2.0  # while something is missing
FRESH_S = 1.0  # that one look serves partitions that are assigned together


class Takeover:
    """What the daemon knows of the topics, looked at with each assignment and from time to time.

    A partition that the other topics cannot follow is refused: the daemon does not read it until they can.
    """

    def __init__(
        self, config: Config, transport: Transport, log: Any, metrics: Metrics, monotonic: Callable[[], float]
    ) -> None:
        self._topics = config.topics
        self._transport, self._log, self._metrics, self._monotonic = transport, log, metrics, monotonic
        self._refused: dict[TopicPartition, str] = {}
        self._ids: dict[TopicPartition, str | None] = {}  # the topic that each partition was last read of
        self._absent = False
        self._topics_now: Mapping[str, TopicNow] = {}  # when it was looked last
        self._looked = monotonic()

    @property
    def missing(self) -> str:
        """What of the topics keeps partitions from being read; empty where nothing does."""
        if self._absent:
            return f"the topic {self._topics.readings} is missing"
        reasons = [reason for reason in list(self._refused.values()) if reason]  # another thread asks
        return f"waiting for topics: {reasons[0]}" if reasons else ""

    def resume(self, where: TopicPartition, gone: Mapping[TopicPartition, int | None]) -> Resumed | None:
        """Where to go on with a partition that was assigned, None where it is refused; raises RetriableError.

        gone: partitions whose next offset the log does not have, as a poll tells it.
        """
        fresh = self._topics_now and self._monotonic() - self._looked < FRESH_S and where not in gone
        topics = self._topics_now if fresh else self._see()
        if fresh and self._lacking(topics, where):
            topics = self._see()
        refusal = self._lacking(topics, where)
        if refusal:
            self._refused[where] = refusal
            self._log.warning("waiting_for_topics", partition=where[1], detail=refusal)
            return None
        committed, (first, end) = self._transport.committed(where), self._transport.bounds(where)
        entries = self._entries(where)
        differs_from = gone.get(where)
        end = end if differs_from is None else min(end, max(differs_from, first))
        topic_id = topics[where[0]].id
        found = resume(committed, (first, end), topic_id, entries, self._ids.get(where), where in gone)
        self._refused.pop(where, None)
        self._ids[where] = topic_id
        return found

    def tell(self, where: TopicPartition, found: Resumed, refilled: bool) -> None:
        """Log and count what was found; a refill that was cut is nothing where windows are not `refilled`."""
        for event, details in found.told:
            if refilled or event != "refill_cut":
                self._metrics.recoveries.labels(event).inc()
                self._log.warning(event, partition=where[1], **details)

    def forget(self, where: TopicPartition) -> None:
        """A partition left; whoever has it now decides."""
        self._refused.pop(where, None)

    def look(self, owned: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Partitions to take over again: refused ones that can be read now, and owned ones of another topic now."""
        hurry = self._absent or self._refused
        if self._monotonic() - self._looked < (LOOK_SOON_S if hurry else LOOK_EVERY_S):
            return []
        try:
            topics = self._see()
        except RetriableError:
            return []  # that the broker is away is told by those who need it
        now = topics.get(self._topics.readings, TopicNow()).id
        self._refused = {where: self._lacking(topics, where) for where in self._refused}
        fit = [where for where, lacks in self._refused.items() if not lacks]
        return fit + [where for where in owned if None not in (now, was := self._ids.get(where)) and was != now]

    def _see(self) -> Mapping[str, TopicNow]:
        self._topics_now, self._looked = {}, self._monotonic()  # one that fails is a look too
        topics = self._topics_now = self._transport.topics()
        absent = not topics.get(self._topics.readings, TopicNow()).partitions
        if absent and not self._absent:
            self._metrics.recoveries.labels("topic_missing").inc()
            self._log.warning("topic_missing", topic=self._topics.readings)
        self._absent = absent
        return topics

    def _lacking(self, topics: Mapping[str, TopicNow], where: TopicPartition) -> str:
        """What keeps a partition from being read."""
        if topics.get(where[0], TopicNow()).partitions <= where[1]:
            return f"{where[0]} has no partition {where[1]}; create it with `tocsin topics`"
        return lacking(self._topics, topics, where[1] + 1)

    def _entries(self, where: TopicPartition) -> Entries:
        """Entries of the state topic that can be read; another version's or a stranger's are skipped and told."""
        known = []
        for key, value in self._transport.read_state(where):
            try:
                known_key = decode_key(key)
                if known_key.topic == NOTIFY:  # another process's, in a form of its own
                    continue
                entry = known_key, decode_entry(value)
            except msgspec.DecodeError as error:
                self._log.warning("state_unreadable", key=key[:200].decode("utf-8", "replace"), detail=str(error))
                continue
            if entry[0].topic == where[0]:
                known.append(entry)
        return known
