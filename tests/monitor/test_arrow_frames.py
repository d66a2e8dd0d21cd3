"""Arrow messages framed as one before them give what the same messages give where no frame is known."""

import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import arrow_frames
from monitor.columns import join
from monitor.records import JSON
from tests.monitor.test_records_together import (
    ARROW,
    T0,
    arrow,
    decoder,
    letters,
    messages,
    narrow,
    outcome,
    rows,
    shared,
    text,
)

TEXT, TIME = pa.string(), pa.timestamp("ns", "UTC")
ASSETS = ["pump-1", "pump-2", "fan-1", "fan-2", "valve-1"]


def floats(values, kind=None):
    return pa.array(values, kind or pa.float32())


def several(*assets, ts=None, asset=TEXT, time=TIME, **columns):
    """A message of one record batch with columns of 32-bit values, three rows at most."""
    count = len(assets)
    stamps = pa.array(np.arange(T0, T0 + count) if ts is None else ts, pa.int64())
    stamps = stamps.cast(pa.timestamp("ms", "UTC")).cast(time) if pa.types.is_timestamp(time) else stamps.cast(time)
    return arrow(asset=pa.array(assets, asset), ts=stamps, **columns)


def knowing():
    """A decoder that has seen the assets, but no frame."""
    found = decoder()
    found.decode(messages([text(asset, values={"a": 1, "b": 1, "c d": 1, "é": 1}) for asset in ASSETS], [JSON] * 5))
    return found


def in_place(reader, value):
    return reader._arrow._frames.find(value, 0) is not None


def check(first, *then):
    """Messages after the first give what they give one by one where no frame is learnt; which frames are known."""
    taught, untaught = knowing(), knowing()
    untaught._arrow._frames.learn = lambda value, table, body: None
    for reader in (taught, untaught):
        reader.decode(messages([first[1]], [ARROW]))
    found = [in_place(taught, value) for _, value in then]
    together = taught.decode(messages([value for _, value in then], [ARROW] * len(then)))
    alone = [untaught.decode(messages([value], [ARROW], place)) for place, (_, value) in enumerate(then)]
    assert outcome(together) == outcome(join(alone))
    assert letters(together, 0) == [letter for place, each in enumerate(alone) for letter in letters(each, place)]
    assert taught.assets.names == untaught.assets.names
    return found


