"""The step: columns in; scores, incident events, state entries, dead letters and positions out.

`Pipeline` is pure: no clock, no broker, no log. The daemon, the backtest and the tests run this same code.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from functools import cache, partial

import numpy as np

from monitor.alarms import Policy, Transition, policy
from monitor.arrays import Ints
from monitor.calibration import Limits, limits, p_values
from monitor.columns import AssetTable, Columns
from monitor.gather import Gather
from monitor.grid import Grid
from monitor.modelfile import ModelMetadata
from monitor.partition import PartitionState, Watching
from monitor.revisions import remembered
from monitor.routes import Routes
from monitor.scored import ScoredWindows, observed_share, recent_mean
from monitor.scoring import Floats, Score
from monitor.state import Position, StateEntry, StateKey
from monitor.windows import Sink
from monitor.wire import Scores

TopicPartition = tuple[str, int]
EVERY = Limits(1.0, 1.0, 0.0)  # over which every window is


@dataclass(frozen=True, slots=True)
class Watch:
    """A detector in service: its name, its model, and the rules that the configuration gives it.

    `buffer` makes room for a batch of windows where the model reads them best.
    """

    detector: str
    metadata: ModelMetadata
    score: Score
    buffer: Callable[[], Floats]
    alarm_budget_per_day: float = 1.0
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    deadband: float = 2.0
    publish_expected: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the graph that every window needs."""
        return ("score", "channel_score", *(["reconstruction"] if self.publish_expected else []))

    def policy(self, revision_bound: int = 0) -> Policy:
        """Limits from the model's calibration and the alarm budget, delays in windows; the bound in ns."""
        meta = self.metadata
        limit = limits(meta.calibration, meta.windows_per_day, self.alarm_budget_per_day, self.deadband)
        stride_ns = meta.period_ms * 1_000_000 * meta.stride
        heights = remembered(meta.window, meta.stride)
        return policy(limit, stride_ns, self.on_delay_s, self.off_delay_s, revision_bound, heights)


@dataclass(slots=True)
class Told:
    """A transition with where it happened, and the score that is the detector's limit."""

    topic: str
    partition: int
    asset: str
    detector: str
    limit: float
    transition: Transition


@dataclass(slots=True)
class Counts:
    """What a step did, for metrics and the log."""

    readings: int = 0
    late: int = 0
    ignored_values: int = 0
    unwatched: int = 0
    windows: int = 0
    windows_not_scored: int = 0
    windows_over_limit: int = 0
    model_faults: int = 0
    revisions: int = 0


@dataclass(slots=True)
class Output:
    """All that one step gives: publish it, then commit its positions."""

    scores: list[tuple[TopicPartition, Scores]] = field(default_factory=list)
    transitions: list[Told] = field(default_factory=list)
    state: list[tuple[TopicPartition, StateKey, StateEntry]] = field(default_factory=list)
    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def __add__(self, later: "Output") -> "Output":
        """Both outputs as one; positions are the later ones."""
        return Output(
            self.scores + later.scores,
            self.transitions + later.transitions,
            self.state + later.state,
            self.positions | later.positions,
            Counts(*(a + b for a, b in zip(astuple(self.counts), astuple(later.counts), strict=True))),
        )


def score_windows(
    watch: Watch, limit: Limits, partition: Ints, row: Ints, bucket: Ints, windows: Floats, counts: Counts
) -> ScoredWindows:
    """Score and calibrate a batch of windows (B, W, C); those with too little observed are left out.

    What was seen and expected is worked out for all windows where it is published, else for those over the limit.
    """
    enough = observed_share(windows) >= watch.metadata.min_observed
    counts.windows += len(windows)
    if not enough.all():
        counts.windows_not_scored += len(windows) - int(enough.sum())
        partition, row, bucket, windows = partition[enough], row[enough], bucket[enough], windows[enough]
    score, channel_score, *rest = watch.score(windows, watch.outputs)
    p = p_values(watch.metadata.calibration, score)
    over = np.isfinite(score) & (p <= limit.raise_p)
    stride = watch.metadata.stride
    seen = expected = np.full_like(channel_score, np.nan)
    if rest:
        seen, expected = recent_mean(windows, stride), recent_mean(rest[0], stride)
    elif over.any():
        seen, expected = seen.copy(), seen.copy()
        seen[over] = recent_mean(windows[over], stride)
        expected[over] = recent_mean(watch.score(windows[over], ("reconstruction",))[0], stride)
    return ScoredWindows(partition, row, bucket, score, p, over, channel_score, seen, expected)


def sound_windows(parts: Sequence[ScoredWindows], counts: Counts) -> ScoredWindows:
    """All windows of the parts, less those without a finite score: these are a fault of the model."""
    scored = ScoredWindows.joined(parts)
    sound = np.isfinite(scored.score) & np.isfinite(scored.channel_score).all(axis=1)
    if not sound.all():
        counts.model_faults += len(sound) - int(sound.sum())
        scored = scored.part(sound)
    counts.windows_over_limit += int(scored.over.sum())
    return scored


