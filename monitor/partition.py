"""State of one input partition: a window store and alarm states per detector, stream time, and its position."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from monitor.alarms import AlarmState, Policy, Transition, Window, exceeds, step
from monitor.arrays import HIGHEST, LOWEST, Bools, Ints
from monitor.columns import AssetTable, Columns, between
from monitor.contributions import contributions
from monitor.grid import Grid
from monitor.lines import resized
from monitor.modelfile import Channel
from monitor.placed import IdleClose, Readings
from monitor.rebuilt import Rebuilt
from monitor.recorded import Moment, RecordedCloses, by_moment, keep, left_behind
from monitor.revisions import Late, Rescore, Reset, Revisions, in_order, limited
from monitor.scored import ScoredWindows
from monitor.state import END_OF_MESSAGE, Close, Position, StateEntry, StateKey
from monitor.windows import Sink, WindowStore


@dataclass(frozen=True, slots=True)
class Watching:
    """What a detector's windows and alarms follow; `columns` gives its channels' places in a route's values."""

    detector: str
    grid: Grid
    policy: Policy
    channels: tuple[Channel, ...]
    columns: Callable[[int], Ints | None]

    @property
    def revised_buckets(self) -> int:
        """How many buckets further back than an open window a revision may look."""
        bound = self.policy.revision_bound
        return -(-bound // self.grid.period) + 2 * self.grid.stride if bound else 0


@dataclass(slots=True)
class Read:
    """What reading some columns did besides closing windows: late readings, readings that count as new, resets."""

    late: int = 0
    readings: int = 0
    resets: int = 0


@dataclass(slots=True)
class _Detector:
    """One detector's part of a partition: rows are assets in order of appearance."""

    rules: Watching
    store: WindowStore
    row_of: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # by asset code, -1: no row yet
    names: list[str] = field(default_factory=list)
    alarms: dict[int, AlarmState] = field(default_factory=dict)
    restless: Bools = field(default_factory=lambda: np.empty(0, np.bool_))  # alarm states not at rest
    revisions: Revisions | None = None  # None: late readings revise nothing
    closes: dict[int, list[Close]] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)  # rows that have an entry in the state topic
    known: dict[str, StateEntry] = field(default_factory=dict)  # restored, of assets not yet seen

    def low_offset(self) -> int:
        """Oldest offset that an open window, a watermark or a revision needs; HIGHEST where nothing is held."""
        low = self.store.low_offset()
        return min(low, self.revisions.low_offset()) if self.revisions else low

    def keep_alarm(self, row: int, alarm: AlarmState) -> None:
        """Keep an asset's alarm state, and what follows from it."""
        self.alarms[row] = alarm
        self.restless[row] = not alarm.at_rest
        if self.revisions:
            self.revisions.note(row, alarm)


