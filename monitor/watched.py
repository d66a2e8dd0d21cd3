"""One detector on one input partition: its windows, and the alarms of the assets that it watches."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from monitor.alarms import AlarmState, Policy, Transition, is_over, limit_at
from monitor.arrays import HIGHEST, Bools, Ints
from monitor.columns import AssetTable, Columns
from monitor.contributions import contributions
from monitor.drift import Change, DriftRules, Drifts
from monitor.grid import Grid
from monitor.incidents import Seen, Window, exceeds
from monitor.lifecycle import follow
from monitor.lift import Lifts
from monitor.lines import resized
from monitor.modelfile import Channel
from monitor.placed import IdleClose, LateReadings, Readings, Silences
from monitor.recorded import Moment, keep
from monitor.revisions import Late, Reset, Revisions, in_order, limited
from monitor.scored import ScoredWindows
from monitor.sensing import Judged, Sensing, SensorChange
from monitor.state import Close, StateEntry, StateKey
from monitor.suppression import Rule, first_holding
from monitor.windows import WindowStore

RescoreOf = Callable[..., ScoredWindows]  # as Rescore, by `profile`, the number of the rules for an asset's sensors
MOST_LATENT = 128  # numbers of a latent vector that are told of an incident; a longer one is not


@dataclass(frozen=True, slots=True)
class Watching:
    """What a detector's windows and alarms follow; `columns` gives its channels' places in a route's values.

    state_ahead: whether state may be published before the position that it belongs to, as at least once it is.
    weight: of an asset; suppressions: rules that the detector's alarms are suppressed by; longest_shelving_s: that a
    person may ask for.
    """

    detector: str
    grid: Grid
    policy: Policy
    channels: tuple[Channel, ...]
    drift: DriftRules
    columns: Callable[[int], Ints | None]
    state_ahead: bool = False
    weight: Callable[[str], float] = lambda asset: 1.0
    suppressions: tuple[Rule, ...] = ()
    longest_shelving_s: float = 86_400.0
    fault_after: int = 1
    late_buckets: int = 1  # late from one window to the next, for trouble with the clock
    profile: Callable[[str], int] = lambda asset: 0  # number of the rules for an asset's sensors

    @property
    def revised_buckets(self) -> int:
        """How many buckets further back than an open window a revision may look."""
        bound = self.policy.revision_bound
        return -(-bound // self.grid.period) + 2 * self.grid.stride if bound else 0


@dataclass(slots=True)
class Watched:
    """One detector's part of a partition: windows, alarms and recorded closes; rows are assets by appearance."""

    rules: Watching
    store: WindowStore
    assets: AssetTable
    drifts: Drifts
    sensing: Sensing
    row_of: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # by asset code, -1: no row yet
    names: list[str] = field(default_factory=list)
    alarms: dict[int, AlarmState] = field(default_factory=dict)
    restless: Bools = field(default_factory=lambda: np.empty(0, np.bool_))  # alarm states not at rest
    muted: Bools = field(default_factory=lambda: np.empty(0, np.bool_))  # alarms that a rule suppresses
    applies: Bools | None = None  # (A, R) which rules of suppression are for which assets
    shelved: dict[int, int] = field(default_factory=dict)  # by row: when a shelving ends (ns, wall clock)
    lifts: Lifts = field(default_factory=Lifts)
    revisions: Revisions | None = None  # None: late readings revise nothing
    closes: dict[int, list[Close]] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)  # rows that have an entry in the state topic
    step_from: int = HIGHEST  # offset where the step in hand began
    known: dict[str, StateEntry] = field(default_factory=dict)  # restored, of assets not yet seen

    def low_offset(self) -> int:
        """Oldest offset that an open window, a watermark or a revision needs; HIGHEST where nothing is held."""
        low = self.store.low_offset()
        return min(low, self.revisions.low_offset()) if self.revisions else low

    def keep_alarm(self, row: int, alarm: AlarmState) -> None:
        """Keep an asset's alarm state, and what follows from it."""
        self.alarms[row] = alarm
        self.restless[row], self.muted[row] = not alarm.at_rest, bool(alarm.suppressed)
        if alarm.shelved:
            self.shelved[row] = alarm.shelved.until
        else:
            self.shelved.pop(row, None)
        lift = 0.0 if alarm.active else alarm.lift
        self.lifts.note(row, lift, alarm.lifted_at, alarm.accepted, alarm.accepted_by)
        if self.revisions:
            self.revisions.note(row, alarm)

    def names_of(self, rows: Ints) -> list[str]:
        """Names of the assets in these rows (n,)."""
        return list(map(self.names.__getitem__, rows.tolist()))

    def follow(self, rules: Watching) -> None:
        """Go on by other rules, on the same grid: the model was replaced."""
        if rules.drift is not self.rules.drift:
            self.drifts = Drifts(rules.drift)
        self.rules = rules
        if self.revisions:
            self.revisions.channels = rules.channels

    def readings(self, part: Columns, before: Ints) -> Readings | None:
        """The readings of a piece that are the detector's, in the order of reading; before: (N,) stream time."""
        found = [(block, self.rules.columns(block.route)) for block in part.blocks]
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
            return Readings(self.rows(part.code), part.ts, matrix, part.offset, before)
        rows = self.rows(part.code[index])
        return Readings(rows, part.ts[index], matrix, part.offset[index], before[index], index)

    def rows(self, codes: Ints) -> Ints:
        """Rows of these assets in the store; new ones are made, with the alarm state known of them."""
        if len(self.row_of) < len(self.assets.names):
            room = 9 * len(self.assets.names) // 8 + 8
            self.row_of = resized(self.row_of, room, -1)
        rows = self.row_of[codes].astype(np.int64)
        if not (rows < 0).any():
            return rows
        for code in dict.fromkeys(codes[rows < 0].tolist()):
            self.row_of[code] = row = len(self.names)
            self.names.append(self.assets.names[code])
            self._restore(row)
        self.store.add_assets(len(self.names) - self.store.assets)
        return self.row_of[codes].astype(np.int64)

    def _restore(self, row: int) -> None:
        """Give a new row the alarm state and the recorded closes that are known of its asset."""
        if row >= len(self.restless):
            self.restless, self.muted = resized(self.restless, 2 * row + 8, 0), resized(self.muted, 2 * row + 8, 0)
        entry = self.known.pop(self.names[row], None)
        self.sensing.add(row, self.rules.profile(self.names[row]), entry.sensors if entry else None)
        if entry is not None:
            self.keep_alarm(row, limited(entry.alarm, self.rules.policy.revision_bound))
            self.closes[row] = list(entry.closes)
            self.kept.add(row)

    # ------------------------------------------------------------------------------------- alarms and state

    def step_alarms(
        self,
        ends: Ints,
        scored: ScoredWindows,
        rescore: RescoreOf,
        versions: tuple[str, str],
        policies: tuple[Policy, Policy],
    ) -> list[tuple[str, float, Transition]]:
        """Step the alarms of windows that can change one: those over the limit, and assets not at rest.

        ends: (n,) of the scored windows, in time order for each row; late readings have their place among them;
        versions, policies: of the model in service and of the one before it. Returns assets with the limit in force
        and their transitions, and puts into `scored` each window's limit in force and whether an alarm was open.
        """
        rows = scored.row
        models = [(rules.limits, version) for rules, version in zip(policies, versions, strict=True)]
        self.lifts.apply(scored.limit, rows, ends, scored.before, models)
        rule, differs = self._suppressions(rows, ends, scored)
        active = self.restless[: len(self.names)].copy()
        active[rows[scored.over]] = True
        active[rows[differs]] = True
        told = list[tuple[str, float, Transition]]()
        places = np.flatnonzero(active[rows])
        places = places[np.argsort(rows[places], kind="stable")]
        late = list(self.revisions.late(active)) if self.revisions else []
        for place in in_order(places, rows, ends, late, self.rules.grid) if late else places.tolist():
            if isinstance(place, Late | Reset):
                for asset, revised in self._revise(place, rescore, versions):
                    model = int(revised.window.model_version != versions[0])
                    told.append((asset, policies[model].limits.score, revised))
                continue
            model = int(scored.before[place])
            told += self._step_alarm(
                scored, place, int(ends[place]), policies[model], versions[model], int(rule[place])
            )
        return told

    def _suppressions(self, rows: Ints, ends: Ints, scored: ScoredWindows) -> tuple[Ints, Bools]:
        """Which rule suppresses each window (n,), -1: none; and where that is news to its asset's alarm."""
        rules = self.rules.suppressions
        if not rules or not len(rows):
            return np.full(len(rows), -1), np.zeros(len(rows), np.bool_)
        known = 0 if self.applies is None else len(self.applies)
        if known < len(self.names):
            fresh = np.array([[rule.matches(name) for rule in rules] for name in self.names[known:]], np.bool_)
            self.applies = fresh if self.applies is None else np.concatenate([self.applies, fresh])
        assert self.applies is not None
        rule = first_holding(rules, self.applies[rows], ends, scored.met)
        return rule, (rule >= 0) != self.muted[rows]

    def _step_alarm(
        self, scored: ScoredWindows, place: int, end: int, rules: Policy, version: str, rule: int
    ) -> list[tuple[str, float, Transition]]:
        """Step the alarm of one window's asset, and put the limit in force into `scored`."""
        row = int(scored.row[place])
        before, asset = self.alarms.get(row, AlarmState()), self.names[row]
        window = Window(end, float(scored.score[place]), float(scored.p_value[place]), version)
        over, limit = is_over(rules, before, window), limit_at(rules, before, end, version)
        scored.limit[place], scored.open[place] = limit, before.active
        if before.at_rest and not over and (rule >= 0) == bool(before.suppressed):
            return []
        incident = before.incident
        highest = over and (incident is None or exceeds(window, incident.peak))  # of others nobody asks the parts
        seen = self._seen(scored, place) if highest else Seen()
        by = self.rules.suppressions[rule] if rule >= 0 else None
        hold_ns = max((each.hold_ns for each in self.rules.suppressions if each.name == before.suppressed), default=0)
        weight = self.rules.weight(asset) if over else 1.0
        after, transitions = follow(rules, before, window, seen, weight, by.name if by else "", hold_ns)
        self.keep_alarm(row, after)
        self.changed.add(row)
        return [(asset, limit, transition) for transition in transitions]

    def _seen(self, scored: ScoredWindows, place: int) -> Seen:
        """What is told of a window that may be an incident's peak."""
        latent = scored.latent[place]
        known = (
            () if latent is None or len(latent) > MOST_LATENT else tuple(float(f"{v:.5g}") for v in latent.tolist())
        )
        return Seen(contributions(self.rules.channels, scored, place), known)

    def follow_drift(self, ends: Ints, scored: ScoredWindows) -> list[Change]:
        """What begins and ceases to drift with windows whose alarms were stepped; the model in service judges."""
        if scored.before.any():
            ends, scored = ends[~scored.before], scored.part(~scored.before)
        clear_p = self.rules.policy.limits.clear_p
        return self.drifts.update(
            scored.row, ends, scored.score, scored.p_value, clear_p, scored.outside, scored.open
        )

    def note_late(self, readings: Readings, late: LateReadings, refill: bool) -> None:
        """Take note of late readings: many of them are trouble with an asset's clock."""
        row, bucket = readings.row[late.place], self.rules.grid.bucket(readings.ts[late.place])
        rows, closed, count = self.store.count_late(row, bucket, late.closed)
        many = count >= self.rules.late_buckets
        self.sensing.note_late(rows[many], self.rules.grid.window_end(closed[many]), refill)

    def forget_late(self) -> None:
        """Let go of late readings that windows have followed since."""
        if self.sensing.late:
            closed, period = self.store.closed, self.rules.grid.period
            self.sensing.forget_late(lambda row: (int(closed[row]) + 1) * period)

    def restore_late(self) -> None:
        """Take note of what the windows that were rebuilt know of late readings."""
        rows = np.flatnonzero(self.store.late >= self.rules.late_buckets)
        self.sensing.note_late(rows, self.rules.grid.window_end(self.store.late_at[rows]), refill=True)

    def note_silences(self, silences: Silences) -> None:
        """Take note of assets that stream time has left behind."""
        end = self.rules.grid.window_end
        self.sensing.note_silences(silences.row, end(silences.bucket), end(silences.closed))

    def step_sensors(self, judged: Judged) -> list[tuple[str, SensorChange]]:
        """What changes of the assets' sensors with closed windows, in time order for each row."""
        told = self.sensing.update(judged.row, self.rules.grid.window_end(judged.bucket), judged.codes)
        self.changed |= self.sensing.take_changed()
        return [(self.names[row], change) for row, change in told]

    def _revise(
        self, late: Late | Reset, rescore: RescoreOf, versions: tuple[str, str]
    ) -> list[tuple[str, Transition]]:
        """What late readings of one message, or a reset, change of an asset's incidents."""
        before, told = self.alarms.get(late.row, AlarmState()), list[Transition]()
        if self.revisions is None:
            return []
        if isinstance(late, Reset):
            self.revisions.forget([late])
            after = limited(before, 0)
        else:
            profile = int(self.sensing.profile[late.row])
            after, told = self.revisions.revise(late, before, partial(rescore, profile=profile), versions)
        if after != before:
            self.keep_alarm(late.row, after)
            self.changed.add(late.row)
        return [(self.names[late.row], transition) for transition in told]

    # ------------------------------------------------------------------------------------- one asset by name

    def row(self, asset: str) -> int:
        """Row of an asset that has one."""
        return int(self.row_of[self.assets.codes[asset]])

    def has_seen(self, asset: str) -> bool:
        """Whether an asset was seen here, now or before a restart."""
        if asset in self.known:
            return bool(self.assets.codes_of([asset])[0] >= 0)  # beyond the limit of assets it is not
        code = self.assets.codes.get(asset, -1)
        return bool(0 <= code < len(self.row_of) and self.row_of[code] >= 0)

    def alarm_of(self, asset: str) -> tuple[int, AlarmState]:
        """Row and alarm state of an asset that was seen here."""
        row = int(self.rows(self.assets.codes_of([asset]))[0])
        return row, self.alarms.get(row, AlarmState())

    def decided(self, row: int, alarm: AlarmState) -> None:
        """Keep an alarm state that a person or a timer changed."""
        self.keep_alarm(row, alarm)
        self.changed.add(row)

    def restore_shelved(self) -> None:
        """Give assets whose alarms are shelved their rows, though they are silent: their time runs."""
        for asset in [asset for asset, entry in self.known.items() if entry.alarm.shelved and self.has_seen(asset)]:
            self.alarm_of(asset)

    def changed_state(self, topic: str, topic_id: str | None) -> Iterable[tuple[StateKey, StateEntry]]:
        """Entries of the assets whose alarm state or recorded closes changed since the last call."""
        for row in sorted(self.changed):
            key = StateKey(topic, self.names[row], self.rules.detector)
            alarm, closes = self.alarms.get(row, AlarmState()), tuple(self.closes.get(row, ()))
            yield key, StateEntry(1, alarm, closes, topic_id, self.sensing.states.get(row))
        self.kept |= self.changed
        self.changed.clear()

    def record(self, closes: list[IdleClose], when: Callable[[IdleClose], Moment], reset: bool = False) -> None:
        """Keep closes that no reading caused."""
        since = self.step_from if self.rules.state_ahead else HIGHEST  # a crash may have all of the step done again
        for close in closes:
            kept, recorded = self.closes.setdefault(close.row, []), Close(*when(close), close.closed_to, reset)
            keep(kept, recorded, self.rules.grid, self.rules.revised_buckets, since)
            self.changed.add(close.row)


def watched(rules: Watching, assets: AssetTable) -> Watched:
    """A detector that has seen no asset yet; `assets` gives them their codes."""
    store = WindowStore(rules.grid, len(rules.channels))
    revisions = Revisions(rules.grid, rules.policy, rules.channels) if rules.policy.revision_bound else None
    grid = rules.grid
    reach = grid.stride * grid.period
    names = tuple(channel.name for channel in rules.channels)
    sensing = Sensing(names, rules.fault_after, reach, grid.idle_limit)
    return Watched(rules, store, assets, Drifts(rules.drift), sensing, revisions=revisions)


def nothing(detector: Watched) -> Readings:
    """Readings of none of its assets."""
    empty = np.empty(0, np.int64)
    return Readings(empty, empty, np.empty((0, len(detector.rules.channels)), np.float32), empty, empty)


def _columns_of(values: NDArray[np.float32], columns: Ints) -> NDArray[np.float32]:
    """The detector's channels of a route's values; the same array where they are all of them, in order."""
    whole = len(columns) == values.shape[1] and bool((columns == np.arange(len(columns))).all())
    return values if whole else values[:, columns]
