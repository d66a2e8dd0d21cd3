"""The simulated plant: repeatable, physical, and broken exactly when its schedule says so."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from monitor.errors import InvalidConfiguration
from monitor.plant import CHANNEL_NAMES, FAULT_KINDS, Fault, Plant, fault_schedule, parse_plant
from monitor.recording import labelled_intervals
from monitor.simulate import BEARING_LAG_S, Simulated, _loads, _pumps, _seconds, generate

SECOND = 1_000_000_000
HEALTHY = Plant(assets=3, duration_s=7200, period_s=10, faults=())


def whole(plant: Plant, chunk_readings: int = 262_144) -> Simulated:
    chunks = list(generate(plant, chunk_readings))
    readings = chunks[0].readings
    for name in ("asset", "ts", "values", "labels"):
        setattr(readings, name, np.concatenate([getattr(chunk.readings, name) for chunk in chunks]))
    return Simulated(readings, np.concatenate([chunk.clean for chunk in chunks]))


def with_fault(kind: str, *channels: str, start_s: float = 1800, end_s: float = 5400) -> Plant:
    begin = HEALTHY.start_ns
    fault = Fault("pump-2", kind, begin + int(start_s * SECOND), begin + int(end_s * SECOND), channels)
    return replace(HEALTHY, faults=(fault,))


def leak(asset: str, start_ns: int, end_ns: int, channel: str = "flow") -> dict[str, Any]:
    return {"asset": asset, "kind": "leak", "start_ns": start_ns, "end_ns": end_ns, "channels": [channel]}


def of_asset(simulated: Simulated, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mine = simulated.readings.asset == index
    return simulated.readings.values[mine], simulated.clean[mine]


@settings(max_examples=15)
@given(chunk=st.integers(1, 700), assets=st.integers(1, 5), missing=st.sampled_from([0.0, 0.2]))
def test_the_size_of_the_chunks_changes_nothing(chunk: int, assets: int, missing: float) -> None:
    plant = Plant(
        assets=assets,
        duration_s=1000,
        period_s=7,
        healthy_s=0,
        fault_every_s=200,
        fault_duration_s=200,
        missing_share=missing,
    )
    at_once, in_parts = whole(plant), whole(plant, chunk)
    # NumPy's sine of an element depends on how many stand beside it, in the last bit
    np.testing.assert_allclose(at_once.readings.values, in_parts.readings.values, rtol=3e-7)
    np.testing.assert_array_equal(at_once.readings.labels, in_parts.readings.labels)
    np.testing.assert_array_equal(at_once.readings.ts, in_parts.readings.ts)
    np.testing.assert_allclose(at_once.clean, in_parts.clean, rtol=3e-7)


def test_a_pump_is_the_same_however_many_others_there_are() -> None:
    few = Plant(assets=2, duration_s=20_000, period_s=20, healthy_s=0, fault_every_s=3000)
    many = replace(few, assets=40)
    np.testing.assert_array_equal(of_asset(whole(few), 1)[0], of_asset(whole(many), 1)[0])
    faults = [fault for fault in fault_schedule(many) if fault.asset in ("pump-1", "pump-2")]
    assert faults == fault_schedule(few)
    assert faults


def test_another_seed_is_another_plant() -> None:
    assert not np.allclose(whole(HEALTHY).clean, whole(replace(HEALTHY, seed=1)).clean)


def test_readings_are_in_order_and_on_the_period() -> None:
    readings = whole(replace(HEALTHY, start=datetime(2026, 3, 1, 5, tzinfo=UTC))).readings
    assert readings.ts[0] == int(datetime(2026, 3, 1, 5, tzinfo=UTC).timestamp()) * SECOND
    assert set(np.diff(readings.ts).tolist()) == {0, 10 * SECOND}
    assert readings.assets == ["pump-1", "pump-2", "pump-3"]
    assert len(readings) == 3 * 720
    assert readings.values.shape == (3 * 720, 8)


def test_channels_move_together_as_a_pumps_do() -> None:
    clean = dict(zip(CHANNEL_NAMES, of_asset(whole(replace(HEALTHY, duration_s=86_400)), 0)[1].T, strict=True))
    for other, least in (("flow", 0.8), ("discharge_pressure", 0.8), ("motor_current", 0.9), ("vibration", 0.9)):
        assert np.corrcoef(clean["speed"], clean[other])[0, 1] > least
    assert np.corrcoef(clean["flow"], clean["suction_pressure"])[0, 1] < -0.2
    assert all((values > 0).all() for values in clean.values())


def test_a_bearing_warms_up_as_a_first_order_lag_of_the_load() -> None:
    """Against the lag worked out step by step; the start is forgotten after ten time constants."""
    plant = replace(HEALTHY, assets=1, duration_s=30_000, period_s=5)
    ts = plant.start_ns + np.arange(plant.steps) * plant.period_ns
    load, felt, _ = _loads(_pumps(plant), _seconds(plant, ts))
    slow, naive = float(load[0, 0]), []
    for value in load[0]:
        slow += (float(value) - slow) * (1 - np.exp(-5 / BEARING_LAG_S))
        naive.append(slow)
    np.testing.assert_allclose(felt[0, 2000:], naive[2000:], atol=1e-3)


def test_without_noise_the_sensors_tell_the_truth() -> None:
    simulated = whole(replace(with_fault("leak", "flow"), noise=0.0))
    np.testing.assert_array_equal(simulated.readings.values, simulated.clean)


def test_noise_has_the_size_that_each_channel_says_and_scales() -> None:
    def spread(noise: float) -> NDArray[np.float32]:
        simulated = whole(replace(HEALTHY, noise=noise))
        difference: NDArray[np.float32] = (simulated.readings.values - simulated.clean).std(axis=0)
        return difference

    np.testing.assert_allclose(spread(3.0), 3 * spread(1.0), rtol=1e-2)
    np.testing.assert_allclose(spread(1.0)[[0, 4, 6]], [0.85, 2.0, 0.15], rtol=0.1)


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        ("bearing_wear", {"vibration", "bearing_temperature"}),
        ("cavitation", {"suction_pressure", "vibration", "flow", "discharge_pressure"}),
        ("leak", {"discharge_pressure", "flow", "motor_current"}),
    ],
)
def test_a_machine_fault_shows_in_its_channels_of_its_asset_and_nowhere_else(kind: str, channels: set[str]) -> None:
    broken, healthy = whole(with_fault(kind, *channels)), whole(HEALTHY)
    change = np.abs(broken.clean - healthy.clean) / healthy.clean.std(axis=0)
    ill = broken.readings.labels == 1
    assert {CHANNEL_NAMES[c] for c in np.flatnonzero(change[ill].max(axis=0) > 0.5)} == channels
    assert change[broken.readings.asset != 1].max() == 0
    before = broken.readings.ts < broken.readings.ts[ill].min()
    assert change[before].max() == 0


def test_a_stuck_sensor_stays_at_what_it_measured_when_it_stuck() -> None:
    values, clean = of_asset(whole(with_fault("stuck_sensor", "motor_current")), 1)
    current = CHANNEL_NAMES.index("motor_current")
    assert set(values[180:540, current].tolist()) == {float(clean[180, current])}
    assert len(set(values[540:, current].tolist())) > 100


def test_a_dead_sensor_reads_zero_and_the_machine_goes_on() -> None:
    values, clean = of_asset(whole(with_fault("dead_sensor", "flow", "speed")), 1)
    assert not values[180:540, [0, 4]].any()
    assert clean[180:540, [0, 4]].all()
    assert values[:180].all()
    assert values[540:].all()


def test_a_silent_sensor_sends_nothing_and_an_intermittent_one_little() -> None:
    silent, _ = of_asset(whole(with_fault("silent_sensor", "flow")), 1)
    assert np.isnan(silent[180:540, 0]).all()
    assert not np.isnan(silent[:180]).any()
    assert not np.isnan(silent[540:]).any()
    lossy, _ = of_asset(whole(with_fault("intermittent_sensor", "flow"), 100), 1)
    assert np.isnan(lossy[180:540, 0]).mean() == pytest.approx(0.8, abs=0.02)
    assert not np.isnan(lossy[:, 1:]).any()


def test_a_saturated_sensor_reads_more_than_a_healthy_pump_ever_shows() -> None:
    values, clean = of_asset(whole(with_fault("saturated_sensor", *CHANNEL_NAMES)), 1)
    assert (values[180:540] == values[180]).all()
    assert (values[180] > 1.2 * clean.max(axis=0)).all()


def test_a_drifting_sensor_leaves_the_truth_slowly_and_comes_back_when_repaired() -> None:
    values, clean = of_asset(whole(with_fault("drifting_sensor", "motor_temperature")), 1)
    error = (values - clean)[:, CHANNEL_NAMES.index("motor_temperature")]
    assert abs(error[180:200].mean()) < 1
    assert error[500:540].mean() > 8
    assert abs(error[540:].mean()) < 0.2


def test_labels_are_the_schedule() -> None:
    plant = Plant(assets=4, duration_s=40_000, period_s=10, healthy_s=3600, fault_every_s=6000)
    intervals = labelled_intervals(whole(plant).readings)
    schedule = [(fault.asset, fault.start_ns, fault.end_ns) for fault in fault_schedule(plant)]
    assert len(intervals) == len(schedule) > 8
    for (asset, start, end), (known_asset, known_start, known_end) in zip(
        sorted(intervals), sorted(schedule), strict=True
    ):
        assert asset == known_asset
        assert 0 <= start - known_start < 10 * SECOND
        assert 0 <= end - known_end < 20 * SECOND


@given(
    seed=st.integers(0, 10**6),
    healthy_s=st.floats(0, 50_000),
    every_s=st.floats(100, 50_000),
    length_s=st.floats(1, 5000),
)
def test_no_fault_in_the_healthy_time_and_never_two_at_once(
    seed: int, healthy_s: float, every_s: float, length_s: float
) -> None:
    plant = Plant(
        seed=seed,
        assets=3,
        duration_s=40_000,
        healthy_s=healthy_s,
        fault_every_s=every_s,
        fault_duration_s=length_s,
    )
    ends: dict[str, int] = {}
    for fault in fault_schedule(plant):
        assert plant.start_ns + int(healthy_s * 1e9) <= fault.start_ns < fault.end_ns <= plant.end_ns
        assert ends.get(fault.asset, 0) <= fault.start_ns
        ends[fault.asset] = fault.end_ns


def test_every_kind_of_fault_comes_up() -> None:
    plant = Plant(assets=9, duration_s=86_400, fault_every_s=5000, fault_kinds=FAULT_KINDS)
    assert {fault.kind for fault in fault_schedule(plant)} == set(FAULT_KINDS)


def test_lost_values_are_missing_at_the_share_that_is_set() -> None:
    simulated = whole(replace(HEALTHY, missing_share=0.1))
    assert np.isnan(simulated.readings.values).mean() == pytest.approx(0.1, abs=0.01)
    assert not np.isnan(simulated.clean).any()


def test_ten_thousand_pumps_come_in_chunks_of_bounded_size() -> None:
    plant = Plant(assets=10_000, duration_s=86_400, period_s=60, faults=())
    first = next(generate(plant, chunk_readings=50_000))
    assert len(first.readings) == 50_000
    assert first.readings.values.nbytes + first.clean.nbytes == 2 * 50_000 * 8 * 4


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"assets": 0}, "assets"),
        ({"period_s": 0}, "period_s"),
        ({"speed": 3}, "speed"),
        ({"fault_kinds": ["rust"]}, "rust"),
        ({"fault_kinds": []}, "fault_kinds"),
        ({"start": "2026-01-01T00:00:00"}, "start"),
        ({"faults": [["pump-9", "leak", 1, 2, ["flow"]]]}, "faults"),
        ({"faults": [leak("pump-9", 1, 2)]}, "no such asset"),
        ({"faults": [leak("pump-1", 1, 2, "altitude")]}, "channels"),
        ({"faults": [leak("pump-1", 2, 2)]}, "ends before"),
        ({"faults": [leak("pump-1", 1, 5), leak("pump-1", 4, 9)]}, "starts before the one before"),
    ],
)
def test_a_wrong_setting_is_named(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidConfiguration, match=sentence):
        parse_plant(changed)


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(InvalidConfiguration, match="noise"):
        next(generate(Plant(noise=-1.0)))
