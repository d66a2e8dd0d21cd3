"""The step: columns in; scores, incident events, state entries, dead letters and positions out.

`Pipeline` is pure: no clock, no broker, no log. The daemon, the backtest and the tests run this same code.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime
from functools import partial

import numpy as np
from msgspec import Struct

from monitor.alarms import Decision, Transition
from monitor.arrays import Ints
from monitor.columns import AssetTable, Columns
from monitor.commands import Command
from monitor.drift import KINDS, Change, Kind
from monitor.events import to_datetime
from monitor.gather import Gather
from monitor.grid import Grid
from monitor.modelfile import ModelMetadata
from monitor.partition import PartitionState
from monitor.rebuilt import Rebuilt
from monitor.routes import Routes
from monitor.scored import ScoredWindows, observed_share
from monitor.scoring import Floats
from monitor.serving import ModelFault, Serving, Watch, merged
from monitor.state import Position, StateEntry, StateKey
from monitor.suppression import Rule
from monitor.watched import Watched, Watching
from monitor.windows import Sink
from monitor.wire import Scores

TopicPartition = tuple[str, int]


@dataclass(slots=True)
class Told:
    """A transition with where it happened, and the score that was the limit in force."""

    topic: str
    partition: int
    asset: str
    detector: str
    limit: float
    transition: Transition


class DriftChange(Struct, frozen=True):
    """An asset began or ceased to drift, with the window that ends then; a line of a backtest's `drift.jsonl`.

    `value` is the figure of this kind (`monitor.drift`) that passed its bound, `channel` the one outside most.
    """

    asset: str
    detector: str
    kind: Kind
    began: bool
    window_end: datetime
    value: float
    channel: str | None = None


@dataclass(slots=True)
class Counts:
    """What a step did, for metrics and the log."""

    readings: int = 0
    late: int = 0
    resets: int = 0
    ignored_values: int = 0
    unwatched: int = 0
    windows: int = 0
    windows_not_scored: int = 0
    windows_over_limit: int = 0
    revisions: int = 0


@dataclass(slots=True)
class Output:
    """All that one step gives: publish it, then commit its positions."""

    scores: list[tuple[TopicPartition, Scores]] = field(default_factory=list)
    transitions: list[Told] = field(default_factory=list)
    state: list[tuple[TopicPartition, StateKey, StateEntry]] = field(default_factory=list)
    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    faults: list[ModelFault] = field(default_factory=list)
    drifts: list[DriftChange] = field(default_factory=list)

    def __add__(self, later: "Output") -> "Output":
        """Both outputs as one; positions are the later ones."""
        return Output(
            self.scores + later.scores,
            self.transitions + later.transitions,
            self.state + later.state,
            self.positions | later.positions,
            Counts(*(a + b for a, b in zip(astuple(self.counts), astuple(later.counts), strict=True))),
            merged(self.faults + later.faults),
            self.drifts + later.drifts,
        )


class Pipeline:
    """Windows, scores and alarms of the partitions that this process owns."""

    def __init__(
        self,
        watches: Sequence[Watch],
        routes: Routes,
        assets: AssetTable,
        *,
        allowed_lateness_s: float = 0.0,
        revision_bound_s: float = 0.0,
        idle_limit_s: float = 300.0,
        reset_after_s: float = 86_400.0,
        state_ahead: bool = False,
        weight: Callable[[str], float] = lambda asset: 1.0,
        suppressions: Sequence[tuple[Rule, ...]] = (),
        longest_shelving_s: float = 86_400.0,
    ) -> None:
        """`routes` numbers detectors as `watches` does, `suppressions` too; others as `Watching` has them."""
        self.assets = assets
        self.partitions: dict[TopicPartition, PartitionState] = {}
        self._serving = [Serving(watch, round(revision_bound_s * 1e9)) for watch in watches]
        self._watching = [
            Watching(
                serving.watch.detector,
                _grid(serving.watch.metadata, allowed_lateness_s, idle_limit_s, reset_after_s),
                serving.policy,
                tuple(serving.watch.metadata.channels),
                serving.watch.drift,
                partial(routes.columns, number),
                state_ahead,
                weight,
                suppressions[number] if suppressions else (),
                longest_shelving_s,
            )
            for number, serving in enumerate(self._serving)
        ]

    def assign(
        self,
        where: TopicPartition,
        position: Position,
        state: Iterable[tuple[StateKey, StateEntry]],
        rebuilt: Rebuilt | None = None,
    ) -> None:
        """Take a partition over: readings from `position.low` on rebuild its windows, silently up to `.offset`.

        Of windows that were `rebuilt` before, those from its offset on do.
        """
        self.partitions[where] = PartitionState(where, self._watching, self.assets, position, state, rebuilt)

    def revoke(self, where: TopicPartition) -> None:
        """Let a partition go, windows and alarm state with it."""
        self.partitions.pop(where, None)

    def serve(self, number: int, watch: Watch) -> None:
        """Put another model into a detector's service from the next step on; the one so far is kept behind it.

        Raises InvalidModel where it needs other windows than those that are being filled.
        """
        self._serving[number].serve(watch)
        self._follow(number)

    def fall_back(self, number: int) -> bool:
        """Put the model before a detector's back into service from the next step on; whether there was one."""
        fell = self._serving[number].fall_back()
        self._follow(number)
        return fell

    def _follow(self, number: int) -> None:
        """Windows and alarms go on, by the limits and channels of the model that is in service now."""
        serving = self._serving[number]
        channels = tuple(serving.watch.metadata.channels)
        drift = serving.watch.drift
        rules = replace(self._watching[number], policy=serving.policy, channels=channels, drift=drift)
        self._watching[number] = rules
        for partition in self.partitions.values():
            partition.detectors[number].follow(rules)

    def recent(self, number: int) -> Floats:
        """Some of the newest windows that a detector scored (B, W, C), a copy; any thread may ask."""
        return self._serving[number].recent.windows()

    def drifting(self) -> dict[tuple[str, Kind], int]:
        """How many assets drift, by detector and kind."""
        found = {(rules.detector, kind): 0 for rules in self._watching for kind in KINDS}
        for partition in self.partitions.values():
            for watched in partition.detectors:
                for kind, count in watched.drifts.counts().items():
                    found[watched.rules.detector, kind] += count
        return found

    def step(self, batches: dict[TopicPartition, tuple[Columns, int]]) -> Output:
        """Process each partition's readings, given with the position after them."""
        output = Output()

        def read(partition: PartitionState, sinks: list[Sink]) -> None:
            columns, next_offset = batches[partition.where]
            placed = partition.read(columns, next_offset, sinks)
            output.counts.readings += placed.readings
            output.counts.late += placed.late
            output.counts.resets += placed.resets
            output.counts.ignored_values += columns.ignored_values
            output.counts.unwatched += columns.unwatched

        return self._run(output, list(batches), read)

    def close_silent(self, partitions: Iterable[TopicPartition]) -> Output:
        """Close all windows that hold a reading of these partitions: they are silent and read to their end."""
        where = [each for each in partitions if self.partitions[each].caught_up]
        return self._run(Output(), where, PartitionState.close_all)

    def accept(self, where: TopicPartition, asset: str, at: int, detector: str | None = None) -> Output:
        """End an asset's open incident and take its level for normal, decided at this event time (ns).

        Of all its detectors, or of one. Nothing is told where no alarm is open.
        """
        output, partition = Output(), self.partitions[where]
        for watched in partition.detectors:
            if detector not in (None, watched.rules.detector):
                continue
            if (done := watched.accept(asset, at)) is not None:
                output.transitions.append(Told(*where, asset, watched.rules.detector, *done))
        output.state += [(where, key, entry) for key, entry in partition.changed_state()]
        output.positions[where] = partition.position()
        return output

    def obey(self, where: TopicPartition, command: Command, now: int) -> Output:
        """What a command does to the alarms of its asset (`now`: ns, wall clock), and the answer to it.

        Of all its detectors, or of the one that it names; one answer where none of them can obey, and none at all
        where the asset was never seen on this partition.
        """
        seen = self._that_saw(where, command.asset)
        asked = [each for each in seen if command.detector in ("", each[0].rules.detector)]
        if seen and not asked:
            decision = Decision(command.user, command.reason, now, command.command_id)
            return self.refuse(where, command.asset, f"no detector '{command.detector}' watches it", decision)
        tried = [(watched, *watched.obey(command, now, where, version)) for watched, version in asked]
        obeyed = [each for each in tried if each[2].kind != "rejected"]
        output = Output()
        for watched, limit, told, make_so in obeyed or tried[:1]:
            make_so()
            output.transitions.append(Told(*where, command.asset, watched.rules.detector, limit, told))
        return self._decided(output, [where])

    def refuse(self, where: TopicPartition, asset: str, why: str, decision: Decision) -> Output:
        """The answer to what cannot be a command for this asset; none where it was never seen on this partition."""
        output = Output()
        for watched, version in self._that_saw(where, asset)[:1]:
            told = watched.refuse(asset, why, decision, version)
            output.transitions.append(Told(*where, asset, watched.rules.detector, *told))
        return self._decided(output, [where])

    def _that_saw(self, where: TopicPartition, asset: str) -> list[tuple[Watched, str]]:
        """Detectors that have seen an asset on this partition, each with the version of its model in service."""
        numbered = enumerate(self.partitions[where].detectors)
        return [(each, self._serving[number].versions()[0]) for number, each in numbered if each.has_seen(asset)]

    def expire(self, now: int) -> Output:
        """Alarms whose time on the shelf is up come back (`now`: ns, wall clock)."""
        output, touched = Output(), []
        for where, partition in self.partitions.items():
            if not partition.caught_up:
                continue
            for number, watched in enumerate(partition.detectors):
                for asset, limit, told in watched.expire(now, self._serving[number].versions()[0]):
                    output.transitions.append(Told(*where, asset, watched.rules.detector, limit, told))
                    touched.append(where)
        return self._decided(output, touched)

    def _decided(self, output: Output, touched: Iterable[TopicPartition]) -> Output:
        """The output with the state and the positions that go with decisions."""
        for where in dict.fromkeys(touched if output.transitions else ()):
            partition = self.partitions[where]
            output.state += [(where, key, entry) for key, entry in partition.changed_state()]
            output.positions[where] = partition.position()
        return output

    def _run(
        self, output: Output, touched: list[TopicPartition], close: Callable[[PartitionState, list[Sink]], None]
    ) -> Output:
        """Close windows of each partition, score them in batches over all, step the alarms, collect the state."""
        partitions = [self.partitions[where] for where in touched]
        scored: list[list[ScoredWindows]] = [[] for _ in self._serving]
        gathers = [
            Gather(serving.buffer, partial(score_windows, serving, scored[number], output.counts))
            for number, serving in enumerate(self._serving)
        ]
        for number, partition in enumerate(partitions):
            close(partition, [gather.sink(number) for gather in gathers])
        for number, gather in enumerate(gathers):
            gather.flush()
            if scored[number]:
                self._tell(number, partitions, ScoredWindows.joined(scored[number]), output)
            elif self._watching[number].policy.revision_bound:
                self._tell(number, partitions, self._serving[number].none(), output)
        for partition in partitions:
            partition.tidy()
            output.state += [(partition.where, key, entry) for key, entry in partition.changed_state()]
            output.positions[partition.where] = partition.position()
        return output

    def _tell(self, number: int, partitions: list[PartitionState], scored: ScoredWindows, output: Output) -> None:
        """Scores of one detector, partition by partition, what they change of the alarms, and its model's faults."""
        serving, rules = self._serving[number], self._watching[number]
        output.counts.windows_over_limit += int(scored.over.sum())
        versions, policies = serving.versions(), serving.policies()
        bounds = np.searchsorted(scored.partition, np.arange(len(partitions) + 1))
        for partition, low, high in zip(partitions, bounds[:-1], bounds[1:], strict=True):
            mine = scored.part(slice(low, high))
            window_end = rules.grid.window_end(mine.bucket)
            watched = partition.detectors[number]
            for asset, limit, transition in watched.step_alarms(
                window_end, mine, serving.rescore, versions, policies
            ):
                output.transitions.append(Told(*partition.where, asset, rules.detector, limit, transition))
                output.counts.revisions += transition.kind == "revised"
            if low < high:  # with the limits that the alarms went by
                names = watched.names_of(mine.row)
                output.scores += [(partition.where, told) for told in serving.tell(names, window_end, mine)]
                drifts = watched.follow_drift(window_end, mine)
                output.drifts += [drift_change(watched, rules, each) for each in drifts]
        output.faults += serving.take_faults()