A, B = floats([1.0, 2.0, None]).fill_null(5.0), floats([4.0, 5.0, 6.0], pa.float64())
PUMPS = ("pump-1", "pump-2", "pump-1")
SAME_FRAME = {
    "wide": ((*PUMPS,), {"a": A, "b": B}),
    "in another order": ((*PUMPS,), {"b": A, "a": A}),
    "an absent channel": ((*PUMPS,), {"b": B}),
    "extra values": ((*PUMPS,), {"z": floats([1, 2, 3], pa.int8()), "a": A, "y": B}),
    "extra columns of other types": ((*PUMPS,), {"a": A, "mode": ["x", "yy", "z"], "on": [True, False, True]}),
    "three channels": (("fan-1", "fan-1", "fan-2"), {"b": A, "c d": A, "é": A}),
    "two routes": (("pump-1", "fan-1", "pump-2"), {"a": A, "z": A, "b": B}),
    "somebody's and nobody's": (("valve-1", "pump-1", "fan-1"), {"b": B, "a": A}),
    "nobody's": (("valve-1", "valve-1", "valve-1"), {"b": B, "z": A}),
    "large texts": ((*PUMPS,), {"asset": pa.large_string(), "a": A}),
    "times as integers": ((*PUMPS,), {"time": pa.int64(), "a": A}),
    "times in seconds": ((*PUMPS,), {"time": pa.timestamp("s", "UTC"), "ts": [T0 // 1000 * 1000] * 3, "a": A}),
}


@pytest.mark.parametrize("name", SAME_FRAME)
def test_message_of_a_known_frame_is_read_in_place(name):
    assets, columns = SAME_FRAME[name]
    message = several(*assets, **columns)
    turned = several(assets[2], assets[1], assets[0], **columns)
    assert check(message, message, turned, message, turned) == [True] * 4


NOT_IN_PLACE = {
    "null": several(*PUMPS, a=floats([1.0, None, 2.0])),
    "integers": several(*PUMPS, a=floats([1, 2, 3], pa.int64())),
    "16 bits": several(*PUMPS, a=floats(np.float16([1, 2, 3]), pa.float16())),
    "booleans": several(*PUMPS, a=floats([True, False, True], pa.bool_())),
    "no channel": several(*PUMPS, z=A),
    "no channel of one of two routes": several("pump-1", "fan-1", "pump-1", a=A),
    "several batches": rows(0, "pump-1", "pump-2", "pump-1", "pump-2"),
    "no rows": rows(0),
    "compressed": arrow("lz4", asset=PUMPS, ts=np.arange(T0, T0 + 3), a=A),
    "dictionary": shared(0, *PUMPS),
    "narrow": narrow(0, *PUMPS),
    "nested": several(*PUMPS, a=A, shape=[[1], [2], [3]]),
    "small times": arrow(asset=PUMPS, ts=floats([1, 2, 3], pa.int32()), a=A),
}


@pytest.mark.parametrize("name", NOT_IN_PLACE)
def test_message_that_is_more_than_its_buffers_is_not_read_in_place(name):
    message = NOT_IN_PLACE[name]
    assert check(message, message, message) == [False] * 2


UNUSUAL = {
    "infinite": {"a": floats([1.0, -np.inf, 2.0])},
    "too large": {"b": floats([1.0, 1e300, 2.0], pa.float64())},
    "not a number": {"a": floats([np.nan] * 3)},
    "too old": {"ts": [T0, T0, 5]},
    "far ahead": {"ts": [T0, T0 + 10**7, T0]},
    "before 1970": {"ts": [-1, T0, T0]},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_bad_rows_within_a_known_frame_are_dead_letters_and_their_neighbours_are_not(name):
    usual, bad = several(*PUMPS, a=A, b=B), several(*PUMPS, **{"a": A, "b": B} | UNUSUAL[name])
    assert check(usual, bad, usual, usual, bad, bad, usual) == [True] * 6


def test_bad_assets_within_a_known_frame_are_dead_letters():
    usual = several(*PUMPS, a=A)
    letters_of_other_sizes = several("", "pump-1p", "ump-2pump", a=A)
    foreign = several("pump-1", "pump-9", "pump-1", a=A)
    broken = (ARROW, usual[1].replace(b"pump-1pump-2", b"pump-1\xff\xff\xff\xff\xff\xff"))
    assert check(usual, letters_of_other_sizes, foreign, broken, usual) == [False, False, False, True]


def test_broken_text_in_a_column_that_is_not_read_is_found_within_a_known_frame():
    usual = several(*PUMPS, a=A, mode=["auto", "hand", "auto"])
    broken = (ARROW, usual[1].replace(b"autohand", b"auto\xff\xff\xff\xff"))
    assert check(usual, usual, broken, usual) == [True, False, True]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_message_gives_the_same_whether_its_frame_is_known_or_not(data):
    assets, columns = SAME_FRAME[data.draw(st.sampled_from(list(SAME_FRAME)))]
    usual = several(*assets, **columns)
    damaged = bytearray(usual[1])
    for _ in range(data.draw(st.integers(1, 4))):
        near_the_end = data.draw(st.booleans())  # where the buffers are
        place = data.draw(st.integers(1, 200 if near_the_end else len(damaged) - 1))
        damaged[-place if near_the_end else place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    check(usual, usual, (ARROW, bytes(damaged)), usual)


def test_message_with_the_same_head_and_another_end_takes_the_place_of_the_one_before_it():
    usual = several(*PUMPS, a=A)
    longer, shorter = (ARROW, usual[1] + b"rest"), (ARROW, usual[1][:-8])
    for first, then in [(usual, longer), (longer, usual), (usual, shorter), (shorter, usual)]:
        assert check(first, then) == [False]
        reader = knowing()
        reader.decode(messages([first[1], then[1]], [ARROW] * 2))
        assert in_place(reader, then[1])


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(arrow_frames, "_FRAMES_BYTES", 50_000)
    reader = decoder()
    for count in range(1, 300):
        names = [f"pump-{i}" for i in range(count)]
        message = arrow_once(names)
        for _ in range(2):
            assert len(reader.decode(messages([message], [ARROW])).ts) == count
    frames = reader._arrow._frames
    assert 0 < sum(map(len, frames._frames)) <= 50_000
    assert 0 < len(frames._sequences) <= 32


def arrow_once(names):
    batch = pa.record_batch({"asset": names, "ts": np.arange(T0, T0 + len(names)), "a": np.ones(len(names))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("first", [0, 1])
def test_equal_buffers_of_fewer_rows_are_read_as_so_many(first):
    _, whole = several(*PUMPS, a=A, b=B)
    frame = list(pa.ipc.MessageReader.open_stream(whole))[1].metadata.to_pybytes()
    assert frame.count(struct.pack("<q", 3)) > 2  # of the batch and of its columns, no buffer's length among them
    shorter = whole.replace(frame, frame.replace(struct.pack("<q", 3), struct.pack("<q", 2)))
    reader, fresh = knowing(), knowing()
    pair = [whole, shorter]
    for value in (pair[first], pair[1 - first]) * 3:
        read = reader.decode(messages([value], [ARROW]))
        assert outcome(read) == outcome(fresh.decode(messages([value], [ARROW])))
        fresh = knowing()