def rescored(watch: Watch, counts: Counts, bucket: Ints, windows: Floats) -> ScoredWindows:
    """Score windows (n, W, C) that were made again: these are no windows of the step, only their faults count."""
    nowhere, aside = np.zeros_like(bucket), Counts()
    scored = sound_windows([score_windows(watch, EVERY, nowhere, nowhere, bucket, windows, aside)], aside)
    counts.model_faults += aside.model_faults
    return scored


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
    ) -> None:
        """`routes` numbers detectors as `watches` does."""
        self.watches = list(watches)
        self.assets = assets
        self.partitions: dict[TopicPartition, PartitionState] = {}
        # Made when a detector closes its first window, and used again for every batch.
        self._buffers = [cache(watch.buffer) for watch in watches]
        self._watching = [
            Watching(
                watch.detector,
                _grid(watch.metadata, allowed_lateness_s, idle_limit_s),
                watch.policy(round(revision_bound_s * 1e9)),
                tuple(watch.metadata.channels),
                partial(routes.columns, number),
            )
            for number, watch in enumerate(watches)
        ]

    def assign(self, where: TopicPartition, position: Position, state: Iterable[tuple[StateKey, StateEntry]]) -> None:
        """Take a partition over: readings from `position.low` on rebuild its windows, silently up to `.offset`."""
        self.partitions[where] = PartitionState(where, self._watching, self.assets, position, state)

    def revoke(self, where: TopicPartition) -> None:
        """Let a partition go, windows and alarm state with it."""
        self.partitions.pop(where, None)

    def step(self, batches: dict[TopicPartition, tuple[Columns, int]]) -> Output:
        """Process each partition's readings, given with the position after them."""
        output = Output()

        def read(partition: PartitionState, sinks: list[Sink]) -> None:
            columns, next_offset = batches[partition.where]
            placed = partition.read(columns, next_offset, sinks)
            output.counts.readings += placed.readings
            output.counts.late += placed.late
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
        scored: list[list[ScoredWindows]] = [[] for _ in self.watches]
        gathers = [
            Gather(buffer, partial(self._score, number, scored[number], output.counts))
            for number, buffer in enumerate(self._buffers)
        ]
        for number, partition in enumerate(partitions):
            close(partition, [gather.sink(number) for gather in gathers])
        for number, gather in enumerate(gathers):
            gather.flush()
            if scored[number]:
                self._tell(number, partitions, sound_windows(scored[number], output.counts), output)
            elif self._watching[number].policy.revision_bound:
                nothing = ScoredWindows.none(len(self._watching[number].channels))
                self._tell(number, partitions, nothing, output)
        for partition in partitions:
            partition.tidy()
            output.state += [(partition.where, key, entry) for key, entry in partition.changed_state()]
            output.positions[partition.where] = partition.position()
        return output

    def _score(
        self,
        number: int,
        scored: list[ScoredWindows],
        counts: Counts,
        partition: Ints,
        row: Ints,
        bucket: Ints,
        windows: Floats,
    ) -> None:
        watch, limits = self.watches[number], self._watching[number].policy.limits
        scored.append(score_windows(watch, limits, partition, row, bucket, windows, counts))

    def _tell(self, number: int, partitions: list[PartitionState], scored: ScoredWindows, output: Output) -> None:
        """Scores of one detector, partition by partition, and what they change of the alarms."""
        watch, rules = self.watches[number], self._watching[number]
        limits = rules.policy.limits
        bounds = np.searchsorted(scored.partition, np.arange(len(partitions) + 1))
        for partition, low, high in zip(partitions, bounds[:-1], bounds[1:], strict=True):
            mine = scored.part(slice(low, high))
            window_end = rules.grid.window_end(mine.bucket)
            if low < high:
                names = partition.names(number, mine.row)
                output.scores.append((partition.where, _scores(watch, limits, names, window_end, mine)))
            rescore = partial(rescored, watch, output.counts)
            for asset, transition in partition.step_alarms(number, window_end, mine, rescore, watch.metadata.version):
                output.transitions.append(Told(*partition.where, asset, watch.detector, limits.score, transition))
                output.counts.revisions += transition.kind == "revised"


def _grid(metadata: ModelMetadata, allowed_lateness_s: float, idle_limit_s: float) -> Grid:
    lateness, idle = round(allowed_lateness_s * 1e9), round(idle_limit_s * 1e9)
    return Grid(metadata.period_ms * 1_000_000, metadata.window, metadata.stride, lateness, idle)


def _scores(watch: Watch, limit: Limits, names: Sequence[str], window_end: Ints, mine: ScoredWindows) -> Scores:
    """What goes to `tocsin.scores` of these windows."""
    told = mine if watch.publish_expected else None
    return Scores(
        watch.detector,
        watch.metadata.version,
        names,
        window_end,
        mine.score,
        mine.p_value.astype(np.float32),
        np.full(len(names), limit.score, np.float32),
        mine.channel_score,
        told.seen if told else None,
        told.expected if told else None,
    )
