"""The step: columns in; scores, incident events, state entries, dead letters and positions out.

`Pipeline` is pure: no clock, no broker, no log. The daemon, the backtest and the tests run this same code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from monitor.alarms import Policy, Transition, policy
from monitor.arrays import Ints
from monitor.calibration import Limits, limits, p_values
from monitor.columns import AssetTable, Columns
from monitor.modelfile import ModelMetadata
from monitor.partition import PartitionState, Watching
from monitor.routes import Routes
from monitor.scoring import Floats, Score, ScoredWindows, recent_mean
from monitor.state import Position, StateEntry, StateKey
from monitor.windows import Closed, Grid
from monitor.wire import Scores

TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Watch:
    """A detector in service: its name, its model, and the rules that the configuration gives it."""

    detector: str
    metadata: ModelMetadata
    score: Score
    alarm_budget_per_day: float = 1.0
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    deadband: float = 2.0
    publish_expected: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the graph that every window needs."""
        return ("score", "channel_score", *(["reconstruction"] if self.publish_expected else []))

    def policy(self) -> Policy:
        """Limits from the model's calibration and the alarm budget, delays in windows."""
        meta = self.metadata
        limit = limits(meta.calibration, meta.windows_per_day, self.alarm_budget_per_day, self.deadband)
        return policy(limit, meta.period_ms * 1_000_000 * meta.stride, self.on_delay_s, self.off_delay_s)


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


def score_windows(watch: Watch, limit: Limits, windows: Floats, output: Output) -> ScoredWindows:
    """Score and calibrate windows (B, W, C); those with too little observed, or without a finite score, are left out.

    What was seen and expected is worked out for all windows where it is published, else for those over the limit.
    """
    observed = (~np.isnan(windows)).mean(axis=(1, 2))
    place = np.flatnonzero(observed >= watch.metadata.min_observed)
    output.counts.windows += len(windows)
    output.counts.windows_not_scored += len(windows) - len(place)
    windows = windows if len(place) == len(windows) else windows[place]
    if not len(place):
        return ScoredWindows.none(len(watch.metadata.channels))
    score, channel_score, *rest = watch.score(windows, watch.outputs)
    p = p_values(watch.metadata.calibration, score)
    sound = np.isfinite(score) & np.isfinite(channel_score).all(axis=1)
    over = sound & (p <= limit.raise_p)
    stride = watch.metadata.stride
    seen = expected = np.full_like(channel_score, np.nan)
    if rest:
        seen, expected = recent_mean(windows, stride), recent_mean(rest[0], stride)
    elif over.any():
        seen, expected = seen.copy(), seen.copy()
        seen[over] = recent_mean(windows[over], stride)
        expected[over] = recent_mean(watch.score(windows[over], ("reconstruction",))[0], stride)
    scored = ScoredWindows(place, score, p, over, channel_score, seen, expected)
    output.counts.windows_over_limit += int(over.sum())
    output.counts.model_faults += len(place) - int(sound.sum())
    return scored if sound.all() else scored.part(sound)


