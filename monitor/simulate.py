"""Readings of a simulated plant of pumps, in chunks, with the truth beside them.

A assets, T steps, C channels, K load cycles. Every signal is a closed function of time: load cycles are sums
of sine waves, and a first-order lag of a sine wave is a smaller, later sine wave. So a chunk needs nothing of
the one before it but the state of each asset's random numbers.

Physics: a pump's flow grows with its speed, head with the square, power with the cube (the affinity laws);
temperatures follow the load with the time constants of their masses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from monitor.plant import CHANNEL_NAMES, CHANNELS, Fault, Plant, asset_random, checked, fault_schedule
from monitor.recording import Recording

Floats = NDArray[np.float32]
Seconds = NDArray[np.float64]

FLOW, SUCTION, DISCHARGE, CURRENT, SPEED, VIBRATION, BEARING, MOTOR = range(len(CHANNELS))
BEARING_LAG_S, MOTOR_LAG_S = 900.0, 1800.0
_COOLING_S = 6 * BEARING_LAG_S  # how long a repaired bearing is warmer than it was
_TILE_READINGS = 16_384  # what is worked on at once stays in the processor's cache

# The day's cycle, which all pumps share, and two shorter ones that are each pump's own.
_CYCLE_PERIOD_S = np.array([86_400.0, 5_400.0, 660.0])
_CYCLE_SPREAD = np.array([0.0, 0.3, 0.3])
_CYCLE_AMPLITUDE = np.array([0.14, 0.12, 0.04])
_VALVE_PERIOD_S, _TANK_PERIOD_S = 2_220.0, 10_800.0

# Measuring noise, (C, C) from white noise: what is turbulence in the flow shows in pressure and current too.
_NOISE_MIX = np.diag([sigma for _, _, sigma in CHANNELS]).astype(np.float32)
_NOISE_MIX[FLOW, [DISCHARGE, CURRENT]] = [-0.02, 0.25]
_NOISE_MIX[SPEED, [FLOW, DISCHARGE]] = [0.3, 0.02]

# How far a drifting sensor is off in the end: about a fifth of what the channel does in normal operation.
_DRIFT = np.array([15, 0.1, 0.8, 8, 300, 0.8, 8, 10], np.float32)

# The top of each channel's measuring range: more than a pump in good health ever shows.
_TOP = np.array([250, 4, 16, 160, 4000, 25, 150, 180], np.float32)
_SCATTER, _LOST_PERCENT = 61, 80  # an intermittent sensor loses so many values, evenly scattered


@dataclass(slots=True)
class Simulated:
    """A chunk: the readings as the sensors give them, and the truth.

    readings: N readings by time, then asset, labelled where a fault is; clean: (N, C) float32, what perfect
    sensors would read: machine faults are in it, sensor faults and noise are not. A machine in good health
    has the clean values of the same plant with `faults=()`.
    """

    readings: Recording
    clean: Floats


@dataclass(slots=True, frozen=True)
class _Pumps:
    """What differs between pumps: (A, 1) each, the load cycles (A, K)."""

    load: NDArray[np.float64]
    frequency: NDArray[np.float64]
    phase: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    size: NDArray[np.float64]
    roughness: NDArray[np.float64]
    tank_phase: NDArray[np.float64]

    def only(self, assets: slice) -> "_Pumps":
        return _Pumps(*(getattr(self, field.name)[assets] for field in fields(self)))


@dataclass(slots=True)
class _State:
    """What a simulation keeps from chunk to chunk: the faults, and where each asset's random numbers are."""

    plant: Plant
    pumps: _Pumps
    names: list[str]
    faults: list[tuple[int, Fault]]
    noise: list[np.random.Generator]
    losses: list[np.random.Generator]

    def faults_within(self, begin_ns: int, end_ns: int) -> list[tuple[int, Fault]]:
        """(index of the asset, fault) of the faults that shape the values between these times."""
        tail_ns = int(_COOLING_S * 1e9)
        return [
            (asset, fault)
            for asset, fault in self.faults
            if fault.start_ns < end_ns and begin_ns < fault.end_ns + tail_ns
        ]


