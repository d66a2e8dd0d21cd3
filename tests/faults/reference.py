"""What must stand on the topics: one pass over the input log by the daemon's own step, without a broker."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
from confluent_kafka import Message
from msgspec.structs import replace

from monitor.assembly import Assembly, assemble, load_models
from monitor.columns import Messages
from monitor.config import Config
from monitor.events import IncidentEvent, SensorEvent
from monitor.output import Output
from monitor.publish import Publisher
from monitor.revisions import limited
from monitor.state import Position, StateEntry, StateKey
from monitor.wire import Scores
from tests.faults.observer import Place, checksum

SCORES = pa.schema(
    [
        ("partition", pa.int32()),
        ("asset", pa.string()),
        ("detector", pa.string()),
        ("window_end", pa.int64()),
        ("model_version", pa.string()),
        ("score", pa.float32()),
    ]
)
Identity = tuple[str, int, int, str]  # of a dead letter: topic, partition, offset, reason


@dataclass(slots=True)
class Outputs:
    """What is on the topics, or must be: every score, incident event and dead letter, and the last states."""

    scores: list[pa.RecordBatch] = field(default_factory=list)
    events: list[IncidentEvent | SensorEvent] = field(default_factory=list)
    dead: list[tuple[Identity, int]] = field(default_factory=list)  # with the checksum of the message
    state: dict[tuple[int, StateKey], Any] = field(default_factory=dict)  # by partition and key

    def score_table(self) -> pa.Table:
        """All scores, a row each."""
        return pa.Table.from_batches(self.scores, SCORES)


class Reference:
    """One pass over partitions, one after the other."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._publisher = Publisher(config, config.input.max_message_bytes)
        self._assembly: Assembly = assemble(config, load_models(config))
        self._state: dict[int, dict[StateKey, StateEntry]] = {}
        self.outputs = Outputs()

    def begin(self, partition: int, offset: int = 0) -> None:
        """Read a partition from here on: of what was before, alarms and stream time are kept, nothing to revise."""
        where = self._where(partition)
        known = self._assembly.pipeline.partitions.get(where)
        position = Position(offset, offset, known.position().stream if known else None)
        kept = self._state.setdefault(partition, {})
        kept |= {key: replace(entry, alarm=limited(entry.alarm, 0)) for key, entry in kept.items()}
        self._assembly.pipeline.assign(where, position, kept.items())

    def begin_anew(self, partition: int) -> None:
        """Read a partition of a topic that was created anew: of the old one alarms alone are kept."""
        kept = self._state.setdefault(partition, {})
        kept |= {key: replace(entry, alarm=limited(entry.alarm, 0), closes=()) for key, entry in kept.items()}
        self._assembly.pipeline.assign(self._where(partition), Position(0, 0), kept.items())

    def read(self, partition: int, batch: list[Message]) -> None:
        """The step over records of a partition."""
        where = self._where(partition)
        messages = Messages(
            *where,
            batch[-1].offset() + 1,
            [each.offset() for each in batch],
            [each.timestamp()[1] for each in batch],
            [each.value() for each in batch],
            [each.key() for each in batch],
            [each.headers() or [] for each in batch],
        )
        columns = self._assembly.decoder.decode(messages)
        self.outputs.dead += [
            ((*where, messages.offsets[each.index], each.reason), checksum(batch[each.index]))
            for each in columns.dead
        ]
        self._keep(self._assembly.pipeline.step({where: (columns, messages.next_offset)}))

    def _where(self, partition: int) -> tuple[str, int]:
        return self._config.topics.readings, partition

    def _keep(self, output: Output) -> None:
        self.outputs.scores += [score_rows(partition, scores) for (_, partition), scores in output.scores]
        self.outputs.events += self._publisher.events(output.transitions)
        self.outputs.events += self._publisher.sensor_events(output.sensor_events)
        for (_, partition), key, entry in output.state:
            self._state[partition][key] = entry
            self.outputs.state[partition, key] = shown(entry)


def shown(entry: StateEntry) -> dict[str, Any]:
    """A state as a document; the topic's id, which only the broker knows, is left out."""
    told: dict[str, Any] = msgspec.to_builtins(entry)
    return {name: value for name, value in told.items() if name != "topic_id"}


def score_rows(partition: int, scores: Scores) -> pa.RecordBatch:
    """Scores as rows of SCORES."""
    rows = len(scores.assets)
    columns = [
        pa.repeat(pa.scalar(partition, pa.int32()), rows),
        pa.array(scores.assets, pa.string()),
        pa.repeat(scores.detector, rows),
        pa.array(scores.window_end),
        pa.repeat(scores.model_version, rows),
        pa.array(scores.score),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCORES)


def reference(config: Config, partitions: int, log: Iterable[tuple[Place, list[Message]]]) -> Outputs:
    """Outputs of an input log, each partition from its beginning, in batches of one partition."""
    whole = Reference(config)
    for partition in range(partitions):
        whole.begin(partition)
    for (_, partition), batch in log:
        whole.read(partition, batch)
    return whole.outputs
