"""What one step gives: scores, transitions, changed state, positions, and what it counted."""

from dataclasses import astuple, dataclass, field
from datetime import datetime

from msgspec import Struct

from monitor.alarms import Transition
from monitor.drift import Kind
from monitor.events import SensorFault
from monitor.sensing import SensorChange
from monitor.serving import ModelFault, merged
from monitor.state import Position, StateEntry, StateKey
from monitor.wire import Scores

TopicPartition = tuple[str, int]


@dataclass(slots=True)
class Told:
    """A transition with where it happened, the score that was the limit in force, and the sensors that are faulty."""

    topic: str
    partition: int
    asset: str
    detector: str
    limit: float
    transition: Transition
    sensors: tuple[SensorFault, ...] = ()


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
class SensorTold:
    """A sensor's verdict that changed, where it happened, and what it rests on."""

    topic: str
    partition: int
    asset: str
    detector: str
    model_version: str
    change: SensorChange
    detail: str


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
    sensor_events: list[SensorTold] = field(default_factory=list)

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
            self.sensor_events + later.sensor_events,
        )