def generate(plant: Plant, chunk_readings: int = 262_144) -> Iterator[Simulated]:
    """All readings of a plant in chunks of about `chunk_readings`; the readings are the same for any size.

    Raises InvalidConfiguration where a setting is out of range.
    """
    state = _begin(checked(plant))
    at_once = max(1, chunk_readings // plant.assets)
    for first in range(0, plant.steps, at_once):
        yield _chunk(state, np.arange(first, min(first + at_once, plant.steps)))


def _begin(plant: Plant) -> _State:
    indices = range(plant.assets)
    index_of = {plant.asset_name(index): index for index in indices}
    return _State(
        plant=plant,
        pumps=_pumps(plant),
        names=list(index_of),
        faults=[(index_of[fault.asset], fault) for fault in fault_schedule(plant)],
        noise=[asset_random(plant, index, purpose=2) for index in indices],
        losses=[asset_random(plant, index, purpose=3) for index in indices] if plant.missing_share else [],
    )


def _pumps(plant: Plant) -> _Pumps:
    """Each pump's character, from its own random numbers."""
    K = len(_CYCLE_PERIOD_S)
    draws = np.stack([asset_random(plant, index, purpose=1).random(4 + 3 * K) for index in range(plant.assets)])
    load, size, roughness, tank_phase = np.split(draws[:, :4], 4, axis=1)
    period, amplitude, phase = np.split(draws[:, 4:], 3, axis=1)
    phase[:, 0] = 0.6 + 0.1 * phase[:, 0]  # the whole plant is busiest in the afternoon
    return _Pumps(
        load=0.62 + 0.1 * load,
        frequency=1 / (_CYCLE_PERIOD_S * (1 + _CYCLE_SPREAD * (2 * period - 1))),
        phase=phase,
        amplitude=_CYCLE_AMPLITUDE * (0.7 + 0.6 * amplitude),
        size=0.8 + 0.4 * size,
        roughness=1.2 + 0.8 * roughness,
        tank_phase=tank_phase,
    )


def _chunk(state: _State, steps: NDArray[np.int64]) -> Simulated:
    plant = state.plant
    A, T, C = plant.assets, len(steps), len(CHANNELS)
    ts = plant.start_ns + steps * plant.period_ns
    active = state.faults_within(int(ts[0]), int(ts[-1]) + 1)
    values, clean = np.empty((T, A, C), np.float32), np.empty((T, A, C), np.float32)
    labels = np.zeros((T, A), np.int8)
    tile = max(1, _TILE_READINGS // T)
    for begin in range(0, A, tile):
        assets = slice(begin, min(begin + tile, A))
        here = [(asset - begin, fault) for asset, fault in active if assets.start <= asset < assets.stop]
        true, measured = _tile(state, assets, ts, here)
        clean[:, assets], values[:, assets] = np.moveaxis(true, 1, 0), np.moveaxis(measured, 1, 0)
    for asset, fault in active:
        labels[(ts >= fault.start_ns) & (ts < fault.end_ns), asset] = 1
    readings = Recording(
        assets=state.names,
        asset=np.tile(np.arange(A, dtype=np.int32), T),
        ts=np.repeat(ts, A),
        channels=list(CHANNEL_NAMES),
        values=values.reshape(-1, C),
        labels=labels.reshape(-1),
    )
    return Simulated(readings, clean.reshape(-1, C))


def _tile(
    state: _State, assets: slice, ts: NDArray[np.int64], faults: list[tuple[int, Fault]]
) -> tuple[Floats, Floats]:
    """(A, T, C) each: what is true, and what the sensors measure; `faults` by place in the tile."""
    plant, pumps = state.plant, state.pumps.only(assets)
    true = _healthy(pumps, _seconds(plant, ts))
    noise = np.empty_like(true)
    for rows, random in zip(noise, state.noise[assets], strict=True):
        random.standard_normal(out=rows, dtype=np.float32)
    noise = noise @ (_NOISE_MIX * np.float32(plant.noise))
    for asset, fault in faults:
        _break_machine(true[asset], noise[asset], ts, fault)
    measured = np.add(true, noise, out=noise)
    for asset, fault in faults:
        _break_sensors(plant, pumps.only(slice(asset, asset + 1)), measured[asset], ts, fault)
    for rows, random in zip(measured, state.losses[assets], strict=False):  # none where nothing is lost
        rows[random.random(rows.shape, dtype=np.float32) < plant.missing_share] = np.nan
    return true, measured


# --------------------------------------------------------------------------------------------- the machine


def _seconds(plant: Plant, ts: NDArray[np.int64]) -> Seconds:
    """(T,) seconds since the midnight before the plant's start, so that the day's cycle is the clock's."""
    day_ns = 86_400_000_000_000
    return (ts - plant.start_ns // day_ns * day_ns) / 1e9


def _wave(turns: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Sine and cosine of an angle in turns; reduced in double, so that no length of time costs precision."""
    angle = ((turns - np.floor(turns)) * (2 * np.pi)).astype(np.float32)
    return np.sin(angle), np.cos(angle)


def _loads(pumps: _Pumps, seconds: Seconds) -> tuple[Floats, Floats, Floats]:
    """(A, T) each: the load, and as a bearing's and a motor's mass feel it, later and smoother."""
    loads = [np.repeat(pumps.load.astype(np.float32), len(seconds), axis=1) for _ in range(3)]
    for k in range(pumps.frequency.shape[1]):
        frequency, amplitude = pumps.frequency[:, k : k + 1], pumps.amplitude[:, k : k + 1]
        sine, cosine = _wave(frequency * seconds + pumps.phase[:, k : k + 1])
        for load, lag_s in zip(loads, (0.0, BEARING_LAG_S, MOTOR_LAG_S), strict=True):
            # A lag answers sin(wt) with (sin(wt) - w lag cos(wt)) / (1 + (w lag)^2) once it has settled.
            turning = 2 * np.pi * frequency * lag_s
            gain = (amplitude / (1 + turning**2)).astype(np.float32)
            load += gain * sine
            if lag_s:
                load -= (gain * turning).astype(np.float32) * cosine
    return loads[0], loads[1], loads[2]


def _healthy(pumps: _Pumps, seconds: Seconds) -> Floats:
    """What the channels of pumps in good health are at these times: (A, T, C)."""
    load, bearing_load, motor_load = _loads(pumps, seconds)
    valve, _ = _wave(seconds / _VALVE_PERIOD_S + 3 * pumps.tank_phase)
    tank, _ = _wave(seconds / _TANK_PERIOD_S + pumps.tank_phase)
    ambient = (20 - 5 * _wave(seconds / 86_400 + 0.2)[1]).astype(np.float32)
    size, roughness = pumps.size.astype(np.float32), pumps.roughness.astype(np.float32)
    speed = 0.55 + 0.45 * load  # of the rated speed
    open_valve = 1 + 0.05 * valve  # an opening valve gives more flow at less head
    flow = speed * open_valve
    head = speed**2 * (1.8 - 0.8 * open_valve)
    true = np.empty((*load.shape, len(CHANNELS)), np.float32)
    true[..., FLOW] = 100 * size * flow
    true[..., SUCTION] = 1.3 + 0.12 * tank - 0.25 * flow**2
    true[..., DISCHARGE] = true[..., SUCTION] + 6 * head
    true[..., CURRENT] = 60 * size * (0.25 + 0.75 * flow * head)
    true[..., SPEED] = 2950 * speed
    true[..., VIBRATION] = roughness * (0.5 + 0.5 * speed**2)
    true[..., BEARING] = ambient + 8 + 30 * (0.55 + 0.45 * bearing_load) ** 2
    true[..., MOTOR] = ambient + 12 + 45 * (0.55 + 0.45 * motor_load) ** 3
    return true


# ---------------------------------------------------------------------------------------------- the faults


def _break_machine(true: Floats, noise: Floats, ts: NDArray[np.int64], fault: Fault) -> None:
    """Have a fault change one asset's values and noise, (T, C) each, in place."""
    progress = _progress(ts, fault)
    if fault.kind == "bearing_wear":
        wear = (progress * fault.severity).astype(np.float32)
        true[:, VIBRATION] *= 1 + 3 * wear
        noise[:, VIBRATION] *= 1 + 2 * wear
        true[:, BEARING] += (20 * fault.severity * _warmth(ts, fault)).astype(np.float32)
    elif fault.kind == "cavitation":
        bubbles = (np.minimum(1, 10 * progress) * fault.severity).astype(np.float32)
        true[:, SUCTION] -= 0.35 * bubbles
        true[:, FLOW] *= 1 - 0.08 * bubbles
        true[:, DISCHARGE] *= 1 - 0.06 * bubbles
        true[:, VIBRATION] *= 1 + 0.8 * bubbles
        noise[:, [FLOW, SUCTION, DISCHARGE, VIBRATION]] *= 1 + 3 * bubbles[:, None]
    elif fault.kind == "leak":
        loss = (np.minimum(1, 3 * progress) * fault.severity).astype(np.float32)
        true[:, FLOW] *= 1 + 0.12 * loss
        true[:, DISCHARGE] *= 1 - 0.15 * loss
        true[:, CURRENT] *= 1 + 0.06 * loss


def _break_sensors(plant: Plant, pump: _Pumps, measured: Floats, ts: NDArray[np.int64], fault: Fault) -> None:
    """Have a fault change what one asset's sensors give, (T, C), in place."""
    during = (ts >= fault.start_ns) & (ts < fault.end_ns)
    for channel in map(CHANNEL_NAMES.index, fault.channels):
        if fault.kind == "stuck_sensor":
            at_start = _seconds(plant, np.array([fault.start_ns]))
            measured[during, channel] = _healthy(pump, at_start)[0, 0, channel]
        elif fault.kind == "drifting_sensor":
            drift = _progress(ts, fault) * fault.severity * _DRIFT[channel]
            measured[:, channel] += drift.astype(np.float32)
        elif fault.kind == "dead_sensor":
            measured[during, channel] = 0.0  # a dead transmitter gives no current, which reads as zero
        elif fault.kind == "silent_sensor":
            measured[during, channel] = np.nan
        elif fault.kind == "saturated_sensor":
            measured[during, channel] = _TOP[channel]
        elif fault.kind == "intermittent_sensor":
            lost = (ts // plant.period_ns * _SCATTER % 100) < _LOST_PERCENT  # of time alone, whatever the chunk
            measured[during & lost, channel] = np.nan


def _progress(ts: NDArray[np.int64], fault: Fault) -> NDArray[np.float64]:
    """(T,) from 0 at the fault's start to 1 at its end, and 0 where it is not."""
    share = (ts - fault.start_ns) / (fault.end_ns - fault.start_ns)
    return np.where((ts >= fault.start_ns) & (ts < fault.end_ns), share, 0.0)


def _warmth(ts: NDArray[np.int64], fault: Fault) -> NDArray[np.float64]:
    """(T,) the lag's answer to `_progress`: it rises late, and cools down after the repair."""
    length_s = (fault.end_ns - fault.start_ns) / 1e9
    since_start_s = np.clip((ts - fault.start_ns) / 1e9, 0, length_s)
    risen = (since_start_s - BEARING_LAG_S * -np.expm1(-since_start_s / BEARING_LAG_S)) / length_s
    cooling_s = np.maximum((ts - fault.end_ns) / 1e9, 0)
    return risen * np.exp(-cooling_s / BEARING_LAG_S)
