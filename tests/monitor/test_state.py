"""What is kept for a restart: positions with their metadata, entries of the state topic, and what strangers wrote."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alarms import AlarmState
from monitor.events import Contribution
from monitor.incidents import Height, Incident, Window
from monitor.state import (
    MAX_CLOSES,
    Close,
    Position,
    StateEntry,
    StateKey,
    decode_entry,
    decode_key,
    decode_position,
    encode_entry,
    encode_key,
    encode_metadata,
)

OFFSET = st.integers(0, 2**63 - 1)
DEEP = '{"x": ' * 100_000


@given(
    OFFSET,
    OFFSET,
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.one_of(st.none(), st.text(max_size=100)),
    OFFSET,
)
def test_position_comes_back_from_its_metadata(offset, low, stream, topic_id, entries):
    position = Position(offset, min(low, offset), stream, topic_id, entries)
    metadata = encode_metadata(position)
    assert decode_position(offset, metadata) == position
    assert len(metadata.encode()) < 4096


def test_metadata_from_before_topic_ids_is_still_read():
    assert decode_position(9, '{"v":1,"low":4,"stream":5}') == Position(9, 4, 5)


def test_low_offset_is_never_behind_the_position():
    assert decode_position(5, encode_metadata(Position(9, 9))) == Position(5, 5)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{}",
        "null",
        "hello",
        "[1]",
        '{"v":1}',
        '{"v":2,"low":3}',
        '{"v":1,"low":-1}',
        '{"v":1,"low":"3"}',
        f'{{"v":1,"low":{10**30}}}',
        f'{{"v":1,"low":3,"stream":{10**30}}}',
        DEEP,
        '{"v":1,"low":3',
    ],
    ids=lambda text: text[:30],
)
def test_metadata_that_cannot_be_read_needs_nothing_before_the_position(metadata):
    assert decode_position(7, metadata) == Position(7, 7)


def test_metadata_may_say_more_than_this_version_knows():
    text = '{"v":1,"low":3,"stream":null,"cmd":5,"topic_id":"x","of":"a later one"}'
    assert decode_position(7, text) == Position(7, 3, None, "x", cmd=5)


def test_key_is_a_json_array_and_comes_back():
    key = StateKey("t", 'pump "1" Ω', "d")
    assert json.loads(encode_key(key)) == ["t", 'pump "1" Ω', "d"]
    assert decode_key(encode_key(key)) == key


def test_entry_comes_back_whole():
    window = Window(10, 1.5, 1e-30, "3")
    incident = Incident(5, 10, window, (Contribution("a", 0.5, None, 1.0, "bar"), Contribution("b", 0.5)), 2)
    closes = tuple(Close(i, 2**31 - 1, -i, i % 2 == 0) for i in range(MAX_CLOSES))
    heights = (Height(window, 2**62, (Contribution("a", 0.5),)), Height(window))
    revised = Incident(0, 5, window, (), 3, heights, 60 * 10**9)
    alarms = (
        AlarmState(),
        AlarmState("unacknowledged", 3, 1, 10, incident),
        AlarmState(upto=10, past=(revised, incident), revised_to=2**62),
    )
    for alarm in alarms:
        entry = StateEntry(1, alarm, closes)
        assert decode_entry(encode_entry(entry)) == entry


def test_entry_from_before_incidents_were_revised_is_read():
    data = (
        b'{"v":1,"alarm":{"state":"unacknowledged","over":3,"under":1,"upto":10,"incident":{"start":5,"last_over":10,'
        b'"peak":{"end":10,"score":1.5,"p_value":0.01,"model_version":"3"},"channels":[],"seq":2}},"closes":[[1,0,7]]}'
    )
    incident = Incident(5, 10, Window(10, 1.5, 0.01, "3"), (), 2)
    assert decode_entry(data) == StateEntry(1, AlarmState("unacknowledged", 3, 1, 10, incident), (Close(1, 0, 7),))


def test_closes_that_were_written_before_there_were_resets_are_none():
    assert decode_entry(b'{"v":1,"alarm":{},"closes":[[7,0,3]]}').closes == (Close(7, 0, 3, reset=False),)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'["t","a"]', b'["t","a",1]', b'["t","\xff","d"]', DEEP.encode()]
)
def test_foreign_key_is_a_decode_error(data):
    with pytest.raises(msgspec.DecodeError):
        decode_key(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"\xff",
        b'{"v":1}',
        b'{"v":2,"alarm":{}}',
        b'{"v":1,"alarm":{"state":"\xff"}}',
        b'{"v":1,"alarm":{"state":"asleep"}}',
        b'{"v":1,"alarm":{},"closes":[[1]]}',
        DEEP.encode(),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_foreign_entry_is_a_decode_error(data):
    with pytest.raises(msgspec.DecodeError):
        decode_entry(data)
