"""Readings become messages that say the same in every encoding, one asset in one partition."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.encode import Encoding, Message, encode, encode_arrow, encode_json, encode_json_narrow, partition_of
from monitor.errors import InvalidData
from monitor.recording import Recording

SECOND = 1_000_000_000
NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) * SECOND

RESERVED = ("asset", "ts", "channel", "value")

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    assets = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    channels = draw(st.lists(names.filter(lambda name: name not in RESERVED), min_size=1, max_size=4, unique=True))
    n = draw(st.integers(1, 12))
    unit = draw(st.sampled_from([10**9, 10**6, 1000, 1]))
    steps = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 10**6)))
    return Recording(
        assets,
        draw(hnp.arrays(np.int32, n, elements=st.integers(0, len(assets) - 1))),
        NOON + np.cumsum(steps) * unit,
        channels,
        draw(hnp.arrays(np.float32, (n, len(channels)), elements=st.floats(width=32))),
    )


def event_time(ts: int | str) -> int:
    if isinstance(ts, int):
        return ts * 1_000_000
    whole, _, fraction = ts.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * SECOND + int(fraction.ljust(9, "0"))


def number(value: float | None) -> np.float32:
    return np.float32(np.nan if value is None else value)


@given(recordings())
def test_wide_json_says_every_value_exactly_and_null_for_none(recording: Recording) -> None:
    for row, message in enumerate(encode_json(recording)):
        said = json.loads(message.value, parse_constant=pytest.fail)
        asset = recording.assets[recording.asset[row]]
        assert (said["asset"], message.key) == (asset, asset.encode())
        assert event_time(said["ts"]) == recording.ts[row]
        values = np.where(np.isfinite(recording.values[row]), recording.values[row], np.nan)
        np.testing.assert_array_equal([number(said["values"][name]) for name in recording.channels], values)


@given(recordings())
def test_narrow_json_has_one_message_for_each_value_that_is_there(recording: Recording) -> None:
    messages = list(encode_json_narrow(recording))
    said = [json.loads(message.value) for message in messages]
    rows, channels = np.nonzero(np.isfinite(recording.values))
    assert len(said) == len(rows)
    for one, row, channel in zip(said, rows, channels, strict=True):
        assert one["asset"] == recording.assets[recording.asset[row]]
        assert one["channel"] == recording.channels[channel]
        assert event_time(one["ts"]) == recording.ts[row]
        assert np.float32(one["value"]) == recording.values[row, channel]
    assert sum(message.readings for message in messages) == len(set(rows.tolist()))


@given(recordings(), st.integers(1, 7))
def test_arrow_messages_hold_every_reading_once_in_its_assets_partition(
    recording: Recording, partitions: int
) -> None:
    found = []
    for message in encode_arrow(recording, partitions):
        table = pa.ipc.open_stream(message.value).read_all()
        for row in table.to_pylist():
            assert partition_of(row["asset"], partitions) == message.partition
        times = table["ts"].cast(pa.int64()).to_pylist()
        values = np.stack([table.column(2 + c).to_numpy() for c in range(len(recording.channels))], axis=1)
        found += [(a, t, v.tobytes()) for a, t, v in zip(table["asset"].to_pylist(), times, values, strict=True)]
    rows = zip(recording.asset, recording.ts.tolist(), recording.values, strict=True)
    wanted = [(recording.assets[code], ts, value.tobytes()) for code, ts, value in rows]
    assert sorted(found) == sorted(wanted)


def many_readings(n: int = 20_000) -> Recording:
    assets = [f"pump-{i}" for i in range(50)]
    values = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    ts = NOON + np.arange(n) * SECOND
    return Recording(assets, np.arange(n, dtype=np.int32) % 50, ts, [f"c{i}" for i in range(8)], values)


@pytest.mark.parametrize("max_bytes", [8_000, 100_000])
def test_arrow_messages_stay_under_their_size_and_fill_it(max_bytes: int) -> None:
    messages = list(encode_arrow(many_readings(), 2, max_bytes))
    sizes = sorted(len(message.value) for message in messages)
    assert sizes[-1] <= max_bytes
    assert sizes[len(sizes) // 2] > max_bytes / 2
    assert sum(message.readings for message in messages) == 20_000


@pytest.mark.parametrize("channel", ["asset", "ts"])
def test_a_channel_that_would_hide_the_asset_or_the_time_is_refused_in_arrow(channel: str) -> None:
    recording = many_readings(10)
    recording.channels[3] = channel
    with pytest.raises(InvalidData, match=f"A channel called '{channel}' cannot be sent in Arrow"):
        list(encode_arrow(recording, 1))


@pytest.mark.parametrize("encoding", ["json", "json-narrow", "arrow"])
def test_a_part_of_many_assets_gives_the_same_messages_as_the_whole(encoding: Encoding) -> None:
    whole = many_readings(20)
    alone = [encode(whole.take([row]), encoding, 1) for row in range(20)]
    said = [message.value for messages in alone for message in messages]
    if encoding == "arrow":
        tables = [pa.ipc.open_stream(value).read_all() for value in said]
        (together,) = encode(whole, encoding, 1)
        assert pa.concat_tables(tables).equals(pa.ipc.open_stream(together.value).read_all())
    else:
        assert said == [message.value for message in encode(whole, encoding, 1)]


def test_a_message_names_its_content_type() -> None:
    def kinds(messages: list[Message]) -> set[bytes]:
        return {dict(message.headers)["content-type"] for message in messages}

    recording = many_readings(100)
    assert kinds(list(encode(recording, "json", 1))) == {b"application/json"}
    assert kinds(list(encode(recording, "json-narrow", 1))) == {b"application/json"}
    assert kinds(list(encode(recording, "arrow", 1))) == {b"application/vnd.apache.arrow.stream"}


def test_the_wide_message_looks_as_documented() -> None:
    values = np.array([[0.1, np.nan]], np.float32)
    recording = Recording(["pump-7"], np.zeros(1, np.int32), np.array([NOON]), ["vibration", "pressure"], values)
    (message,) = encode_json(recording)
    assert message.value == (
        b'{"asset":"pump-7","ts":"2026-01-01T12:00:00.000Z","values":{"vibration":0.1,"pressure":null}}'
    )