class Pipeline:
    """Windows, scores and alarms of the partitions that this process owns."""

    def __init__(
        self,
        watches: Sequence[Watch],
        routes: Routes,
        assets: AssetTable,
        *,
        allowed_lateness_s: float = 0.0,
        idle_limit_s: float = 300.0,
        max_batch: int = 4096,
    ) -> None:
        """`routes` numbers detectors as `watches` does."""
        self.watches = list(watches)
        self.assets = assets
        self.partitions: dict[TopicPartition, PartitionState] = {}
        self._max_batch = max_batch
        self._watching = [
            Watching(
                watch.detector,
                _grid(watch.metadata, allowed_lateness_s, idle_limit_s),
                watch.policy(),
                tuple(watch.metadata.channels),
                partial(routes.columns, number),
            )
            for number, watch in enumerate(watches)
        ]

    def assign(self, where: TopicPartition, position: Position, state: Iterable[tuple[StateKey, StateEntry]]) -> None:
        """Take a partition over: readings from `position.low` on rebuild its windows, silently up to `.offset`."""
        self.partitions[where] = PartitionState(where, self._watching, self.assets, position, state)

    def revoke(self, where: TopicPartition) -> None:
        """Let a partition go, rings and alarm state with it."""
        self.partitions.pop(where, None)

    def step(self, batches: dict[TopicPartition, tuple[Columns, int]]) -> Output:
        """Process each partition's readings, given with the position after them."""
        output = Output()
        closed: list[list[tuple[PartitionState, Closed]]] = [[] for _ in self.watches]
        for where, (columns, next_offset) in batches.items():
            partition = self.partitions[where]
            placed = partition.read(columns, next_offset)
            output.counts.readings += placed.readings
            output.counts.late += placed.late
            output.counts.ignored_values += columns.ignored_values
            output.counts.unwatched += columns.unwatched
            for number, parts in enumerate(placed.closed):
                closed[number] += [(partition, part) for part in parts]
        return self._finish(output, closed, list(batches))

    def close_silent(self, partitions: Iterable[TopicPartition]) -> Output:
        """Close all windows that hold a reading of these partitions: they are silent and read to their end."""
        output = Output()
        closed: list[list[tuple[PartitionState, Closed]]] = [[] for _ in self.watches]
        where = [each for each in partitions if self.partitions[each].caught_up]
        for each in where:
            partition = self.partitions[each]
            for number, parts in enumerate(partition.close_all().closed):
                closed[number] += [(partition, part) for part in parts]
        return self._finish(output, closed, where)

    def _finish(
        self,
        output: Output,
        closed: list[list[tuple[PartitionState, Closed]]],
        touched: list[TopicPartition],
    ) -> Output:
        """Score what was closed, step the alarms, collect state and positions."""
        for number, parts in enumerate(closed):
            for batch in _batches(parts, self._max_batch):
                self._score(number, batch, output)
        for where in touched:
            partition = self.partitions[where]
            output.state += [(where, key, entry) for key, entry in partition.changed_state()]
            output.positions[where] = partition.position()
        return output

    def _score(self, number: int, parts: list[tuple[PartitionState, Closed]], output: Output) -> None:
        """One batch of windows of one detector, from as many partitions as closed some."""
        watch, rules = self.watches[number], self._watching[number]
        scored = score_windows(watch, rules.policy.limits, np.concatenate([part.values for _, part in parts]), output)
        ends = np.cumsum([len(part.row) for _, part in parts])
        bounds = np.searchsorted(scored.place, np.array([0, *ends.tolist()]))
        for (partition, part), end, low, high in zip(parts, ends, bounds[:-1], bounds[1:], strict=True):
            if low == high:
                continue
            mine = scored.part(slice(low, high))
            inside = mine.place - (end - len(part.row))
            row, window_end = part.row[inside], rules.grid.window_end(part.bucket[inside])
            names = partition.names(number, row)
            output.scores.append((partition.where, _scores(watch, rules.policy.limits, names, window_end, mine)))
            for asset, transition in partition.step_alarms(number, row, window_end, mine, watch.metadata.version):
                limit = rules.policy.limits.score
                output.transitions.append(Told(*partition.where, asset, watch.detector, limit, transition))


def _grid(metadata: ModelMetadata, allowed_lateness_s: float, idle_limit_s: float) -> Grid:
    lateness, idle = round(allowed_lateness_s * 1e9), round(idle_limit_s * 1e9)
    return Grid(metadata.period_ms * 1_000_000, metadata.window, metadata.stride, lateness, idle)


def _batches(parts: list[tuple[PartitionState, Closed]], most: int) -> Iterable[list[tuple[PartitionState, Closed]]]:
    """Group closed windows into batches of at most `most`; a part that is larger is cut."""
    batch: list[tuple[PartitionState, Closed]] = []
    room = most
    for partition, part in parts:
        start = 0
        while start < len(part.row):
            end = min(start + room, len(part.row))
            batch.append((partition, Closed(part.row[start:end], part.bucket[start:end], part.values[start:end])))
            room -= end - start
            start = end
            if not room:
                yield batch
                batch, room = [], most
    if batch:
        yield batch


def _scores(watch: Watch, limit: Limits, names: NDArray[np.object_], window_end: Ints, mine: ScoredWindows) -> Scores:
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
