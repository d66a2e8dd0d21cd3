"""Holds what is on the topics against what must be: lost, duplicated, wrong."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Message

from monitor.events import GroupEvent, IncidentEvent, SensorEvent, decode_message, headers_dict
from monitor.state import decode_entry, decode_key
from monitor.topics import Topics
from monitor.wire import decode_scores
from tests.faults.observer import Seen, checksum
from tests.faults.reference import SCORES, Outputs, shown

TOLERANCE = 1e-5  # relative, of scores: how many windows a call of the model has may change the last bits
KEYS = [name for name in SCORES.names if name != "score"]


@dataclass(slots=True)
class Verdict:
    """How many outputs are missing, there more than once, or not what they should be; `told` names some of them."""

    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    told: list[str] = field(default_factory=list)

    def add(self, what: str, lost: Iterable[Any], duplicated: Iterable[Any], wrong: Iterable[Any]) -> None:
        """Count what was found of one kind, and keep an example of each."""
        for name, found in (("lost", list(lost)), ("duplicated", list(duplicated)), ("wrong", list(wrong))):
            setattr(self, name, getattr(self, name) + len(found))
            if found:
                self.told.append(f"{len(found)} {what} {name}, such as {_short(found[0])}")


def _short(what: Any) -> str:
    return str(tuple(what.values()) if isinstance(what, dict) else what)[:200]


def collect(topics: Topics, records: Iterable[Message], into: Outputs) -> None:
    """Decode records of the output topics."""
    for record in records:
        if record.topic() == topics.scores:
            into.scores += _score_rows(record)
        elif record.topic() == topics.anomalies:
            event = decode_message(record.headers() or [], record.value())
            assert not isinstance(event, GroupEvent)
            into.events.append(event)
        elif record.topic() == topics.deadletter:
            told = headers_dict(record.headers() or [])
            place = int(told["tocsin-partition"]), int(told["tocsin-offset"])
            into.dead.append(((told["tocsin-topic"], *place, told["tocsin-reason"]), checksum(record)))
        else:
            into.state[record.partition(), decode_key(record.key())] = shown(decode_entry(record.value()))


def _score_rows(record: Message) -> list[pa.RecordBatch]:
    table = decode_scores(record.value())
    partition = pa.repeat(pa.scalar(record.partition(), pa.int32()), table.num_rows)
    columns = {name: table[name].combine_chunks() for name in SCORES.names if name != "partition"}
    columns["window_end"] = columns["window_end"].cast(pa.int64())
    rows = pa.table({"partition": partition, **columns}).select(SCORES.names)
    return rows.cast(SCORES).to_batches()


def judge(expected: Outputs, found: Outputs) -> Verdict:
    """Every expected output exactly once, and no other; states as they were last."""
    verdict = Verdict()
    _judge_scores(expected.score_table(), found.score_table(), verdict)
    _judge("incident events", _events(expected.events), _events(found.events), verdict)
    _judge("dead letters", list(expected.dead), list(found.dead), verdict)
    differing = [
        f"{key[0]} {key[1].asset}: {where}"
        for key in expected.state.keys() | found.state.keys()
        if (where := difference(expected.state.get(key), found.state.get(key)))
    ]
    verdict.add("states", (), (), differing)
    return verdict


def _judge_scores(expected: pa.Table, found: pa.Table, verdict: Verdict) -> None:
    there = found.group_by(KEYS).aggregate([("score", "count"), ("score", "min"), ("score", "max")])
    both = expected.join(there, KEYS, join_type="full outer")
    missing, unexpected = pc.is_null(both["score_count"]), pc.is_null(both["score"])
    tolerance = pc.multiply(pc.abs(both["score"]), TOLERANCE)
    off = pc.max_element_wise(
        pc.abs(pc.subtract(both["score_max"], both["score"])), pc.abs(pc.subtract(both["score_min"], both["score"]))
    )
    differs = pc.fill_null(pc.greater(off, tolerance), False)
    more = both.filter(pc.fill_null(pc.greater(both["score_count"], 1), False))
    verdict.add(
        "scores",
        both.filter(missing).to_pylist(),
        [row for row in more.to_pylist() for _ in range(row["score_count"] - 1)],
        both.filter(pc.or_(unexpected, differs)).to_pylist(),
    )


def _events(events: Iterable[IncidentEvent | SensorEvent]) -> list[tuple[Hashable, Any]]:
    return [(each.event_id, _facts(each)) for each in events]


def _facts(event: IncidentEvent | SensorEvent) -> Any:
    if isinstance(event, SensorEvent):
        return event.verdict, event.previous, str(event.since), str(event.detected)
    return event.transition, event.state, event.alarm_seq, str(event.start), str(event.end), event.peak


def _judge(
    what: str, expected: list[tuple[Hashable, Any]], found: list[tuple[Hashable, Any]], verdict: Verdict
) -> None:
    """Outputs by their identity, each with what it says."""
    wanted, counts = dict(expected), Counter(key for key, _ in found)
    wrong = [(key, says, wanted.get(key)) for key, says in found if not close(says, wanted.get(key))]
    lost = [key for key in wanted if key not in counts]
    verdict.add(what, lost, [key for key, count in counts.items() for _ in range(count - 1)], wrong)


def difference(wanted: Any, got: Any, path: str = "") -> str:
    """Where two documents differ first, and in what; empty where they do not."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        pairs = [(name, wanted.get(name), got.get(name)) for name in {**wanted, **got}]
        return next((told for name, a, b in pairs if (told := difference(a, b, f"{path}.{name}"))), "")
    return "" if close(wanted, got) else f"{path} is {got}, not {wanted}"


def close(a: Any, b: Any) -> bool:
    """Whether two documents are equal but for the last bits of their numbers."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(close, a, b))
    return bool(a == b)


def judge_witness(saw: Seen, there: Seen, verdict: Verdict) -> None:
    """A reader that ran meanwhile saw the very records that stand there now, once each and in their order."""
    differing = [
        (
            where,
            [each for each in there[where] if each not in set(saw[where])][:1],
            len(saw[where]),
            len(there[where]),
        )
        for where in there
        if saw[where] != there[where]
    ]
    verdict.add("partitions by the reader meanwhile", (), (), differing)


def seen(records: Iterable[Message]) -> list[tuple[int, int]]:
    """Offsets and checksums of records."""
    return [(each.offset(), checksum(each)) for each in records]
