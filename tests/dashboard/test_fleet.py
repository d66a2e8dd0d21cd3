"""What the fleet page says of an asset, and which one stands first."""

import pytest
from msgspec.structs import replace

from dashboard.feed import Status
from dashboard.fleet import State, judge, tiles
from dashboard.live import Plant
from dashboard.names import ChannelNames
from dashboard.payload import SPARK_POINTS, Sent, asset_payload, fleet_payload
from monitor.wire import decode_scores, encode_scores
from tests.dashboard.plant import incident, scores

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


def test_open_incidents_stand_first_then_what_is_least_likely(plant: Plant) -> None:
    ordered = tiles(plant.fleet(SPARK_POINTS), plant.incidents(), plant.newest_ns, NOW_S)
    assert [tile.asset for tile in ordered] == ["worst", "alarm", "over", "silent", "was-high", "calm"]
    assert [tile.state for tile in ordered][:4] == [State.ALARM, State.ALARM, State.OVER, State.STALE]


def test_a_revised_peak_puts_its_alarm_in_another_place_and_reopens_no_other(plant: Plant) -> None:
    for event in plant.incidents():
        lower = {"peak": event.limit * 1.1, "peak_p_value": 0.01} if event.asset == "worst" else {}
        plant.add_event(replace(event, seq=event.seq + 1, transition="revised", previous_state=event.state, **lower))
    ordered = tiles(plant.fleet(SPARK_POINTS), plant.incidents(), plant.newest_ns, NOW_S)
    assert [tile.asset for tile in ordered if tile.incident] == ["alarm", "worst"]


def test_an_asset_is_stale_when_the_plant_has_gone_on_without_it(plant: Plant) -> None:
    silent = next(t for t in tiles(plant.fleet(120), [], plant.newest_ns, NOW_S) if t.asset == "silent")
    assert silent.age_s == 50 * 8


def test_an_asset_that_is_only_read_later_is_not_stale(plant: Plant) -> None:
    just_read = tiles(plant.fleet(120), [], plant.newest_ns, now_s=1.0)
    assert State.STALE not in {tile.state for tile in just_read}


def test_an_alarm_is_told_before_staleness_and_staleness_before_the_last_score() -> None:
    assert judge(True, 0.1, stale=True) is State.ALARM
    assert judge(False, 9.0, stale=True) is State.STALE
    assert judge(False, 9.0, stale=False) is State.OVER
    assert judge(False, 0.9, stale=False) is State.NORMAL


def test_a_tile_gets_its_past_once_and_then_only_what_is_new(plant: Plant) -> None:
    sent = Sent()
    first = fleet_payload(plant, Status(), sent, 0.0)
    add(plant, "calm", 200, 2)
    second = fleet_payload(plant, Status(), sent, 0.0)
    assert {len(tile["spark"]) for tile in first["tiles"]} == {SPARK_POINTS}
    assert {tile["asset"]: len(tile["spark"]) for tile in second["tiles"] if tile["spark"]} == {"calm": 2}
    assert (first["base"], second["base"], second["seq"]) == (None, 1, 2)


def test_an_asset_gets_its_past_once_and_then_only_what_is_new(plant: Plant) -> None:
    sent, names = Sent(), ChannelNames(())
    first = asset_payload(plant, names, Status(), sent, "calm", "pumps", 0.0)
    add(plant, "calm", 200, 2)
    second = asset_payload(plant, names, Status(), sent, "calm", "pumps", 0.0)
    assert (first["columns"]["n"], second["columns"]["n"]) == (200, 2)
    assert first["channels"][0] == {"name": "channel 1", "unit": ""}
    assert not {"channels", "incidents", "assets"} & second.keys()


def test_a_page_that_missed_something_gets_everything_again(plant: Plant) -> None:
    sent, names = Sent(), ChannelNames(())
    asset_payload(plant, names, Status(), sent, "calm", "pumps", 0.0)
    sent.forget()
    again = asset_payload(plant, names, Status(), sent, "calm", "pumps", 0.0)
    assert (again["base"], again["columns"]["n"]) == (None, 200)
    assert {"channels", "incidents", "assets"} <= again.keys()


def test_an_asset_that_nobody_has_scored_is_shown_as_waiting() -> None:
    payload = asset_payload(Plant(), ChannelNames(()), Status(), Sent(), "ghost", "", 0.0)
    assert payload["assets"] == ("ghost",)
    assert "columns" not in payload
