"""Revisions: what late readings change of incidents that were published, within the revision bound.

The late readings of an asset in one message are taken together, where the last of them stands among the windows that
were closed. The closed windows that they lie in are made again, of what these held and of all late readings so far,
and scored again; where that changes an incident's peak, the incident is revised. Nothing else ever changes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter

import numpy as np
from msgspec.structs import replace

from monitor.alarms import AlarmState, Policy, Transition, with_incident
from monitor.arrays import HIGHEST, LOWEST, Bools, Ints, ranges, segment_bounds
from monitor.contributions import contributions
from monitor.events import Contribution, State
from monitor.grid import Grid
from monitor.incidents import Height, Incident, Window, rank, with_heights
from monitor.lines import Floats
from monitor.modelfile import Channel
from monitor.placed import LateReadings, Readings
from monitor.recent import ON_TIME, Part, Recent
from monitor.scored import ScoredWindows

# What scores windows (n, W, C) that end with these buckets (n,); leaves out those that cannot be scored.
Rescore = Callable[[Ints, Floats], ScoredWindows]
Explain = Callable[[Height], tuple[Contribution, ...]]
AT_ONCE = 256  # windows that are made again


def remembered(window: int, stride: int) -> int:
    """Windows that an incident remembers: twice as many as one reading may lie in, and some more."""
    return 2 * -(-window // stride) + 16


def published(policy: Policy, state: AlarmState) -> list[Incident]:
    """The incidents of an asset that late readings may revise, in order of time."""
    known = [*state.past, *([state.incident] if state.incident and state.active else [])]
    return [each for each in known if 0 < policy.revision_bound <= each.revision_bound]


def limited(state: AlarmState, bound: int) -> AlarmState:
    """The state where readings are known only so far back (ns): an incident that needs more is never revised."""

    def known(incident: Incident) -> Incident:
        if incident.revision_bound <= bound:
            return incident
        return replace(incident, revision_bound=bound, heights=incident.heights if bound else ())

    incident = known(state.incident) if state.incident else None
    ended = known(state.ended) if state.ended else None
    if not bound:
        return replace(state, incident=incident, ended=ended, past=(), revised_to=-1)
    return replace(state, incident=incident, ended=ended, past=tuple(known(each) for each in state.past))


def with_remade(
    policy: Policy, incident: Incident, remade: Sequence[Height], explain: Explain
) -> tuple[Incident, bool]:
    """The incident with windows that were made again, and whether its peak is another one or another score."""
    ends = {height.window.end for height in remade}
    heights = [height for height in incident.heights if height.window.end not in ends] + list(remade)
    peak = max(heights, key=rank)
    same = peak.window == incident.peak
    if not same and not peak.channels:
        heights.remove(peak)
        peak = replace(peak, channels=explain(peak))
        heights.append(peak)
    revised = with_heights(policy.heights, incident, heights)
    if same and (not peak.channels or peak.channels == incident.channels):
        return revised, False
    latent = incident.latent if same else ()  # of another peak it is not known
    return replace(revised, peak=peak.window, channels=peak.channels, latent=latent, seq=incident.seq + 1), True


@dataclass(slots=True)
class Late:
    """Late readings of one asset in one message: their buckets, the last bucket closed, the highest event time."""

    row: int
    offset: int
    closed: int
    highest: int
    buckets: Ints


@dataclass(slots=True)
class Reset:
    """An asset was reset after a message: up to which bucket its windows were closed."""

    row: int
    offset: int
    closed: int


def in_order(
    places: Ints, rows: Ints, ends: Ints, late: Sequence[Late | Reset], grid: Grid
) -> list[int | Late | Reset]:
    """Places of windows (n,), sorted by row and time, with late readings behind what was closed before them."""
    happened: list[tuple[int, int, int, int | Late | Reset]] = [
        (int(rows[place]), int(ends[place]), -1, place) for place in places.tolist()
    ]
    happened += [(each.row, (each.closed + 1) * grid.period, each.offset, each) for each in late]
    return [what for *_, what in sorted(happened, key=itemgetter(0, 1, 2))]


@dataclass(slots=True)
class _LateColumns:
    """Late readings (n,) within the bound, as they were read."""

    row: Ints
    offset: Ints
    closed: Ints
    highest: Ints
    bucket: Ints


class Revisions:
    """What one detector on one partition needs for revisions: recent readings, and which are needed of each asset."""

    def __init__(self, grid: Grid, policy: Policy, channels: tuple[Channel, ...]) -> None:
        self._grid = grid
        self._policy = policy
        self.channels = channels
        self._recent = Recent(grid, len(channels))
        self._spans: dict[int, tuple[int, int]] = {}  # by row: first and last bucket that its incidents need
        self._late: list[_LateColumns] = []
        self._resets: list[Reset] = []
        self._needed: Ints = np.empty(0, np.int64)  # first bucket that each asset needs

    def read(self, readings: Readings, late: LateReadings, refill: bool) -> None:
        """Keep readings, late ones within the bound; those of a refill revise nothing."""
        mark = np.full(len(readings.row), ON_TIME)
        keep = np.ones(len(mark), np.bool_)
        if len(late.place):
            within = readings.ts[late.place] + self._policy.revision_bound >= late.highest
            mark[late.place] = readings.offset[late.place]
            keep[late.place[~within]] = False
            if not refill and within.any():
                place = late.place[within]
                highest = np.maximum(late.highest[within], readings.ts[place])
                bucket = self._grid.bucket(readings.ts[place])
                columns = readings.row[place], readings.offset[place], late.closed[within], highest, bucket
                self._late.append(_LateColumns(*columns))
        part = Part(readings.row, readings.ts, readings.offset, mark, readings.values)
        self._recent.add(part if keep.all() else part.part(keep))

    def note_resets(self, resets: Iterable[Reset]) -> None:
        """Take note that assets were reset; `late` gives these their place."""
        self._resets += resets

    def forget(self, resets: Iterable[Reset]) -> None:
        """Forget what was read of assets before they were reset: all of it lies in closed windows."""
        for reset in resets:
            self._recent.forget(reset.row, reset.offset, reset.closed)

    def note(self, row: int, state: AlarmState) -> None:
        """Note which readings an asset's incidents need: those of their windows, and of what may still come."""
        incidents = [each for each in (*state.past, state.incident) if each is not None and each.revision_bound]
        if not incidents:
            self._spans.pop(row, None)
            return
        grid = self._grid
        first_end = incidents[0].start + self._policy.stride_ns
        last = HIGHEST if state.incident else incidents[-1].last_over // grid.period - 1
        self._spans[row] = first_end // grid.period - grid.window, last

    def tidy(self, closed: Ints, highest: Ints) -> None:
        """Let go of readings that neither an open window nor an incident within the bound needs any more.

        closed: (A,) each asset's last bucket closed; highest: (A,) its highest event time.
        """
        needed = np.where(closed == LOWEST, LOWEST, self._grid.base(closed))
        rows, first, last = self._spanned()
        if len(rows):
            seen = highest[rows] != LOWEST
            reach = np.where(seen, self._reach(np.where(seen, highest[rows], 0)), LOWEST)
            for row in rows[last < reach].tolist():
                del self._spans[row]
            reach = np.where(seen, reach - self._grid.window + 1, LOWEST)
            needed[rows] = np.minimum(needed[rows], np.maximum(reach, first))
        self._needed = needed
        self._recent.tidy(needed)

    def low_offset(self) -> int:
        """Oldest offset that a revision may need and an open window does not; HIGHEST where there is none."""
        rows, _, _ = self._spanned()
        rows = rows[rows < len(self._needed)]
        return self._recent.low_offset(rows, self._needed[rows]) if len(rows) else HIGHEST

    def _spanned(self) -> tuple[Ints, Ints, Ints]:
        """Rows with incidents in rising order, and the first and last bucket that each needs."""
        spans = np.array([(row, *self._spans[row]) for row in sorted(self._spans)], np.int64).reshape(-1, 3)
        return spans[:, 0], spans[:, 1], spans[:, 2]

    def _reach(self, highest: Ints) -> Ints:
        """Last bucket of the oldest window that a late reading within the bound may still lie in."""
        return self._grid.bucket(highest - self._policy.revision_bound)

    # ------------------------------------------------------------------------------------------- late readings

    def late(self, active: Bools) -> Iterable[Late | Reset]:
        """Late readings since the last call, in the order of reading, of assets that have incidents or are active.

        And the resets since then, behind them.

        active: (A,) assets that may have had an incident raised since.
        """
        yield from self._late_readings(active)
        yield from self._resets
        self._resets = []

    def _late_readings(self, active: Bools) -> Iterable[Late]:
        if not self._late:
            return
        columns = _LateColumns(
            *(np.concatenate([getattr(c, f.name) for c in self._late]) for f in fields(_LateColumns))
        )
        self._late = []
        wanted = active.copy()
        wanted[self._spanned()[0]] = True
        places = np.flatnonzero(wanted[columns.row])
        if not len(places):
            return
        places = places[np.lexsort((columns.offset[places], columns.row[places]))]
        message = columns.row[places] + columns.offset[places] * len(wanted)
        for first, last in zip(*segment_bounds(message), strict=True):
            at, end = places[first : last + 1], places[last]
            yield Late(
                int(columns.row[end]), int(columns.offset[end]), int(columns.closed[end]),
                int(columns.highest[end]), np.unique(columns.bucket[at]),
            )  # fmt: skip

    def revise(
        self, late: Late, state: AlarmState, rescore: Rescore, versions: tuple[str, str]
    ) -> tuple[AlarmState, list[Transition]]:
        """The state after the late readings of one message, and the incidents that they revise.

        Readings that the state had seen before a restart change nothing.
        """
        behind = (late.closed + 1) * self._grid.period < state.upto
        if behind or late.offset <= state.revised_to or not (incidents := published(self._policy, state)):
            return state, []
        buckets = self._lies_in(late)
        ends = self._grid.window_end(buckets)
        told = []
        for incident in incidents:
            mine = buckets[(ends > incident.start) & (ends <= incident.last_over)]
            readings = self._recent.of(late.row) if len(mine) else None
            remade = self._remade(readings, mine, late.offset, rescore, versions) if readings else []
            if readings is None or not remade:
                continue

            def explain(height: Height, readings: Part = readings) -> tuple[Contribution, ...]:
                return self._explained(readings, height, late.highest, rescore)

            after, changed = with_remade(self._policy, incident, remade, explain)
            state = replace(with_incident(state, after), revised_to=late.offset, told=state.told + changed)
            if changed:
                told.append(_revised(state, after, max(remade, key=rank).window))
        return state, told

    def _lies_in(self, late: Late) -> Ints:
        """Last buckets (n,) of the closed windows that these readings lie in."""
        grid = self._grid
        first = -(-late.buckets // grid.stride)
        count = np.maximum((late.buckets + grid.window - 1) // grid.stride - first + 1, 0)
        buckets: Ints = np.unique(np.repeat(first, count) + ranges(count)) * grid.stride
        return buckets[buckets <= late.closed]

    def _remade(
        self, readings: Part, buckets: Ints, offset: int, rescore: Rescore, versions: tuple[str, str]
    ) -> list[Height]:
        """Windows that end with these buckets (n,) and in which the late readings of this message change a value."""
        before, after = readings.part(readings.late < offset), readings.part(readings.late <= offset)
        remade = []
        for start in range(0, len(buckets), AT_ONCE):
            some = buckets[start : start + AT_ONCE]
            windows = self._recent.windows(after, some)
            same = np.isclose(windows, self._recent.windows(before, some), rtol=0, atol=0, equal_nan=True)
            changed = ~same.all(axis=(1, 2))
            if changed.any():
                scored = rescore(some[changed], windows[changed])
                remade += [self._height(scored, place, offset, versions) for place in range(len(scored.bucket))]
        return remade

    def _height(self, scored: ScoredWindows, place: int, offset: int, versions: tuple[str, str]) -> Height:
        end = int(self._grid.window_end(scored.bucket[place]))
        version = versions[int(scored.before[place])]
        window = Window(end, float(scored.score[place]), float(scored.p_value[place]), version)
        return Height(window, offset, contributions(self.channels, scored, place))

    def _explained(self, readings: Part, height: Height, highest: int, rescore: Rescore) -> tuple[Contribution, ...]:
        """What contributed to a window as it was made last; nothing where its readings may be gone."""
        bucket = np.array([height.window.end // self._grid.period - 1])
        if (bucket < self._reach(np.array([highest]))).any():
            return ()
        known = readings.part(readings.late <= height.late)
        scored = rescore(bucket, self._recent.windows(known, bucket))
        return contributions(self.channels, scored, 0) if len(scored.bucket) else ()


def _revised(state: AlarmState, incident: Incident, window: Window) -> Transition:
    """That an incident's peak is another one: it changes no state, and a past incident's is normal."""
    in_view = state.in_view is not None and state.in_view.start == incident.start
    shown: State = state.shown if in_view else "normal"
    return Transition("revised", shown, shown, window, incident, state.told, in_view and state.active)
