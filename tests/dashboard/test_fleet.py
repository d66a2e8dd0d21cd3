"""What the fleet page says of an asset, and which one stands first."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from dashboard.asset_stream import AssetStream
from dashboard.fleet import State, judge
from dashboard.fleet_stream import SPARK_POINTS, FleetStream
from dashboard.live import Plant
from dashboard.names import ChannelNames
from monitor.events import SensorEvent
from monitor.wire import decode_scores, encode_scores
from tests.dashboard.plant import incident, moment, scores

NOW_S = 60.0


@pytest.fixture
def plant() -> Plant:
    """Six assets: two with open incidents, one over its limit, one silent, one that was high, one calm."""
    plant = Plant()
    quiet = {"calm": 0.0, "was-high": 0.0, "alarm": 3.0, "worst": 6.0, "over": 1.5}
    for asset, peak in quiet.items():
        add(plant, asset, 0, 150)
        if asset == "was-high":
            add(plant, asset, 150, 20, peak=0.9)
            add(plant, asset, 170, 30)
        else:
            add(plant, asset, 150, 50, peak=peak)
    add(plant, "silent", 0, 150)
    plant.add_event(incident("alarm", 151, peak=3.0))
    plant.add_event(incident("worst", 152, peak=6.0))
    plant.add_event(incident("calm", 100, end=110, seq=2))
    return plant


def add(plant: Plant, asset: str, first: int, count: int, peak: float = 0.0) -> None:
    """Put windows of an asset into the picture."""
    for message in encode_scores(scores(asset, first, count, peak=peak)):
        plant.add_scores(decode_scores(message), 0.0)


def fleet(plant: Plant) -> FleetStream:
    """A stream of a plant without labels."""
    return FleetStream(plant, lambda asset: {"site": "north"} if asset == "calm" else {})


def shown(plant: Plant, now_s: float = NOW_S) -> list[dict[str, Any]]:
    """Tiles in their order, as a viewer who comes now gets them."""
    stream = fleet(plant)
    stream.step(now_s)
    whole = stream.whole()
    by_number = {tile["i"]: tile for tile in whole["tiles"]}
    return [by_number[number] for number in whole["order"]]


def test_open_incidents_stand_first_then_what_is_least_likely(plant: Plant) -> None:
    tiles = shown(plant)
    assert [tile["asset"] for tile in tiles] == ["worst", "alarm", "over", "silent", "was-high", "calm"]
    assert [tile["word"] for tile in tiles][:4] == ["Alarm", "Alarm", "Over limit", "Stale"]


def test_unacknowledged_alarms_stand_by_priority_before_all_others(plant: Plant) -> None:
    raised = incident("alarm", 151, peak=3.0)
    plant.add_event(replace(raised, seq=2, priority="high", transition="escalated"))
    worst = incident("worst", 152, peak=6.0)
    plant.add_event(replace(worst, seq=2, state="acknowledged", transition="acknowledged"))
    plant.add_event(replace(incident("over", 160, end=170, seq=2), state="returned", priority="high"))
    assert [(t["asset"], t["state"]) for t in shown(plant)][:3] == [
        ("alarm", "unacknowledged"),
        ("worst", "acknowledged"),
        ("over", "returned"),
    ]


@pytest.mark.parametrize("state", ["shelved", "suppressed", "out_of_service"])
def test_what_is_hidden_on_purpose_stands_before_normal_only(plant: Plant, state: str) -> None:
    until = moment(0) + timedelta(hours=1)
    plant.add_event(replace(incident("worst", 152, peak=6.0), seq=2, state=state, active=True, until=until))
    tiles = shown(plant)
    assert [tile["asset"] for tile in tiles] == ["alarm", "over", "silent", "worst", "was-high", "calm"]
    hidden = tiles[3]
    assert (hidden["state"], hidden["active"], hidden["until"]) == (state, True, until.timestamp())


def test_a_revised_peak_puts_its_alarm_in_another_place_and_reopens_no_other(plant: Plant) -> None:
    for event in plant.incidents():
        lower = {"peak": event.limit * 1.1, "peak_p_value": 0.01} if event.asset == "worst" else {}
        plant.add_event(replace(event, seq=event.seq + 1, transition="revised", previous_state=event.state, **lower))
    assert [tile["asset"] for tile in shown(plant) if tile["word"] == "Alarm"] == ["alarm", "worst"]


def test_an_asset_is_stale_when_the_plant_has_gone_on_without_it(plant: Plant) -> None:
    silent = next(tile for tile in shown(plant) if tile["asset"] == "silent")
    assert silent["stale"]
    assert plant.newest_ns / 1e9 - silent["newest"] == 50 * 8


def test_an_asset_that_is_only_read_later_is_not_stale(plant: Plant) -> None:
    assert not any(tile["stale"] for tile in shown(plant, now_s=1.0))


def test_an_alarm_is_told_before_staleness_and_staleness_before_the_last_score() -> None:
    raised = incident("a", 10)
    assert judge(raised, 0.1, stale=True) is State.UNACKNOWLEDGED
    assert judge(replace(raised, state="shelved"), 0.1, stale=True) is State.STALE
    assert judge(replace(raised, state="shelved"), 9.0, stale=False) is State.SHELVED
    assert judge(None, 9.0, stale=True) is State.STALE
    assert judge(None, 9.0, stale=False) is State.OVER
    assert judge(None, 0.9, stale=False) is State.NORMAL
    assert judge(replace(raised, state="unheard of", active=True), 0.1, stale=False) is State.UNACKNOWLEDGED


def test_sensor_faults_are_on_the_tile_until_they_are_over(plant: Plant) -> None:
    fault = SensorEvent(
        "s1", 1, "calm", "pumps", "pressure 1", "stuck", "ok", moment(180), moment(190), "tocsin.readings", 0
    )
    plant.add_event(fault)
    calm = next(tile for tile in shown(plant) if tile["asset"] == "calm")
    assert (calm["faults"], calm["faulty"], calm["site"]) == ([["pressure 1", "stuck"]], 1, "north")
    plant.add_event(replace(fault, seq=2, verdict="ok", previous="stuck"))
    assert not any(tile["faulty"] for tile in shown(plant))


def test_a_tile_gets_its_past_once_and_then_only_what_is_new(plant: Plant) -> None:
    stream = fleet(plant)
    stream.step(NOW_S)
    assert {len(tile["spark"]) for tile in stream.whole()["tiles"]} == {SPARK_POINTS}
    add(plant, "calm", 200, 2)
    changed = stream.step(NOW_S)
    assert {len(tile["spark"]) for tile in changed["tiles"] if "spark" in tile} == {2}
    assert "site" not in changed["tiles"][0]
    assert stream.step(NOW_S) == {"tiles": []}


def test_what_changed_and_the_whole_picture_are_the_same_picture(plant: Plant) -> None:
    stream = fleet(plant)
    stream.step(NOW_S)
    kept = {tile["i"]: dict(tile) for tile in stream.whole()["tiles"]}
    add(plant, "calm", 200, 40, peak=5)
    plant.add_event(incident("calm", 210, peak=5.0))
    for change in stream.step(NOW_S)["tiles"]:
        spark = kept[change["i"]]["spark"] + change.pop("spark", [])
        kept[change["i"]] |= change | {"spark": spark[-SPARK_POINTS:]}
    assert kept == {tile["i"]: tile for tile in stream.whole()["tiles"]}


def asset(plant: Plant, name: str, detector: str = "") -> AssetStream:
    """A stream of one asset."""
    return AssetStream(plant, ChannelNames(()), name, detector)


def test_an_asset_gets_its_past_once_and_then_only_what_is_new(plant: Plant) -> None:
    stream = asset(plant, "calm")
    first = stream.step(NOW_S)
    add(plant, "calm", 200, 2)
    second = stream.step(NOW_S)
    assert (first["columns"]["n"], second["columns"]["n"]) == (200, 2)
    assert first["channels"][0] == {"name": "channel 1", "unit": ""}
    assert not {"channels", "incidents", "assets", "reset"} & second.keys()


def test_a_page_that_missed_something_gets_everything_up_to_the_last_step(plant: Plant) -> None:
    stream = asset(plant, "calm")
    stream.step(NOW_S)
    add(plant, "calm", 200, 2)
    again = stream.whole()
    assert again["columns"]["n"] == 200
    assert {"channels", "incidents", "assets"} <= again.keys()
    assert stream.step(NOW_S)["columns"]["n"] == 2


def test_a_model_with_other_channels_resets_the_columns(plant: Plant) -> None:
    stream = asset(plant, "calm")
    stream.step(NOW_S)
    for message in encode_scores(scores("calm", 200, 5, channels=3)):
        plant.add_scores(decode_scores(message), 0.0)
    changed = stream.step(NOW_S)
    assert (changed["reset"], changed["columns"]["n"], len(changed["channels"])) == (True, 5, 3)


def test_an_asset_that_nobody_has_scored_is_shown_as_waiting() -> None:
    stream = asset(Plant(), "ghost")
    assert stream.step(0.0)["assets"] == ["ghost"]
    assert "columns" not in stream.whole()
