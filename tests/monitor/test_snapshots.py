"""Snapshots of open windows: what they give is what a refill gives; one that does not serve is told and not used."""

import resource
import time

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import snapshot
from monitor.config import parse
from monitor.rebuilt import Rebuilt
from monitor.snapshot import Origin
from monitor.snapshots import Snapshots
from monitor.state import Position
from tests.monitor.test_pipeline import WHERE, assembly, by_asset, configuration, feed, plants, scores_of, started

ORIGIN = Origin("t", "id", 0, "rules", {"d": "model"})


def windows(offset=7, assets=3):
    """What a partition might hold."""
    lines = np.arange(assets * 8, dtype=np.float32).reshape(assets, 4, 2)
    return Rebuilt(
        offset, 5, [([f"pump-{i} Ω" for i in range(assets)], {"values": lines, "held": lines[:, :, 0] > 3})]
    )


def assert_equal(found, wanted):
    assert (found.offset, found.stream) == (wanted.offset, wanted.stream)
    for (names, arrays), (wanted_names, wanted_arrays) in zip(found.detectors, wanted.detectors, strict=True):
        assert names == wanted_names
        assert list(arrays) == list(wanted_arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, wanted_arrays[name], strict=True)


def test_a_snapshot_comes_back_whole(tmp_path):
    for assets in (0, 1, 3):
        snapshot.write(tmp_path / "s", ORIGIN, windows(assets=assets))
        assert_equal(snapshot.read(tmp_path / "s", ORIGIN), windows(assets=assets))
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_or_truncated_file_is_no_snapshot(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("snapshots") / "s"
    snapshot.write(file, ORIGIN, windows())
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    other = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    file.write_bytes(
        data.draw(st.sampled_from([whole[:place], whole[:place] + other + whole[place + 1 :], whole + b"x"]))
    )
    with pytest.raises(ValueError, match=r"damaged|format"):
        snapshot.read(file, ORIGIN)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"topic": "u"}, "topic"),
        ({"topic_id": None}, "topic_id"),
        ({"partition": 1}, "partition"),
        ({"rules": "others"}, "rules"),
        ({"models": {"d": "another"}}, "models"),
    ],
)
def test_windows_of_anything_else_are_refused(tmp_path, changes, field):
    snapshot.write(tmp_path / "s", ORIGIN, windows())
    told = {name: getattr(ORIGIN, name) for name in Origin.__struct_fields__}
    with pytest.raises(ValueError, match=f"other {field}$"):
        snapshot.read(tmp_path / "s", Origin(**(told | changes)))


def test_a_disk_that_takes_no_more_leaves_the_old_snapshot_and_nothing_else(tmp_path):
    snapshot.write(tmp_path / "s", ORIGIN, windows())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            snapshot.write(tmp_path / "s", ORIGIN, windows(8, assets=1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_equal(snapshot.read(tmp_path / "s", ORIGIN), windows())
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_what_a_crash_left_half_written_is_replaced(tmp_path):
    snapshot.write(tmp_path / "s", ORIGIN, windows())
    (tmp_path / ".s").write_bytes((tmp_path / "s").read_bytes()[:50])
    assert_equal(snapshot.read(tmp_path / "s", ORIGIN), windows())
    snapshot.write(tmp_path / "s", ORIGIN, windows(8))
    assert_equal(snapshot.read(tmp_path / "s", ORIGIN), windows(8))
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def kept(folder, made=None, config=None):
    """Snapshots in a folder, and the log of what they tell."""
    config = config or parse(
        {"delivery": {"snapshots": str(folder)}, "detectors": [{"name": "d", "model": "m", "assets": ["pump-*"]}]}
    )
    log = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(None, processors=[log], wrapper_class=structlog.BoundLogger)  # of every level
    return Snapshots(config, made or assembly(config), logger, time.monotonic), log.entries


def saved(folder, readings=20):
    """A folder with a snapshot of one pump's windows at an offset."""
    made = started(assembly())
    feed(made, [wide_pump(second) for second in range(readings)])
    snapshots, _ = kept(folder, made)
    snapshots.save(made.pipeline.partitions, now=True)
    snapshots.close()
    return made.pipeline.partitions[WHERE].export()


def wide_pump(second):
    return b'{"asset": "pump-1", "ts": %d, "values": {"a": 0.2, "b": 0.6}}' % (1_767_225_600 + second)


@pytest.mark.parametrize("position", [Position(20, 20), Position(20, 0), Position(35, 20)])
def test_a_snapshot_serves_where_it_lies_between_the_low_offset_and_the_committed_one(tmp_path, position):
    windows = saved(tmp_path)
    snapshots, told = kept(tmp_path)
    assert_equal(snapshots.restore(WHERE, position, None), windows)
    assert told == []


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position(19, 0), "it is ahead of the committed position"),
        (Position(40, 21), "open windows need no reading that is so old"),
    ],
)
def test_a_snapshot_at_any_other_place_is_told_and_not_used(tmp_path, position, reason):
    saved(tmp_path)
    snapshots, told = kept(tmp_path)
    assert snapshots.restore(WHERE, position, None) is None
    assert [(entry["event"], entry["detail"]) for entry in told] == [("snapshot_ignored", reason)]


