"""Verdicts on sensors that last: a pure step over (state, what a window says), and the state of a detector's assets.

A verdict is told after so many windows in a row that show a fault, and is over after as many that show none; windows
that say nothing of a channel neither count nor interrupt. Asset verdicts stand under the channel "".
Shapes: A assets, n windows, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from monitor.arrays import Bools, Ints
from monitor.events import SensorFault, Verdict, to_datetime
from monitor.lines import resized
from monitor.sensors import OK, UNKNOWN, VERDICTS, Codes

ASSET = ""  # the name under which an asset's own verdict stands


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
    """What stands of channels that ever had something; `upto` is the end of the last window that counted."""

    upto: int = 0
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
    return SensorState(end, state.channels | changed), told


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
    def joined(cls, parts: Sequence["Judged"]) -> "Judged":
        """All windows of the parts, of which there is one at least."""
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
    states: dict[int, SensorState] = field(default_factory=dict)
    standing: Codes = field(init=False)
    counting: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    profile: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    changed: set[int] = field(default_factory=set)

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
            if each.verdict != "ok"
        )

    def update(self, rows: Ints, ends: Ints, codes: Codes, reach: int) -> list[tuple[int, SensorChange]]:
        """Changes by windows (n,), in time order for each row, that say this: codes (n, C + 1); `reach` (ns) is their
        stride. Only assets of which a window says something else than what stands are looked at one by one.
        """
        differ = ((codes != self.standing[rows]) & (codes != UNKNOWN)).any(axis=1) | self.counting[rows]
        if not differ.any():
            return []
        active = np.zeros(len(self.counting), np.bool_)
        active[rows[differ]] = True
        places = np.flatnonzero(active[rows])
        told = []
        for place in places[np.argsort(rows[places], kind="stable")].tolist():
            row, end = int(rows[place]), int(ends[place])
            before = self.states.get(row, SensorState())
            said = {
                name: VERDICTS[code]
                for name, code in zip(self.names, codes[place].tolist(), strict=True)
                if code != UNKNOWN
            }
            after, changes = step(self.after, before, end, end - reach, said)
            if after is not before:
                self.keep(row, after)
                self.changed.add(row)
                told += [(row, change) for change in changes]
        return told
