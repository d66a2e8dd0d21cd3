"""Verdicts on sensors that last: a pure step over (state, what a window says), and the state of a detector's assets.

A verdict is told after so many windows in a row that show a fault, and is over after as many that show none; windows
that say nothing of a channel neither count nor interrupt. Asset verdicts stand under the channel "".
Shapes: A assets, n windows, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from monitor.arrays import Bools, Ints
from monitor.events import SensorFault, Verdict, to_datetime
from monitor.lines import resized
from monitor.sensors import CLOCK, OK, STALE, UNKNOWN, VERDICTS, Codes

ASSET = ""  # the name under which an asset's own verdict stands
_CLOSED, _SILENT, _LATE = range(3)  # what happened, in the order in which it did after the same window


class Standing(Struct, frozen=True, omit_defaults=True):
    """What stands of a channel, since when (ns), and how many events told so; what windows in a row say instead.

    `first` is when the first of these `run` windows began to differ.
    """

    verdict: Verdict = "ok"
    since: int = 0
    seq: int = 0
    coming: Verdict = "ok"
    run: int = 0
    first: int = 0


class SensorState(Struct, frozen=True, omit_defaults=True):
    """What stands of channels that ever had something; `upto` is the end of the last window that counted.

    `silent` is the end of the last window before the asset last fell silent.
    """

    upto: int = 0
    silent: int = 0
    channels: dict[str, Standing] = {}


class SensorChange(Struct, frozen=True):
    """A verdict of a channel (or asset) changed with the window that ends at `end` (ns)."""

    channel: str
    verdict: Verdict
    previous: Verdict
    since: int
    seq: int
    end: int


def step(
    after: int, state: SensorState, end: int, begin: int, said: dict[str, Verdict]
) -> tuple[SensorState, list[SensorChange]]:
    """The state after a window from `begin` to `end` (ns) that says this of some channels, and what changes with it.

    A window at or before `upto` was counted before a restart and changes nothing.
    """
    if end <= state.upto:
        return state, []
    changed, told = dict[str, Standing](), list[SensorChange]()
    for name, verdict in said.items():
        before = state.channels.get(name, Standing())
        now = _counted(before, verdict, begin)
        if now.run >= after:
            now = Standing(verdict, now.first, now.seq + 1)
            told.append(SensorChange(name, verdict, before.verdict, now.since, now.seq, end))
        if now != before:
            changed[name] = now
    if not changed:
        return state, []
    return SensorState(end, state.silent, state.channels | changed), told


def fall_silent(
    state: SensorState, end: int, verdict: Verdict, detected: int
) -> tuple[SensorState, list[SensorChange]]:
    """The state after stream time has left an asset behind, whose last window ended at `end` (ns).

    Or when its readings turn out to come late instead. The verdict is told at once; what was told before a restart
    changes nothing.
    """
    before = state.channels.get(ASSET, Standing())
    again = end == state.silent and verdict == "clock" and before.verdict == "stale"
    if end <= state.silent and not again:
        return state, []
    upto = max(state.upto, end)
    if before.verdict == verdict:
        now = Standing(verdict, before.since, before.seq)
        return SensorState(upto, end, state.channels | {ASSET: now}), []
    now = Standing(verdict, end, before.seq + 1)
    told = SensorChange(ASSET, verdict, before.verdict, end, now.seq, detected)
    return SensorState(upto, end, state.channels | {ASSET: now}), [told]


def _counted(before: Standing, verdict: Verdict, begin: int) -> Standing:
    """With one window more: as it was before, where this shows what stands."""
    if verdict == before.verdict:
        return replace(before, coming="ok", run=0, first=0) if before.run else before
    # Faults of any kind are one run where none stands: a sensor may break in more than one way.
    goes_on = before.run and (verdict == before.coming or (before.verdict == "ok"))
    first = before.first if goes_on else begin
    return replace(before, coming=verdict, run=before.run + 1 if goes_on else 1, first=first)


Faulty = dict[tuple[int, int, int], Codes]


@dataclass(slots=True)
class Judged:
    """What closed windows (n,) say, scored or not, with where they come from: codes (n, C + 1), the asset's last."""

    partition: Ints
    row: Ints
    bucket: Ints
    codes: Codes

    def part(self, which: slice) -> "Judged":
        """Some of the windows."""
        return Judged(self.partition[which], self.row[which], self.bucket[which], self.codes[which])

    def faulty(self) -> "Faulty":
        """What windows that say a fault say, by partition, row and bucket."""
        some = np.flatnonzero((self.codes > OK).any(axis=1))
        keys = zip(self.partition[some].tolist(), self.row[some].tolist(), self.bucket[some].tolist(), strict=True)
        return dict(zip(keys, self.codes[some], strict=True))

    @classmethod
    def joined(cls, parts: Sequence["Judged"], channels: int) -> "Judged":
        """All windows of the parts."""
        if not parts:
            nothing = np.empty(0, np.int64)
            return cls(nothing, nothing, nothing, np.empty((0, channels + 1), np.int8))
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))