@pytest.mark.parametrize(
    ("change", "model"),
    [
        ({"input": {"allowed_lateness_s": 1}}, {}),
        ({"input": {"reset_after_s": 1000}}, {}),
        ({"detectors": [{"name": "d", "model": "m", "assets": ["pump-1"]}]}, {}),
        ({"delivery": {"group": "another"}}, {}),
        ({}, {"stride": 4}),
        ({}, {"version": "2"}),
    ],
)
def test_a_snapshot_of_other_rules_or_models_is_told_and_not_used(tmp_path, change, model):
    saved(tmp_path)
    document = {"detectors": [{"name": "d", "model": "m", "assets": ["pump-*"]}]} | change
    document["delivery"] = document.get("delivery", {}) | {"snapshots": str(tmp_path)}
    config = parse(document)
    snapshots, told = kept(tmp_path, assembly(config, **model), config)
    assert snapshots.restore(WHERE, Position(20, 0), None) is None
    assert told[0]["detail"] in ("it is of other rules", "it is of other models")


def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    made = started(assembly())
    feed(made, [wide_pump(0)])
    snapshots, told = kept(tmp_path / "file", made)
    snapshots.save(made.pipeline.partitions, now=True)
    snapshots.close()
    assert [entry["event"] for entry in told] == ["snapshot_failed"]


def test_a_partition_has_one_file_whatever_was_saved_before(tmp_path):
    for readings in (20, 30, 40):
        saved(tmp_path, readings)
    assert len(list(tmp_path.iterdir())) == 1


@settings(max_examples=200, deadline=None)
@given(plants(), st.data())
def test_windows_of_a_snapshot_are_those_of_a_refill(readings, data):
    """A run leaves a snapshot at one commit, goes on from another, and is restarted later without one."""
    config = configuration(on_delay_s=2, off_delay_s=4)
    place = st.integers(0, len(readings))
    kept, restart, later = sorted((data.draw(place), data.draw(place), data.draw(place)))
    clock_before, clock_after = data.draw(st.booleans()), data.draw(st.booleans())
    made = started(assembly(config))
    before = [feed(made, readings[:kept])[0]]
    if clock_before:
        before.append(made.pipeline.close_silent([WHERE]))
    rebuilt = made.pipeline.partitions[WHERE].export()
    if clock_after:
        before.append(made.pipeline.close_silent([WHERE]))
    before += [feed(made, readings[kept:restart], kept)[0]]

    def begin(outputs, upto, rebuilt=None):
        """A new process that takes over what these outputs left behind."""
        position = outputs[-1].positions[WHERE]
        state = {key: entry for output in outputs for _, key, entry in output.state}
        again = assembly(config)
        again.pipeline.assign(WHERE, position, list(state.items()), rebuilt)
        start = rebuilt.offset if rebuilt else position.low
        silent, _ = feed(again, readings[start:upto], start)
        assert (scores_of(silent), silent.transitions, silent.counts.readings) == ({}, [], 0)
        return again

    def rest(rebuilt=None):
        """What comes of all readings behind the restart."""
        again = begin(before, restart, rebuilt)
        outputs = [feed(again, readings[restart:later], restart)[0]]
        again = begin(before + outputs, later)
        outputs += [feed(again, readings[later:], later)[0], again.pipeline.close_silent([WHERE])]
        state = {key: entry for output in outputs for _, key, entry in output.state}
        streams = [output.positions[WHERE].stream for output in outputs]
        scores = [row for output in outputs for row in scores_of(output).items()]
        assert len(scores) == len(dict(scores)), "a window was scored twice"
        return dict(scores), by_asset(outputs), state, streams, [output.counts for output in outputs]

    assert rest(rebuilt) == rest()
