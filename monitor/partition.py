"""State of one input partition: what each detector holds of it, stream time, recorded closes, and its position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from monitor.arrays import HIGHEST, LOWEST
from monitor.columns import AssetTable, Columns, between
from monitor.rebuilt import Rebuilt
from monitor.recorded import RecordedCloses, by_moment, left_behind
from monitor.revisions import Reset
from monitor.state import END_OF_MESSAGE, Position, StateEntry, StateKey
from monitor.watched import Watching, nothing, watched
from monitor.windows import Sink


@dataclass(slots=True)
class Read:
    """What reading some columns did besides closing windows: late readings, readings that count as new, resets."""

    late: int = 0
    readings: int = 0
    resets: int = 0


class PartitionState:
    """All that the pipeline holds for one partition; it leaves with the partition."""

    def __init__(
        self,
        where: tuple[str, int],
        watching: Sequence[Watching],
        assets: AssetTable,
        position: Position,
        state: Iterable[tuple[StateKey, StateEntry]] = (),
        rebuilt: Rebuilt | None = None,
    ) -> None:
        """Without windows that were rebuilt before, they are rebuilt from `position.low` on."""
        self.where = where
        self._assets = assets
        self._committed = position
        self._next = position.low
        self._entries = position.entries
        self.cmd = position.cmd  # next offset of the commands' topic, None: not known yet
        self._stream = LOWEST
        self.detectors = [watched(rules, assets) for rules in watching]
        recorded = []
        by_name = {detector.rules.detector: number for number, detector in enumerate(self.detectors)}
        for key, entry in state:
            number = by_name.get(key.detector)
            if number is None or key.topic != where[0]:
                continue
            self.detectors[number].known[key.asset] = entry
            recorded += [(close, number, key.asset) for close in entry.closes]
        self._recorded = RecordedCloses(recorded)
        if rebuilt is not None:
            self._take_over(rebuilt)
        for detector in self.detectors:
            detector.restore_shelved()
        if self.caught_up:
            self._restore_stream()
        self._repeat_closes((self._next, -1), [None] * len(self.detectors))

    @property
    def offset(self) -> int:
        """Next offset to read."""
        return self._next

    @property
    def caught_up(self) -> bool:
        """Whether the windows are rebuilt up to the committed position."""
        return self._next >= self._committed.offset

    def position(self) -> Position:
        """What to commit once the outputs so far are safe; during a refill, what was committed before."""
        if not self.caught_up:
            return self._committed
        low = min((detector.low_offset() for detector in self.detectors), default=HIGHEST)
        stream = None if self._stream == LOWEST else self._stream
        return Position(self._next, min(low, self._next), stream, self._committed.topic_id, self._entries, self.cmd)

    # -------------------------------------------------------------------------------------------- readings

    def read(self, columns: Columns, next_offset: int, sinks: Sequence[Sink]) -> Read:
        """Place readings; each detector's closed windows go to its sink.

        What was committed before rebuilds windows silently; recorded closes are repeated.
        """
        out = Read()
        self._begin_step()
        for part, upto in self._cut(columns, next_offset):
            if len(part.ts):
                self._repeat_closes((int(part.offset[0]), int(part.row[0])), sinks)
                self._place(part, sinks, out)
            self._move_to(upto)
        self._repeat_closes((self._next, -1), sinks)
        return out

    def export(self) -> Rebuilt:
        """Copies of the windows as they are, for a `PartitionState` that begins here or further on."""
        return Rebuilt(self._next, self._stream, [(list(d.names), d.store.export()) for d in self.detectors])

    def _take_over(self, rebuilt: Rebuilt) -> None:
        """Begin with windows that were rebuilt; only the clock may have closed some of them at the same position."""
        self._next, self._stream = rebuilt.offset, rebuilt.stream
        for detector, (names, arrays) in zip(self.detectors, rebuilt.detectors, strict=True):
            codes = self._assets.codes_of(names)
            kept = np.flatnonzero(codes >= 0)  # others are beyond the limit of assets
            detector.rows(codes[kept])
            detector.store.restore(arrays if len(kept) == len(codes) else {k: v[kept] for k, v in arrays.items()})
            detector.restore_late()
        self._recorded.take((rebuilt.offset - 1, END_OF_MESSAGE))

    def close_all(self, sinks: Sequence[Sink]) -> None:
        """Close every asset up to the first window end that covers its last reading, and record each close."""
        self._begin_step()
        for detector, sink in zip(self.detectors, sinks, strict=True):
            idle = detector.store.close_all(sink)
            detector.record(idle, lambda close: (self._next - 1, END_OF_MESSAGE))

    def _begin_step(self) -> None:
        for detector in self.detectors:
            detector.step_from = self._next
            detector.forget_late()

    def _move_to(self, offset: int) -> None:
        """Advance; where the committed position is reached, stream time becomes the committed one."""
        behind = not self.caught_up
        self._next = max(self._next, offset)
        if behind and self.caught_up:
            self._restore_stream()

    def _restore_stream(self) -> None:
        if self._committed.stream is not None:
            self._stream = max(self._stream, self._committed.stream)

    def _cut(self, columns: Columns, next_offset: int) -> Iterable[tuple[Columns, int]]:
        """Pieces that end at the committed position and after each recorded close; nearly always one piece."""
        cuts = set(self._recorded.cuts(columns, next_offset))
        if self._next < self._committed.offset < next_offset:
            cuts.add((int(np.searchsorted(columns.offset, self._committed.offset)), self._committed.offset))
        if not cuts:
            yield columns, next_offset
            return
        start = 0
        for end, upto in [*sorted(cuts), (len(columns.ts), next_offset)]:
            yield between(columns, start, end), upto
            start = end

    def _repeat_closes(self, before: tuple[int, int], sinks: Sequence[Sink | None]) -> None:
        """Apply the recorded closes that happened before this (offset, row) was read, a moment's together."""
        for offset, number, closes in by_moment(self._recorded.take(before)):
            again = offset >= self._committed.offset
            detector, closed_to, reset = self.detectors[number], dict[int, int](), set[int]()
            codes = self._assets.codes_of([asset for _, _, asset in closes])
            known = codes >= 0  # others are beyond the limit of assets: their readings are dead letters
            rows = detector.rows(codes[known]).tolist()
            for row, (close, _, _) in zip(rows, compress(closes, known), strict=True):
                closed_to[row] = close.closed_to
                if close.reset:
                    reset.add(row)
            targets = np.array(list(closed_to.values()), np.int64)
            detector.store.close_to(np.array(list(closed_to), np.int64), targets, sinks[number] if again else None)
            detector.store.reset(np.array(list(reset), np.int64))
            detector.forget_late()
            if detector.revisions:
                detector.revisions.forget([Reset(row, offset, closed_to[row]) for row in reset])

    def _place(self, part: Columns, sinks: Sequence[Sink], out: Read) -> None:
        """Place one piece, wholly before or wholly after the committed position."""
        refill = int(part.offset[0]) < self._committed.offset
        out.readings += 0 if refill else len(part.ts)
        after = np.maximum.accumulate(np.maximum(part.ts, self._stream))
        before = np.append(self._stream, after[:-1])
        self._stream = int(after[-1])
        for detector, sink in zip(self.detectors, sinks, strict=True):
            readings = detector.readings(part, before)
            if readings is None and not len(detector.names):
                continue
            placed = detector.store.place(readings or nothing(detector), self._stream, None if refill else sink)
            out.late += 0 if refill else len(placed.late.place)
            if detector.revisions and readings:
                detector.revisions.read(readings, placed.late, refill)
            if readings and len(placed.late.place):
                detector.note_late(readings, placed.late, refill)
            detector.note_silences(placed.silences)
            out.resets += len(placed.resets)
            grid = detector.rules.grid
            detector.record(placed.idle, left_behind(part, after, grid.idle_limit))
            reset_by = left_behind(part, after, grid.reset_after)
            detector.record(placed.resets, reset_by, reset=True)
            if detector.revisions:
                resets = [Reset(close.row, reset_by(close)[0], close.closed_to) for close in placed.resets]
                detector.revisions.note_resets(resets)

    # ------------------------------------------------------------------------------------- alarms and state

    def tidy(self) -> None:
        """Let go of what no revision needs after this step."""
        for detector in self.detectors:
            if detector.revisions:
                detector.revisions.tidy(detector.store.closed, detector.store.highest)

    def changed_state(self) -> Iterable[tuple[StateKey, StateEntry]]:
        """Entries of the assets whose alarm state or recorded closes changed since the last call."""
        for detector in self.detectors:
            self._entries += len(detector.changed - detector.kept)
            yield from detector.changed_state(self.where[0], self._committed.topic_id)
