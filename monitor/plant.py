"""A plant of pumps that is simulated: its settings, its channels, and which fault begins when."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta, Struct

from monitor.errors import InvalidConfiguration
from monitor.events import to_ns

# name, unit, standard deviation of the measuring noise; the order is the order of the columns
CHANNELS = (
    ("flow", "m3/h", 0.8),
    ("suction_pressure", "bar", 0.01),
    ("discharge_pressure", "bar", 0.03),
    ("motor_current", "A", 0.4),
    ("speed", "rpm", 2.0),
    ("vibration", "mm/s", 0.08),
    ("bearing_temperature", "degC", 0.15),
    ("motor_temperature", "degC", 0.2),
)
CHANNEL_NAMES = tuple(name for name, _, _ in CHANNELS)

# Of sensors: stuck at what it measured last, drifting, dead (it reads zero), silent (it sends nothing), saturated (at
# the top of its range), intermittent (most of its values are lost).
FaultKind = Literal[
    "bearing_wear", "cavitation", "leak", "stuck_sensor", "drifting_sensor", "dead_sensor",
    "silent_sensor", "saturated_sensor", "intermittent_sensor",
]  # fmt: skip
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
USUAL_KINDS = FAULT_KINDS[:6]  # what a plant has by itself: its readings stay what they were
_MACHINE_FAULTS: dict[str, tuple[str, ...]] = {
    "bearing_wear": ("vibration", "bearing_temperature"),
    "cavitation": ("suction_pressure", "vibration", "flow", "discharge_pressure"),
    "leak": ("discharge_pressure", "flow", "motor_current"),
}

_Seconds = Annotated[float, Meta(gt=0, le=3.2e9)]


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One fault of one asset, from `start_ns` to `end_ns` (exclusive); `channels` are where it shows, most first."""

    asset: str
    kind: FaultKind
    start_ns: int
    end_ns: int
    channels: tuple[str, ...]
    severity: Annotated[float, Meta(gt=0)] = 1.0


class Plant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that a simulation depends on: the same settings give the same readings.

    `assets` pumps, named `prefix` and a number from 1, each with a reading every `period_s` from `start` for
    `duration_s`. The first `healthy_s` have no fault; from then on each pump has one about every
    `fault_every_s`, for about `fault_duration_s`, of the kinds in turn; `faults` replaces that schedule.
    `noise` scales the measuring noise, `missing_share` of the values are lost.
    """

    seed: Annotated[int, Meta(ge=0)] = 0
    assets: Annotated[int, Meta(ge=1, le=1_000_000)] = 6
    prefix: Annotated[str, Meta(min_length=1)] = "pump-"
    start: Annotated[datetime, Meta(tz=True)] = datetime(2026, 1, 1, tzinfo=UTC)
    duration_s: _Seconds = 86_400.0
    period_s: Annotated[float, Meta(ge=0.001, le=86_400)] = 1.0
    noise: Annotated[float, Meta(ge=0)] = 1.0
    missing_share: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    healthy_s: Annotated[float, Meta(ge=0)] = 7_200.0
    fault_every_s: _Seconds = 21_600.0
    fault_duration_s: _Seconds = 1_200.0
    fault_kinds: tuple[FaultKind, ...] = USUAL_KINDS
    faults: tuple[Fault, ...] | None = None

    @property
    def start_ns(self) -> int:
        """Event time of the first reading."""
        return to_ns(self.start)

    @property
    def period_ns(self) -> int:
        """Time between two readings of an asset."""
        return round(self.period_s * 1e9)

    @property
    def steps(self) -> int:
        """How many readings each asset has."""
        return max(1, round(self.duration_s * 1e9) // self.period_ns)

    @property
    def end_ns(self) -> int:
        """One period after the last reading."""
        return self.start_ns + self.steps * self.period_ns

    def asset_name(self, index: int) -> str:
        """The name of the pump with this index, from 0."""
        return f"{self.prefix}{index + 1}"


def parse_plant(settings: dict[str, Any]) -> Plant:
    """Check settings and make a plant of them; InvalidConfiguration names the setting that is wrong."""
    try:
        plant = msgspec.convert(settings, Plant)
    except msgspec.ValidationError as error:
        raise InvalidConfiguration(f"simulate: {error}") from None
    _check_faults(plant)
    return plant


def checked(plant: Plant) -> Plant:
    """The same plant, if its settings are in range; else InvalidConfiguration."""
    return parse_plant(msgspec.to_builtins(plant, builtin_types=(datetime,)))


def _check_faults(plant: Plant) -> None:
    names = {plant.asset_name(index) for index in range(plant.assets)} if plant.faults else set()
    ends: dict[str, int] = {}
    for fault in sorted(plant.faults or (), key=lambda fault: fault.start_ns):
        where = f"simulate: the fault '{fault.kind}' of '{fault.asset}'"
        if fault.asset not in names:
            raise InvalidConfiguration(f"{where}: the plant has no such asset.")
        if not fault.channels or not set(fault.channels) <= set(CHANNEL_NAMES):
            raise InvalidConfiguration(f"{where}: its channels must be some of {', '.join(CHANNEL_NAMES)}.")
        if fault.end_ns <= fault.start_ns:
            raise InvalidConfiguration(f"{where} ends before it starts.")
        if fault.start_ns < ends.get(fault.asset, fault.start_ns):
            raise InvalidConfiguration(f"{where} starts before the one before it has ended.")
        ends[fault.asset] = fault.end_ns
    if not plant.fault_kinds:
        raise InvalidConfiguration("simulate: `fault_kinds` is empty; `faults = []` gives a plant without faults.")


def asset_random(plant: Plant, index: int, purpose: int) -> np.random.Generator:
    """The random numbers of one asset for one purpose, the same however many assets there are."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(plant.seed, spawn_key=(index, purpose))))


def fault_schedule(plant: Plant) -> list[Fault]:
    """Every fault of the plant, by start."""
    if plant.faults is not None:
        faults = list(plant.faults)
    else:
        faults = [fault for index in range(plant.assets) for fault in _faults_of(plant, index)]
    return sorted(faults, key=lambda fault: (fault.start_ns, fault.asset))


def _faults_of(plant: Plant, index: int) -> Iterator[Fault]:
    """One asset's faults: exponential gaps after the healthy time, kinds in turn, never two at once."""
    end_s = plant.steps * plant.period_s
    if plant.healthy_s >= end_s:
        return
    random = asset_random(plant, index, purpose=0)
    start_s = plant.healthy_s + random.exponential(plant.fault_every_s)
    for number in range(index, index + 1_000_000):
        if start_s >= end_s:
            return
        kind = plant.fault_kinds[number % len(plant.fault_kinds)]
        length_s = max(plant.fault_duration_s * random.uniform(0.5, 1.5), 2 * plant.period_s)
        channel = CHANNEL_NAMES[random.integers(len(CHANNELS))]
        yield Fault(
            asset=plant.asset_name(index),
            kind=kind,
            start_ns=plant.start_ns + round(start_s * 1e9),
            end_ns=plant.start_ns + round(min(start_s + length_s, end_s) * 1e9),
            channels=_MACHINE_FAULTS.get(kind, (channel,)),
            severity=random.uniform(0.7, 1.3),
        )
        start_s += length_s + random.exponential(plant.fault_every_s)