@dataclass(slots=True)
class Sensing:
    """What stands of a partition's assets, by row: codes (A, C + 1), the asset's own last, and which are counting.

    profile: (A,) the number of the rules that each asset is judged by.
    """

    names: tuple[str, ...]
    after: int
    reach: int  # ns from one window to the next
    idle_limit: int  # ns
    states: dict[int, SensorState] = field(default_factory=dict)
    standing: Codes = field(init=False)
    counting: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    profile: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    silent: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (A,) as the states have it
    changed: set[int] = field(default_factory=set)
    late: dict[int, set[int]] = field(default_factory=dict)  # by row: ends of windows after which many came late
    happened: list[tuple[int, int, int, int]] = field(default_factory=list)  # row, window end, what, more of that

    def __post_init__(self) -> None:
        self.names = (*self.names, ASSET)
        self.standing = np.zeros((0, len(self.names)), np.int8)

    def make_room(self, assets: int) -> None:
        """Make rows for so many assets."""
        if assets > len(self.counting):
            room = 9 * assets // 8 + 8
            self.standing = resized(self.standing, room, 0)
            self.counting = resized(self.counting, room, False)
            self.profile = resized(self.profile, room, 0)
            self.silent = resized(self.silent, room, 0)

    def add(self, row: int, profile: int, state: SensorState | None) -> None:
        """A new asset, the rules that it is judged by, and what is known of it."""
        self.make_room(row + 1)
        self.profile[row] = profile
        if state is not None:
            self.keep(row, state)

    def keep(self, row: int, state: SensorState) -> None:
        """Keep an asset's state, and what follows from it."""
        self.states[row] = state
        known = [state.channels.get(name, Standing()) for name in self.names]
        self.standing[row] = [VERDICTS.index(each.verdict) for each in known]
        self.counting[row] = any(each.run for each in known)
        self.silent[row] = state.silent

    def take_changed(self) -> set[int]:
        """Rows whose state changed since the last call."""
        changed, self.changed = self.changed, set()
        return changed

    def said(self, codes: Codes | None) -> tuple[SensorFault, ...]:
        """The faults that one window's codes (C + 1,) tell."""
        if codes is None:
            return ()
        return tuple(
            SensorFault(VERDICTS[code], name)
            for name, code in zip(self.names, codes.tolist(), strict=True)
            if code > OK
        )

    def faults(self, row: int) -> tuple[SensorFault, ...]:
        """The faults that stand on an asset."""
        state = self.states.get(row)
        return tuple(
            SensorFault(each.verdict, name, to_datetime(each.since))
            for name, each in (state.channels.items() if state else ())
            if each.verdict != "ok" and name in self.names  # a model before may have had other channels
        )

    # ---------------------------------------------------------------------------------------------- a step

    def note_late(self, rows: Ints, ends: Ints, refill: bool) -> None:
        """Take note that many readings came late (n,) after the windows that end then, and before the next ones."""
        for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
            self.late.setdefault(row, set()).add(end)
            if not refill:
                self.happened.append((row, end, _LATE, end))

    def note_silences(self, rows: Ints, ends: Ints, closed: Ints) -> None:
        """Take note that stream time left assets (n,) behind, whose last windows end then.

        closed: (n,) the end of the last one that their own readings closed.
        """
        news = ends > self.silent[rows]
        pairs = zip(rows[news].tolist(), ends[news].tolist(), closed[news].tolist(), strict=True)
        self.happened += {(row, end, _SILENT, since) for row, end, since in pairs}

    def update(self, rows: Ints, ends: Ints, codes: Codes) -> list[tuple[int, SensorChange]]:
        """Changes by what was noted, and by windows (n,), in time order for each row, with their codes (n, C + 1).

        Only assets of which a window says something else than what stands are looked at one by one.
        """
        if self.late:
            self._put_clocks(rows, ends, codes)
        standing, own = self.standing[rows], codes[:, -1]
        differ = ((codes != standing) & (codes != UNKNOWN)).any(axis=1) | self.counting[rows]
        differ |= (own == UNKNOWN) & np.isin(standing[:, -1], (CLOCK, STALE))  # a window at all is a sign of life
        if not differ.any() and not self.happened:
            return []
        active = np.zeros(len(self.counting), np.bool_)
        active[rows[differ]] = True
        active[[row for row, *_ in self.happened]] = True
        places = np.flatnonzero(active[rows])
        happened = [(int(rows[place]), int(ends[place]), _CLOSED, place) for place in places.tolist()]
        happened, self.happened = sorted(happened + self.happened), []
        told = []
        for row, end, what, more in happened:
            before = self.states.get(row, SensorState())
            if what == _CLOSED:
                after, changes = step(self.after, before, end, end - self.reach, self._said(before, codes[more]))
            else:
                after, changes = self._silence(row, before, end, what, more)
            if after is not before:
                self.keep(row, after)
                self.changed.add(row)
                told += [(row, change) for change in changes]
        return told

    def _said(self, before: SensorState, codes: Codes) -> dict[str, Verdict]:
        """What a window says, by name."""
        said = {
            name: VERDICTS[code] for name, code in zip(self.names, codes.tolist(), strict=True) if code != UNKNOWN
        }
        if ASSET not in said and before.channels.get(ASSET, Standing()).verdict in ("stale", "clock"):
            said[ASSET] = "ok"
        return said

    def _silence(
        self, row: int, before: SensorState, end: int, what: int, since: int
    ) -> tuple[SensorState, list[SensorChange]]:
        """An asset was left behind, its own readings having closed `since`, or sends late readings after that."""
        detected, late = end + self.idle_limit, self.late.get(row, set())
        if what == _LATE:
            stale = before.silent == end and before.channels.get(ASSET, Standing()).verdict == "stale"
            return fall_silent(before, end, "clock", detected) if stale else (before, [])
        jumped = any(since <= each < end for each in late)
        after, told = fall_silent(before, end, "clock" if jumped else "stale", detected)
        if end in late and told:
            after, more = fall_silent(after, end, "clock", detected)
            told += more
        return after, told

    def _put_clocks(self, rows: Ints, ends: Ints, codes: Codes) -> None:
        """Put the clock's trouble into codes (n, C + 1) of windows before which many readings came late."""
        known = np.array(sorted(self.late))
        for place in np.flatnonzero(np.isin(rows, known) & (codes[:, -1] <= OK)).tolist():
            if int(ends[place]) - self.reach in self.late[int(rows[place])]:
                codes[place, -1] = CLOCK

    def forget_late(self, closed: Callable[[int], int]) -> None:
        """Let go of late readings but those that came since an asset's last window: when that ended, by row."""
        for row in list(self.late):
            self.late[row] &= {closed(row)}
            if not self.late[row]:
                del self.late[row]
