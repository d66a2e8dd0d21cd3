"""The live picture of the plant: what it takes, what it passes over, and what it forgets."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dashboard.book import Limits
from dashboard.live import Bounds, BrokenMessage, Plant, is_open
from dashboard.payload import incident as shown_incident
from dashboard.rings import Points, Series
from monitor.wire import decode_scores, encode_scores
from tests.dashboard.plant import START_NS, STEP_NS, incident, scores


def feed(plant: Plant, asset: str, first: int, count: int, **more: object) -> int:
    """Put windows of an asset into the picture as the topic would bring them."""
    taken = 0
    for message in encode_scores(scores(asset, first, count, **more)):  # type: ignore[arg-type]
        taken += plant.add_scores(decode_scores(message), arrived_s=float(first))
    return taken


def points(*ends: int, channels: int = 2) -> Points:
    """Windows with these ends, and their end as every other number."""
    values = np.array(ends, np.float32)
    return Points(np.array(ends, np.int64), values, values, values, np.repeat(values[:, None], channels, axis=1))


def test_windows_are_read_back_as_they_were_published() -> None:
    plant = Plant()
    feed(plant, "pump-1", 0, 30)
    sent, seen = scores("pump-1", 0, 30), plant.since("pump-1", "pumps")
    assert seen is not None
    assert seen.points.window_end.tolist() == sent.window_end.tolist()
    np.testing.assert_array_equal(seen.points.channel_scores, sent.channel_score)
    np.testing.assert_array_equal(seen.points.expected, sent.expected)
    assert (seen.model_version, seen.total) == ("7", 30)
    assert plant.newest_ns == START_NS + 29 * STEP_NS


def test_one_message_may_carry_many_assets() -> None:
    plant = Plant()
    tables = [decode_scores(encode_scores(scores(name, 0, 5))[0]) for name in ("a", "b")]
    assert plant.add_scores(pa.concat_tables(tables), 0.0) == 10
    assert sorted(plant.assets()) == ["a", "b"]


def test_a_message_that_comes_again_adds_nothing() -> None:
    plant = Plant()
    feed(plant, "pump-1", 0, 30)
    assert feed(plant, "pump-1", 10, 20) == 0
    assert feed(plant, "pump-1", 20, 20) == 10
    assert plant.windows == 40


def test_only_windows_after_the_cursor_travel() -> None:
    plant = Plant()
    feed(plant, "pump-1", 0, 30)
    before = plant.since("pump-1", "pumps")
    feed(plant, "pump-1", 30, 3)
    assert before is not None
    after = plant.since("pump-1", "pumps", before.total, before.epoch)
    assert after is not None
    assert len(after.points) == 3


def test_expected_values_are_none_where_they_are_not_published() -> None:
    plant = Plant()
    feed(plant, "pump-1", 0, 30, expected=False)
    seen = plant.since("pump-1", "pumps")
    assert seen is not None
    assert seen.points.seen is None
    assert seen.points.channel_scores.shape == (30, 8)


def test_a_model_with_other_channels_begins_a_new_epoch() -> None:
    plant = Plant()
    feed(plant, "pump-1", 0, 30)
    before = plant.since("pump-1", "pumps")
    feed(plant, "pump-1", 30, 5, channels=3)
    assert before is not None
    after = plant.since("pump-1", "pumps", before.total, before.epoch)
    assert after is not None
    assert after.epoch == before.epoch + 1
    assert after.points.channel_scores.shape == (5, 3)


def test_the_past_of_an_asset_is_bounded_by_rows() -> None:
    plant = Plant(Bounds(rows=500))
    for first in range(0, 2000, 100):
        feed(plant, "pump-1", first, 100)
    seen = plant.since("pump-1", "pumps")
    assert seen is not None
    assert (len(seen.points), seen.total) == (500, 2000)
    assert seen.points.window_end[0] == START_NS + 1500 * STEP_NS


def test_memory_stays_within_its_bound_with_many_assets() -> None:
    bounds = Bounds(memory_bytes=3 * 2**20)
    plant = Plant(bounds)
    for number in range(60):
        feed(plant, f"pump-{number}", 0, 1000)
    assert plant.nbytes() <= bounds.memory_bytes
    lengths = {name: len(g.points) for name in ("pump-0", "pump-59") if (g := plant.since(name, "pumps"))}
    assert min(lengths.values()) >= 120


def test_the_asset_that_was_silent_longest_goes_when_there_are_too_many() -> None:
    plant = Plant(Bounds(assets=3))
    for number in range(5):
        feed(plant, f"pump-{number}", number, 5)
    assert sorted(plant.assets()) == ["pump-2", "pump-3", "pump-4"]


def test_a_repeated_or_older_event_changes_nothing() -> None:
    plant = Plant()
    assert plant.add_event(incident("pump-1", 10, end=20, seq=2))
    assert not plant.add_event(incident("pump-1", 10, seq=1))
    assert not plant.add_event(incident("pump-1", 10, end=20, seq=2))
    assert [is_open(event) for event in plant.incidents("pump-1")] == [False]
    assert plant.revision == 1


@pytest.mark.parametrize("end", [None, 20])
def test_a_revised_incident_is_the_same_one_with_its_new_peak(end: int | None) -> None:
    plant = Plant()
    plant.add_event(incident("pump-1", 10))
    last = incident("pump-1", 10, end=end, seq=2)
    plant.add_event(last)
    revised = replace(last, seq=3, transition="revised", previous_state=last.state, peak=last.limit * 9)
    assert plant.add_event(revised)
    assert plant.incidents("pump-1") == [revised]
    assert is_open(revised) == (end is None)
    shown = shown_incident(plant.incidents("pump-1")[0])
    assert (shown["id"], shown["ratio"], shown["open"]) == (last.incident_id, 9.0, end is None)
    assert shown["end"] == (None if last.end is None else last.end.timestamp())
    assert not plant.add_event(last)


def test_past_incidents_are_forgotten_before_open_ones() -> None:
    plant = Plant(Bounds(book=Limits(incidents=2)))
    plant.add_event(incident("pump-1", 10))
    plant.add_event(incident("pump-2", 20, end=30, seq=2))
    plant.add_event(incident("pump-3", 40, end=50, seq=2))
    assert [event.asset for event in plant.incidents()] == ["pump-3", "pump-1"]


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"asset": ["a"]}),
        decode_scores(encode_scores(scores("a", 0, 1))[0]).set_column(2, "score", pa.array(["high"])),
        decode_scores(encode_scores(scores("a", 0, 2))[0]).set_column(
            5, "channel_scores", pa.array([[1.0], [1.0, 2.0]])
        ),
    ],
)
def test_a_table_that_is_no_scores_is_refused_whole(table: pa.Table) -> None:
    plant = Plant()
    with pytest.raises(BrokenMessage):
        plant.add_scores(table, 0.0)
    assert plant.assets() == []


@given(st.lists(st.lists(st.integers(1, 400), max_size=60), max_size=12), st.integers(1, 90))
def test_rings_hold_the_newest_windows_in_order_whatever_comes(batches: list[list[int]], limit: int) -> None:
    series, newest, kept = Series("a", "d"), 0, []
    for batch in batches:
        ends = sorted(set(batch))
        series.append(points(*ends), limit)
        kept += [end for end in ends if end > newest]
        newest = max([newest, *ends])
    held = series.since(0)
    assert series.total == len(kept)
    assert held.window_end.tolist() == kept[len(kept) - series.held :]
    assert held.channel_scores[:, 1].tolist() == held.window_end.tolist() if kept else series.held == 0
    assert series.held <= limit
    assert series.held >= min(len(kept), limit, 1)


def test_readers_and_the_writer_may_work_at_the_same_time() -> None:
    plant, wrong = Plant(Bounds(rows=200)), []

    def read() -> None:
        for _ in range(300):
            glimpse = plant.since("pump-1", "pumps")
            if glimpse and len(set(np.diff(glimpse.points.window_end))) > 1:
                wrong.append(glimpse)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for first in range(0, 1500, 50):
        feed(plant, "pump-1", first, 50)
    for reader in readers:
        reader.join()
    assert not wrong
