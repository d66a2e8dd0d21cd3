"""`tocsin backtest`: the daemon's own step over recorded readings, without a broker."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress, pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitor.assembly import Assembly
from monitor.columns import Block, Columns
from monitor.config import Config
from monitor.decisions import accept_as_normal
from monitor.encode import partition_of
from monitor.errors import InvalidConfiguration, InvalidData
from monitor.events import IncidentEvent, to_ns
from monitor.output import Output
from monitor.publish import Publisher
from monitor.recording import Recording
from monitor.routes import UNWATCHED
from monitor.serving import ModelFault, merged
from monitor.state import Position
from monitor.wire import SCORES_SCHEMA, SCORES_SCHEMA_WITH_EXPECTED, scores_batch

CHUNK = 10_000  # readings a step


@dataclass(slots=True)
class Summary:
    """What a backtest did."""

    readings: int = 0
    windows: int = 0
    windows_not_scored: int = 0
    incidents: int = 0
    unwatched: int = 0
    faults: list[ModelFault] = field(default_factory=list)
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """That a person accepts what an asset's open alarm shows as normal, at this event time (ns)."""

    asset: str
    at: int


def acceptance(text: str) -> Acceptance:
    """Read ASSET@RFC3339; raises InvalidConfiguration where it is something else."""
    asset, _, moment = text.rpartition("@")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        at = None
    if not asset or at is None or at.tzinfo is None:
        raise InvalidConfiguration(
            f"--accept {text}: give an asset and a time with its zone, such as pump-7@2026-01-01T12:00:00Z"
        )
    return Acceptance(asset, to_ns(at))


def outputs(
    assembly: Assembly, recording: Recording, topic: str, partitions: int, accepted: Sequence[Acceptance] = ()
) -> Iterator[Output]:
    """Steps over a recording in order of event time; assets lie on partitions as a Kafka producer puts them.

    What is `accepted` as normal is so behind the last reading up to then. At the end every partition is closed, as
    the daemon closes one that has fallen silent.
    """
    pipeline = assembly.pipeline
    homes = np.array([partition_of(name, partitions) for name in recording.assets], np.int64)
    where = [(topic, partition) for partition in range(partitions)]
    for each in where:
        pipeline.assign(each, Position(0, 0), ())
    next_offset = dict.fromkeys(where, 0)
    ordered = sorted(accepted, key=lambda each: each.at)
    behind = np.searchsorted(recording.ts, [each.at for each in ordered], side="right").tolist()
    bounds = sorted({*range(0, len(recording), CHUNK), *behind, len(recording)})
    for start, end in pairwise([*bounds, len(recording)]):
        for decided in compress(ordered, (place == start for place in behind)):
            home = (topic, partition_of(decided.asset, partitions))
            yield accept_as_normal(pipeline, home, decided.asset, decided.at)
        if start == end:
            break
        part = recording.take(slice(start, end))
        partition = homes[part.asset]
        batches = {}
        for number in np.unique(partition).tolist():
            each = (topic, number)
            mine = part.take(partition == number)
            batches[each] = (columns(assembly, mine, next_offset[each]), next_offset[each] + len(mine))
            next_offset[each] += len(mine)
        yield pipeline.step(batches)
    yield pipeline.close_silent(where)


def columns(assembly: Assembly, recording: Recording, first_offset: int) -> Columns:
    """Readings as the decoder would give them, had each been a message of its own."""
    assets = assembly.decoder.assets
    codes = np.array([assets.code(name) for name in recording.assets], np.int64)[recording.asset]
    routes = assets.routes_of(codes)
    column = {name: number for number, name in enumerate(recording.channels)}
    blocks = []
    for route in np.unique(routes).tolist():
        index = np.flatnonzero(routes == route)
        names = assembly.decoder.channels[route]
        values = np.full((len(index), len(names)), np.nan, np.float32)
        known = [name for name in names if name in column]
        if names and not known:
            raise InvalidData(f"the recording has none of the model's channels: {', '.join(names)[:200]}")
        for name in known:
            values[:, names.index(name)] = recording.values[index, column[name]]
        blocks.append(Block(route, index, values))
    unwatched = int(np.count_nonzero(routes == UNWATCHED))
    offsets = first_offset + np.arange(len(recording), dtype=np.int64)
    return Columns(codes, recording.ts, offsets, np.zeros_like(offsets), blocks, unwatched=unwatched)


def backtest(
    config: Config,
    assembly: Assembly,
    recording: Recording,
    out: str | os.PathLike[str],
    partitions: int = 1,
    on_progress: Callable[[int], object] = lambda readings: None,
    accepted: Sequence[Acceptance] = (),
) -> Summary:
    """Run and write `scores.parquet`, `incidents.jsonl`, `sensors.jsonl` and `drift.jsonl` into the folder `out`.

    Each appears when it is whole.
    """
    folder = Path(out)
    publisher = Publisher(config, config.input.max_message_bytes)
    summary = Summary()
    expected = any(detector.publish_expected for detector in config.detectors)
    schema = SCORES_SCHEMA_WITH_EXPECTED if expected else SCORES_SCHEMA
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            _whole(folder / "scores.parquet") as scores_file,
            _whole(folder / "incidents.jsonl") as incidents_file,
            _whole(folder / "drift.jsonl") as drift_file,
            _whole(folder / "sensors.jsonl") as sensors_file,
            pq.ParquetWriter(scores_file, schema) as writer,
            incidents_file.open("wb") as lines,
            drift_file.open("wb") as drift_lines,
            sensors_file.open("wb") as sensor_lines,
        ):
            for output in outputs(assembly, recording, config.topics.readings, partitions, accepted):
                for _, scores in output.scores:
                    writer.write_batch(_with_columns(scores_batch(scores), schema))
                events = publisher.events(output.transitions)
                lines.writelines(msgspec.json.encode(event) + b"\n" for event in events)
                drift_lines.writelines(msgspec.json.encode(drift) + b"\n" for drift in output.drifts)
                sensors = publisher.sensor_events(output.sensor_events)
                sensor_lines.writelines(msgspec.json.encode(event) + b"\n" for event in sensors)
                _count(summary, output, events)
                on_progress(summary.readings)
    except OSError as error:
        raise InvalidData(f"{folder}: {error.strerror or error}") from None
    return summary


def _count(summary: Summary, output: Output, events: list[IncidentEvent]) -> None:
    summary.readings += output.counts.readings
    summary.windows += output.counts.windows
    summary.windows_not_scored += output.counts.windows_not_scored
    summary.unwatched += output.counts.unwatched
    summary.faults = merged(summary.faults + output.faults)
    summary.incidents += sum(event.transition == "raised" for event in events)
    summary.accepted += sum(event.reason == "accepted" for event in events)


def _with_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the file's schema: what a detector does not publish is null."""
    arrays = [
        batch[field.name] if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file to write that takes its name only when all went well."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
