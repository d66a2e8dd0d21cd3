"""What training tells a model file of its sensors, and that broken ones of a simulated plant ring no alarm."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from monitor.assembly import assemble
from monitor.backtest import backtest
from monitor.config import parse
from monitor.datafiles import write_recording
from monitor.modelfile import Channel
from monitor.plant import CHANNEL_NAMES, Fault, Plant
from monitor.recording import Recording
from monitor.scoring import load_model
from monitor.simulate import generate
from training.arguments import FitArgs
from training.data import DataSet, History
from training.fit import fit
from training.sensors import longest_stretch, with_usual

SECOND = 1_000_000_000
PERIOD_S = 10.0
ON_DELAY_S = 400  # longer than it takes to see that a value does not change any more
FAULT_S, APART_S = 1800, 5400
FLOW, SPEED, CURRENT = "flow", "speed", "motor_current"
BROKEN = (
    ("stuck_sensor", SPEED, "flat"),
    ("dead_sensor", CURRENT, "stuck"),
    ("saturated_sensor", FLOW, "stuck"),
    ("silent_sensor", "vibration", "dead"),
    ("intermittent_sensor", "discharge_pressure", "dropping_out"),
)


def recorded(plant: Plant) -> list[Recording]:
    return [chunk.readings for chunk in generate(plant)]


def a_plant(**changes) -> Plant:
    return Plant(**({"assets": 1, "duration_s": 86_400, "period_s": PERIOD_S, "faults": ()} | changes))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_recording(folder / "train.parquet", recorded(a_plant()))
    args = FitArgs(files=(folder / "train.parquet",), name="pump", out=folder, family="ensemble", stride=4)
    return fit(args).model


def backtested(model: Path, out: Path, faults: list[Fault], **tables) -> dict[str, list[dict]]:
    """Sensor and incident events of a plant with these faults."""
    detector = {
        "name": "pumps",
        "model": "unused",
        "assets": ["*"],
        "alarm_budget_per_day": 1.0,
        "on_delay_s": ON_DELAY_S,
    }
    config = parse({"detectors": [detector], "sensors": {"fault_after": 2}} | tables)
    end_s = (max(fault.end_ns for fault in faults) - a_plant().start_ns) / SECOND + APART_S
    (recording,) = recorded(a_plant(faults=tuple(faults), duration_s=end_s, seed=0))
    backtest(config, assemble(config, {"pumps": load_model(model, "cpu")}), recording, out)
    return {
        name: [msgspec.json.decode(line) for line in (out / f"{name}.jsonl").read_bytes().splitlines()]
        for name in ("sensors", "incidents")
    }


def one_after_the_other(kinds) -> Iterator[Fault]:
    for number, (kind, channel, *_) in enumerate(kinds):
        start = a_plant().start_ns + (number + 1) * APART_S * SECOND
        yield Fault("pump-1", kind, start, start + FAULT_S * SECOND, (channel,))


def test_broken_sensors_are_told_by_what_they_are_and_ring_no_alarm(model: Path, tmp_path: Path) -> None:
    found = backtested(model, tmp_path, list(one_after_the_other(BROKEN)))
    assert found["incidents"] == []
    for _, channel, verdict in BROKEN:
        mine = [each["verdict"] for each in found["sensors"] if each["channel"] == channel]
        assert verdict in mine, (channel, mine)
        assert mine[-1] == "ok"
    assert {each["channel"] for each in found["sensors"]} == {channel for _, channel, _ in BROKEN}


def test_without_the_mask_the_same_sensors_ring(model: Path, tmp_path: Path) -> None:
    found = backtested(model, tmp_path, list(one_after_the_other(BROKEN)), sensors={"mask": False})
    assert sum(each["transition"] == "raised" for each in found["incidents"]) >= 2


def test_a_fault_of_the_machine_rings_beside_a_broken_sensor(model: Path, tmp_path: Path) -> None:
    start = a_plant().start_ns + APART_S * SECOND
    bubbles = Fault("pump-1", "cavitation", start, start + 2 * FAULT_S * SECOND, ("suction_pressure",), 2.0)
    (recording,) = recorded(a_plant(faults=(bubbles,), duration_s=3 * APART_S))
    bearing = CHANNEL_NAMES.index("bearing_temperature")
    recording.values[len(recording) // 4 :, bearing] = np.nan
    config = parse(
        {"detectors": [{"name": "pumps", "model": "unused", "assets": ["*"], "on_delay_s": ON_DELAY_S}]},
    )
    backtest(config, assemble(config, {"pumps": load_model(model, "cpu")}), recording, tmp_path)
    sensors, incidents = (
        [msgspec.json.decode(line) for line in (tmp_path / f"{name}.jsonl").read_bytes().splitlines()]
        for name in ("sensors", "incidents")
    )
    assert ("bearing_temperature", "dead") in {(each["channel"], each["verdict"]) for each in sensors}
    assert incidents[0]["transition"] == "raised"
    shares = {each["channel"]: each["share"] for each in incidents[0]["channels"]}
    assert next(iter(shares)) == "suction_pressure"
    assert shares.get("bearing_temperature", 0.0) == 0.0


def test_the_model_file_knows_how_still_its_channels_stand_and_what_is_usually_missing(model: Path) -> None:
    channels = load_model(model, "cpu").metadata.channels
    assert [channel.missing for channel in channels] == [0.0] * 8
    assert all(channel.flat_s is not None and channel.flat_s <= 2 * PERIOD_S for channel in channels)


def test_a_stretch_of_one_value_goes_over_gaps_but_not_over_long_silence() -> None:
    values = np.array([1, 1, np.nan, 1, 2, 3, 3, 3, 3], np.float32)
    assert longest_stretch(np.arange(9), values, 16) == 3
    assert longest_stretch(np.array([0, 1, 2, 3, 4, 5, 6, 90, 91]), values, 16) == 3
    assert longest_stretch(np.array([0, 1, 2, 3, 4, 5, 6, 90, 91]), values, 100) == 86
    assert longest_stretch(np.arange(2), np.full(2, np.nan, np.float32), 16) == 0


def test_of_several_assets_the_one_with_most_counts_and_empty_readings_do_not() -> None:
    def history(asset: str, *rows: list[float]) -> History:
        ts = np.arange(len(rows), dtype=np.int64) * SECOND
        return History(asset, ts, np.array(rows, np.float32))

    nan = float("nan")
    one = history("a", [1, 1], [1, 2], [1, 3], [nan, nan])
    other = history("b", [1, 1], [2, nan], [3, nan], [4, 2])
    data = DataSet(("x", "y"), (one, other), "")
    found = with_usual((Channel("y", low=1.0), Channel("x")), data, 1000, 16)
    assert found == (Channel("y", low=1.0, flat_s=0.0, missing=0.5), Channel("x", flat_s=2.0, missing=0.0))
