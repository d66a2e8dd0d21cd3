"""The step: columns in; scores, incident events, state entries, dead letters and positions out.

`Pipeline` is pure: no clock, no broker, no log. The daemon, the backtest and the tests run this same code.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from monitor.arrays import Ints
from monitor.columns import AssetTable, Columns
from monitor.drift import KINDS, Change, Kind
from monitor.events import to_datetime
from monitor.gather import Gather
from monitor.grid import Grid
from monitor.modelfile import ModelMetadata
from monitor.output import Counts, DriftChange, Output, SensorTold, Told, TopicPartition
from monitor.partition import PartitionState
from monitor.rebuilt import Rebuilt
from monitor.routes import Routes
from monitor.scored import ScoredWindows
from monitor.scoring import Floats
from monitor.sensing import Faulty, Judged
from monitor.serving import Serving, Watch
from monitor.state import Position, StateEntry, StateKey
from monitor.suppression import Rule, conditions_met
from monitor.watched import Watched, Watching
from monitor.windows import Sink


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
                serving.watch.sensors.fault_after,
                max(round(serving.watch.sensors.late_share * serving.watch.metadata.stride), 1),
                serving.profiles.number,
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

    def version(self, number: int) -> str:
        """Version of a detector's model in service."""
        return self._serving[number].versions()[0]

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

    def _run(
        self, output: Output, touched: list[TopicPartition], close: Callable[[PartitionState, list[Sink]], None]
    ) -> Output:
        """Close windows of each partition, score them in batches over all, step the alarms, collect the state."""
        partitions = [self.partitions[where] for where in touched]
        scored: list[list[ScoredWindows]] = [[] for _ in self._serving]
        judged: list[list[Judged]] = [[] for _ in self._serving]
        gathers = [
            Gather(
                serving.buffer,
                partial(
                    score_windows,
                    serving,
                    scored[number],
                    output.counts,
                    judged=judged[number],
                    profile=partial(_profile_of, serving, number, partitions),
                ),
            )
            for number, serving in enumerate(self._serving)
        ]
        for number, partition in enumerate(partitions):
            close(partition, [gather.sink(number) for gather in gathers])
        for number, gather in enumerate(gathers):
            gather.flush()
            said = Judged.joined(judged[number], len(self._watching[number].channels))
            self._tell_sensors(number, partitions, said, output)
            faulty = said.faulty()
            if scored[number]:
                self._tell(number, partitions, ScoredWindows.joined(scored[number]), faulty, output)
            elif self._watching[number].policy.revision_bound:
                self._tell(number, partitions, self._serving[number].none(), faulty, output)
        for partition in partitions:
            partition.tidy()
            output.state += [(partition.where, key, entry) for key, entry in partition.changed_state()]
            output.positions[partition.where] = partition.position()
        return output

    def _tell_sensors(self, number: int, partitions: list[PartitionState], judged: Judged, output: Output) -> None:
        """What changes of one detector's sensors, partition by partition."""
        serving, detector = self._serving[number], self._watching[number].detector
        bounds = np.searchsorted(judged.partition, np.arange(len(partitions) + 1))
        for partition, low, high in zip(partitions, bounds[:-1], bounds[1:], strict=True):
            for asset, change in partition.detectors[number].step_sensors(judged.part(slice(low, high))):
                version, detail = (
                    serving.versions()[0],
                    serving.profiles.explain(asset, change.channel, change.verdict),
                )
                told = SensorTold(*partition.where, asset, detector, version, change, detail)
                output.sensor_events.append(told)

    def _tell(
        self,
        number: int,
        partitions: list[PartitionState],
        scored: ScoredWindows,
        faulty: Faulty,
        output: Output,
    ) -> None:
        """Scores of one detector, partition by partition, what they change of the alarms, and its model's faults."""
        serving, rules = self._serving[number], self._watching[number]
        output.counts.windows_over_limit += int(scored.over.sum())
        versions, policies = serving.versions(), serving.policies()
        bounds = np.searchsorted(scored.partition, np.arange(len(partitions) + 1))
        for index, (partition, low, high) in enumerate(zip(partitions, bounds[:-1], bounds[1:], strict=True)):
            mine = scored.part(slice(low, high))
            window_end = rules.grid.window_end(mine.bucket)
            watched = partition.detectors[number]
            for asset, limit, transition in watched.step_alarms(
                window_end, mine, serving.rescore, versions, policies
            ):
                revised = transition.kind == "revised"
                place = (index, watched.row(asset), transition.window.end // rules.grid.period - 1)
                sensors = watched.sensing.said(None if revised else faulty.get(place))
                told = Told(*partition.where, asset, rules.detector, limit, transition, sensors)
                output.transitions.append(told)
                output.counts.revisions += revised
            if low < high:  # with the limits that the alarms went by
                names = watched.names_of(mine.row)
                output.scores += [(partition.where, each) for each in serving.tell(names, window_end, mine)]
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
    judged: list[Judged] | None = None,
    profile: Callable[[Ints, Ints], Ints | None] = lambda partition, row: None,
) -> None:
    """Score a batch of windows (B, W, C), less those with too little observed, and add them to `scored`.

    Values of faulty sensors are hidden first; what windows say of sensors goes to `judged`. `profile` gives the
    number of each asset's rules for that, None where they are the same for all.
    """
    meta = serving.watch.metadata
    met = conditions_met(serving.watch.conditions, windows, meta.stride)  # a machine that stands looks like a fault
    said = serving.profiles.judge(profile(partition, row), windows)
    enough = said.enough
    if judged is not None:
        judged.append(Judged(partition, row, bucket, said.together(windows.shape[2])))
    counts.windows += len(windows)
    if not enough.all():
        counts.windows_not_scored += len(windows) - int(enough.sum())
        partition, row, bucket, windows = partition[enough], row[enough], bucket[enough], windows[enough]
        met = met[enough]
    scored.append(serving.score(partition, row, bucket, windows, met))


def _profile_of(
    serving: Serving, number: int, partitions: Sequence[PartitionState], partition: Ints, row: Ints
) -> Ints | None:
    """Numbers (B,) of the rules for sensors of these assets, None where all have the same."""
    if len(serving.profiles.rules) == 1:
        return None
    found = np.empty_like(row)
    for each in np.unique(partition).tolist():
        mine = partition == each
        found[mine] = partitions[each].detectors[number].sensing.profile[row[mine]]
    return found


def _grid(metadata: ModelMetadata, *limits_s: float) -> Grid:
    """The model's grid, with the allowed lateness, the idle limit and how long after which an asset is reset."""
    limits_ns = (round(limit * 1e9) for limit in limits_s)
    return Grid(metadata.period_ms * 1_000_000, metadata.window, metadata.stride, *limits_ns)
