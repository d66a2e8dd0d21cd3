"""Older windows are read from the topic, found by the time that they carry."""

from collections.abc import Iterator

import numpy as np
import pytest

from dashboard.history import Effort, Wanted, joined, read_past
from dashboard.rings import Points
from monitor.config import Config
from tests.dashboard.plant import START_NS, STEP_NS, Publisher, own_topics, scores

ASSETS = ("pump-1", "pump-3")  # on the same partition


def at(window: int) -> int:
    """End of a window in ns."""
    return START_NS + window * STEP_NS


@pytest.fixture(scope="module")
def record(embedded_broker: str) -> Iterator[Publisher]:
    """Two assets on one partition, not quite in step, and what is no scores."""
    publisher = Publisher(embedded_broker, own_topics())
    publisher.create_topics()
    publisher.send_scores(*[scores(name, first, 20) for first in range(0, 2000, 20) for name in ASSETS])
    publisher.send_broken()
    publisher.send_scores(scores("pump-1", 2000, 20))
    yield publisher
    publisher.close()


def read(record: Publisher, first: int, last: int, asset: str = "pump-1", **more: int) -> Points | None:
    """Windows from one to another, from the partition of both assets."""
    config = Config(kafka={"bootstrap_servers": record.bootstrap}, topics=record.topics)
    partition = sum(asset.encode()) % record.partitions
    return read_past(config, partition, Wanted(asset, "pumps", at(first), at(last), **more)).points


@pytest.mark.parametrize(("first", "last"), [(0, 5), (777, 915), (1990, 2019), (1500, 1500)])
def test_a_range_of_time_is_found_whole_and_no_more(record: Publisher, first: int, last: int) -> None:
    found = read(record, first, last)
    assert found is not None
    np.testing.assert_array_equal(found.window_end, [at(k) for k in range(first, last + 1)])


def test_what_was_published_is_read_back(record: Publisher) -> None:
    found, sent = read(record, 40, 59), scores("pump-1", 40, 20)
    assert found is not None
    np.testing.assert_array_equal(found.score, sent.score)
    np.testing.assert_array_equal(found.expected, sent.expected)


@pytest.mark.parametrize(("first", "last"), [(-500, -100), (5000, 6000)])
def test_where_nothing_is_kept_nothing_is_found(record: Publisher, first: int, last: int) -> None:
    assert read(record, first, last) is None


def test_an_asset_of_another_name_is_not_found(record: Publisher) -> None:
    config = Config(kafka={"bootstrap_servers": record.bootstrap}, topics=record.topics)
    found = read_past(config, 0, Wanted("pump-2", "pumps", at(0), at(100)))
    assert (found.points, found.begins_ns) == (None, at(0))


def test_of_a_long_range_the_newest_windows_come(record: Publisher) -> None:
    found = read(record, 0, 1999, rows=100)
    assert found is not None
    np.testing.assert_array_equal(found.window_end, [at(k) for k in range(1900, 2000)])


def test_a_question_that_takes_too_much_is_cut_and_says_so(record: Publisher) -> None:
    config = Config(kafka={"bootstrap_servers": record.bootstrap}, topics=record.topics)
    partition = sum(b"pump-1") % record.partitions
    found = read_past(config, partition, Wanted("pump-1", "pumps", at(0), at(1999)), Effort(messages=50))
    assert found.cut
    assert found.points is not None
    assert found.points.window_end[0] == at(0)


def test_pieces_of_a_model_with_other_channels_have_no_place_beside_the_latest() -> None:
    def piece(first: int, channels: int) -> Points:
        ends = np.arange(first, first + 3, dtype=np.int64)
        values = ends.astype(np.float32)
        return Points(ends, values, values, values, np.zeros((3, channels), np.float32))

    version, points = joined([("1", piece(0, 4)), ("2", piece(5, 2)), ("2", piece(6, 2))], rows=100)
    assert version == "2"
    assert points is not None
    assert points.window_end.tolist() == [5, 6, 7, 8]