def _detector(rules: Watching) -> _Detector:
    store = WindowStore(rules.grid, len(rules.channels))
    revisions = Revisions(rules.grid, rules.policy, rules.channels) if rules.policy.revision_bound else None
    return _Detector(rules, store, revisions=revisions)


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
        self._stream = LOWEST
        self._detectors = [_detector(rules) for rules in watching]
        recorded = []
        by_name = {detector.rules.detector: number for number, detector in enumerate(self._detectors)}
        for key, entry in state:
            number = by_name.get(key.detector)
            if number is None or key.topic != where[0]:
                continue
            self._detectors[number].known[key.asset] = entry
            recorded += [(close, number, key.asset) for close in entry.closes]
        self._recorded = RecordedCloses(recorded)
        if rebuilt is not None:
            self._take_over(rebuilt)
        if self.caught_up:
            self._restore_stream()
        self._repeat_closes((self._next, -1), [None] * len(self._detectors))

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
        low = min((detector.low_offset() for detector in self._detectors), default=HIGHEST)
        stream = None if self._stream == LOWEST else self._stream
        return Position(self._next, min(low, self._next), stream, self._committed.topic_id, self._entries)

    def names(self, number: int, rows: Ints) -> list[str]:
        """Names of the assets in these rows (n,) of a detector."""
        return list(map(self._detectors[number].names.__getitem__, rows.tolist()))

    def follow(self, number: int, rules: Watching) -> None:
        """Go on by other rules of a detector, on the same grid: its model was replaced."""
        detector = self._detectors[number]
        detector.rules = rules
        if detector.revisions:
            detector.revisions.channels = rules.channels

    # -------------------------------------------------------------------------------------------- readings

    def read(self, columns: Columns, next_offset: int, sinks: Sequence[Sink]) -> Read:
        """Place readings; each detector's closed windows go to its sink.

        What was committed before rebuilds windows silently; recorded closes are repeated.
        """
        out = Read()
        for part, upto in self._cut(columns, next_offset):
            if len(part.ts):
                self._repeat_closes((int(part.offset[0]), int(part.row[0])), sinks)
                self._place(part, sinks, out)
            self._move_to(upto)
        self._repeat_closes((self._next, -1), sinks)
        return out

    def export(self) -> Rebuilt:
        """Copies of the windows as they are, for a `PartitionState` that begins here or further on."""
        return Rebuilt(self._next, self._stream, [(list(d.names), d.store.export()) for d in self._detectors])

    def _take_over(self, rebuilt: Rebuilt) -> None:
        """Begin with windows that were rebuilt; only the clock may have closed some of them at the same position."""
        self._next, self._stream = rebuilt.offset, rebuilt.stream
        for detector, (names, arrays) in zip(self._detectors, rebuilt.detectors, strict=True):
            codes = self._assets.codes_of(names)
            kept = np.flatnonzero(codes >= 0)  # others are beyond the limit of assets
            self._rows(detector, codes[kept])
            detector.store.restore(arrays if len(kept) == len(codes) else {k: v[kept] for k, v in arrays.items()})
        self._recorded.take((rebuilt.offset - 1, END_OF_MESSAGE))

    def close_all(self, sinks: Sequence[Sink]) -> None:
        """Close every asset up to the first window end that covers its last reading, and record each close."""
        for detector, sink in zip(self._detectors, sinks, strict=True):
            idle = detector.store.close_all(sink)
            self._record(detector, idle, lambda close: (self._next - 1, END_OF_MESSAGE))

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
            detector, closed_to, reset = self._detectors[number], dict[int, int](), set[int]()
            codes = self._assets.codes_of([asset for _, _, asset in closes])
            known = codes >= 0  # others are beyond the limit of assets: their readings are dead letters
            rows = self._rows(detector, codes[known]).tolist()
            for row, (close, _, _) in zip(rows, compress(closes, known), strict=True):
                closed_to[row] = close.closed_to
                if close.reset:
                    reset.add(row)
            targets = np.array(list(closed_to.values()), np.int64)
            detector.store.close_to(np.array(list(closed_to), np.int64), targets, sinks[number] if again else None)
            detector.store.reset(np.array(list(reset), np.int64))
            if detector.revisions:
                detector.revisions.forget([Reset(row, offset, closed_to[row]) for row in reset])

    def _place(self, part: Columns, sinks: Sequence[Sink], out: Read) -> None:
        """Place one piece, wholly before or wholly after the committed position."""
        refill = int(part.offset[0]) < self._committed.offset
        out.readings += 0 if refill else len(part.ts)
        after = np.maximum.accumulate(np.maximum(part.ts, self._stream))
        before = np.append(self._stream, after[:-1])
        self._stream = int(after[-1])
        for detector, sink in zip(self._detectors, sinks, strict=True):
            readings = self._readings(detector, part, before)
            if readings is None and not len(detector.names):
                continue
            placed = detector.store.place(readings or _nothing(detector), self._stream, None if refill else sink)
            out.late += 0 if refill else len(placed.late.place)
            if detector.revisions and readings:
                detector.revisions.read(readings, placed.late, refill)
            out.resets += len(placed.resets)
            grid = detector.rules.grid
            self._record(detector, placed.idle, left_behind(part, after, grid.idle_limit))
            reset_by = left_behind(part, after, grid.reset_after)
            self._record(detector, placed.resets, reset_by, reset=True)
            if detector.revisions:
                resets = [Reset(close.row, reset_by(close)[0], close.closed_to) for close in placed.resets]
                detector.revisions.note_resets(resets)

    def _readings(self, detector: _Detector, part: Columns, before: Ints) -> Readings | None:
        """This detector's readings of a piece, in the order in which they were read."""
        found = [(block, detector.rules.columns(block.route)) for block in part.blocks]
        blocks = [
            (block.index, _columns_of(block.values, columns)) for block, columns in found if columns is not None
        ]
        if not blocks:
            return None
        index, matrix = blocks[0]
        if len(blocks) > 1:
            index = np.concatenate([places for places, _ in blocks])
            order = np.argsort(index)
            index, matrix = index[order], np.concatenate([values for _, values in blocks])[order]
        if len(index) == len(part.ts):  # all of them, in order
            return Readings(self._rows(detector, part.code), part.ts, matrix, part.offset, before)
        rows = self._rows(detector, part.code[index])
        return Readings(rows, part.ts[index], matrix, part.offset[index], before[index], index)

    def _rows(self, detector: _Detector, codes: Ints) -> Ints:
        """Rows of these assets in the detector's store; new ones are made, with the alarm state known of them."""
        if len(detector.row_of) < len(self._assets.names):
            room = 9 * len(self._assets.names) // 8 + 8
            detector.row_of = resized(detector.row_of, room, -1)
        rows = detector.row_of[codes].astype(np.int64)
        if not (rows < 0).any():
            return rows
        for code in dict.fromkeys(codes[rows < 0].tolist()):
            detector.row_of[code] = row = len(detector.names)
            detector.names.append(self._assets.names[code])
            self._restore(detector, row)
        detector.store.add_assets(len(detector.names) - detector.store.assets)
        return detector.row_of[codes].astype(np.int64)

    def _restore(self, detector: _Detector, row: int) -> None:
        """Give a new row the alarm state and the recorded closes that are known of its asset."""
        if row >= len(detector.restless):
            detector.restless = np.r_[detector.restless, np.zeros(row + 8, np.bool_)]
        entry = detector.known.pop(detector.names[row], None)
        if entry is not None:
            detector.keep_alarm(row, limited(entry.alarm, detector.rules.policy.revision_bound))
            detector.closes[row] = list(entry.closes)
            detector.kept.add(row)

    # ------------------------------------------------------------------------------------- alarms and state

    def step_alarms(
        self, number: int, ends: Ints, scored: ScoredWindows, rescore: Rescore, versions: tuple[str, str]
    ) -> list[tuple[str, Transition]]:
        """Step the alarms of windows that can change one: those over the limit, and assets not at rest.

        ends: (n,) of the scored windows, in time order for each row; late readings have their place among them;
        versions: of the model in service and of the one before it. Returns assets with their transitions.
        """
        detector, rows = self._detectors[number], scored.row
        active = detector.restless[: len(detector.names)].copy()
        active[rows[scored.over]] = True
        told = []
        places = np.flatnonzero(active[rows])
        places = places[np.argsort(rows[places], kind="stable")]
        late = list(detector.revisions.late(active)) if detector.revisions else []
        for place in in_order(places, rows, ends, late, detector.rules.grid) if late else places.tolist():
            if isinstance(place, Late | Reset):
                told += self._revise(detector, place, rescore, versions)
                continue
            row, over = int(rows[place]), bool(scored.over[place])
            before = detector.alarms.get(row, AlarmState())
            if before.at_rest and not over:
                continue
            version = versions[int(scored.before[place])]
            window = Window(int(ends[place]), float(scored.score[place]), float(scored.p_value[place]), version)
            incident = before.incident
            highest = over and (incident is None or exceeds(window, incident.peak))  # of others nobody asks the parts
            channels = contributions(detector.rules.channels, scored, place) if highest else ()
            after, transition = step(detector.rules.policy, before, window, channels)
            detector.keep_alarm(row, after)
            detector.changed.add(row)
            if transition is not None:
                told.append((detector.names[row], transition))
        return told

    def _revise(
        self, detector: _Detector, late: Late | Reset, rescore: Rescore, versions: tuple[str, str]
    ) -> list[tuple[str, Transition]]:
        """What late readings of one message, or a reset, change of an asset's incidents."""
        before, told = detector.alarms.get(late.row, AlarmState()), list[Transition]()
        if detector.revisions is None:
            return []
        if isinstance(late, Reset):
            detector.revisions.forget([late])
            after = limited(before, 0)
        else:
            after, told = detector.revisions.revise(late, before, rescore, versions)
        if after != before:
            detector.keep_alarm(late.row, after)
            detector.changed.add(late.row)
        return [(detector.names[late.row], transition) for transition in told]

    def tidy(self) -> None:
        """Let go of what no revision needs after this step."""
        for detector in self._detectors:
            if detector.revisions:
                detector.revisions.tidy(detector.store.closed, detector.store.highest)

    def changed_state(self) -> Iterable[tuple[StateKey, StateEntry]]:
        """Entries of the assets whose alarm state or recorded closes changed since the last call."""
        for detector in self._detectors:
            for row in sorted(detector.changed):
                key = StateKey(self.where[0], detector.names[row], detector.rules.detector)
                alarm, closes = detector.alarms.get(row, AlarmState()), tuple(detector.closes.get(row, ()))
                yield key, StateEntry(1, alarm, closes, self._committed.topic_id)
            self._entries += len(detector.changed - detector.kept)
            detector.kept |= detector.changed
            detector.changed.clear()

    @staticmethod
    def _record(
        detector: _Detector, closes: list[IdleClose], when: Callable[[IdleClose], Moment], reset: bool = False
    ) -> None:
        """Keep closes that no reading caused."""
        for close in closes:
            kept = detector.closes.setdefault(close.row, [])
            rules = detector.rules
            keep(kept, Close(*when(close), close.closed_to, reset), rules.grid, rules.revised_buckets)
            detector.changed.add(close.row)


def _nothing(detector: _Detector) -> Readings:
    empty = np.empty(0, np.int64)
    return Readings(empty, empty, np.empty((0, len(detector.rules.channels)), np.float32), empty, empty)


def _columns_of(values: NDArray[np.float32], columns: Ints) -> NDArray[np.float32]:
    """The detector's channels of a route's values; the same array where they are all of them, in order."""
    whole = len(columns) == values.shape[1] and bool((columns == np.arange(len(columns))).all())
    return values if whole else values[:, columns]