def drift_change(watched: Watched, rules: Watching, change: Change) -> DriftChange:
    """What is told of a change, by names."""
    channel = None if change.channel is None else rules.channels[change.channel].name
    end = to_datetime(change.end)
    return DriftChange(
        watched.names[change.row], rules.detector, change.kind, change.began, end, change.value, channel
    )


def score_windows(
    serving: Serving,
    scored: list[ScoredWindows],
    counts: Counts,
    partition: Ints,
    row: Ints,
    bucket: Ints,
    windows: Floats,
) -> None:
    """Score a batch of windows (B, W, C), less those with too little observed, and add them to `scored`."""
    enough = observed_share(windows) >= serving.watch.metadata.min_observed
    counts.windows += len(windows)
    if not enough.all():
        counts.windows_not_scored += len(windows) - int(enough.sum())
        partition, row, bucket, windows = partition[enough], row[enough], bucket[enough], windows[enough]
    scored.append(serving.score(partition, row, bucket, windows))


def _grid(metadata: ModelMetadata, *limits_s: float) -> Grid:
    """The model's grid, with the allowed lateness, the idle limit and how long after which an asset is reset."""
    limits_ns = (round(limit * 1e9) for limit in limits_s)
    return Grid(metadata.period_ms * 1_000_000, metadata.window, metadata.stride, *limits_ns)
