"""Snapshots of open windows in a local folder: a cache, with which a restart need not read back to the low offset.

Windows are copied at once, while they are those of the committed position, and written beside the daemon's loop. Each
partition has one file, which is replaced. Whatever is wrong with a file, it is told and not used.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from monitor import __version__, snapshot
from monitor.assembly import Assembly
from monitor.config import Config
from monitor.partition import PartitionState
from monitor.rebuilt import Rebuilt
from monitor.snapshot import Origin
from monitor.state import Position

TopicPartition = tuple[str, int]


class Snapshots:
    """The snapshots of one daemon; without a folder all calls do nothing."""

    def __init__(self, config: Config, assembly: Assembly, log: Any, monotonic: Callable[[], float]) -> None:
        folder = config.delivery.snapshots
        self._folder = None if folder is None else Path(folder)
        self._config, self._assembly, self._log, self._monotonic = config, assembly, log, monotonic
        self._rules = _digest([__version__, config.delivery.group, config.topics, config.input, config.assets])
        self._topic_ids: dict[TopicPartition, str | None] = {}
        self._saved: dict[TopicPartition, int] = {}  # offsets
        self._last = monotonic()
        self._worker = ThreadPoolExecutor(1, "snapshots")
        self._writing: list[Future[None]] = []

    def restore(self, where: TopicPartition, position: Position, topic_id: str | None) -> Rebuilt | None:
        """Windows of a partition that is being assigned, None where no snapshot serves this committed position."""
        self._topic_ids[where] = topic_id
        self._saved.pop(where, None)
        if self._folder is None:
            return None
        self._finish()
        try:
            found = snapshot.read(self._path(where), self._origin(where))
            if found.offset > position.offset:
                raise ValueError("it is ahead of the committed position")
            if found.offset < position.low:
                raise ValueError("open windows need no reading that is so old")
        except FileNotFoundError:
            return None
        except Exception as error:  # of a cache nothing is so important that the daemon may fail
            self._log.warning("snapshot_ignored", partition=where[1], detail=str(error))
            return None
        return found

    def save(self, partitions: Mapping[TopicPartition, PartitionState], now: bool = False) -> None:
        """Take snapshots, where it is time or has to be `now`, of partitions whose state is that of a commit."""
        if self._folder is None or not (now or self._is_time()):
            return
        self._finish()
        self._last = self._monotonic()
        for where, partition in partitions.items():
            if partition.caught_up and partition.offset != self._saved.get(where):
                self._saved[where] = partition.offset
                rebuilt = partition.export()
                self._writing.append(self._worker.submit(self._write, where, self._origin(where), rebuilt))

    def close(self) -> None:
        """Wait for what is being written."""
        self._worker.shutdown()

    def _is_time(self) -> bool:
        """Whether the interval has passed, and all is written that was to be."""
        passed = self._monotonic() - self._last >= self._config.delivery.snapshot_interval_s
        return passed and all(each.done() for each in self._writing)

    def _finish(self) -> None:
        for each in self._writing:
            each.result()
        self._writing.clear()

    def _write(self, where: TopicPartition, origin: Origin, rebuilt: Rebuilt) -> None:
        path = self._path(where)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            snapshot.write(path, origin, rebuilt)
        except Exception as error:
            self._log.warning("snapshot_failed", partition=where[1], detail=str(error))

    def _path(self, where: TopicPartition) -> Path:
        assert self._folder is not None
        return self._folder / f"{where[0]}-{where[1]}.snapshot"

    def _origin(self, where: TopicPartition) -> Origin:
        models = {
            detector.name: _digest([detector.assets, detector.labels, model.metadata, model.digest])
            for detector, model in ((each, self._assembly.models[each.name]) for each in self._config.detectors)
        }
        return Origin(where[0], self._topic_ids.get(where), where[1], self._rules, models)


def _digest(told: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()
