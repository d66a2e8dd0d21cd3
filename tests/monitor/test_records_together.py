"""Messages read together give what each gives alone: readings, dead letters, counts and numbers of assets."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.columns import AssetTable, Messages, join
from monitor.records import ARROW, JSON, Decoder
from monitor.routes import Routes

T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z, ms
CHANNELS = {
    "pump": ("a", "b"),
    "fan": ("b", "c d", "é"),
    "odd": ('quo"te',),
    "big": tuple(f"k{i}" for i in range(70)),
}


def decoder(max_assets=1000):
    watched = [lambda asset, kind=kind: asset.startswith(kind) for kind in CHANNELS]
    routes = Routes(watched, list(CHANNELS.values()))
    return Decoder(AssetTable(routes, max_assets), routes, max_message_bytes=100_000)


def messages(values, kinds, first=0):
    count = len(values)
    headers = [[("content-type", kind.encode())] for kind in kinds]
    offsets = list(range(first, first + count))
    return Messages("t", 0, first + count, offsets, [T0 + 10**6] * count, values, [None] * count, headers)


def outcome(columns):
    """Readings in their order, each with its values; dead letters; counts."""
    cells = {}
    for block in columns.blocks:
        for place, row in zip(block.index.tolist(), block.values, strict=True):
            cells[place] = (block.route, row.tobytes())
    fields = (columns.code, columns.ts, columns.offset, columns.row)
    readings = list(zip(*(each.tolist() for each in fields), [cells[i] for i in range(len(columns.ts))], strict=True))
    return readings, columns.ignored_values, columns.unwatched


def letters(columns, first):
    return [(first + letter.index, letter.reason, letter.detail, letter.rows) for letter in columns.dead]


def check_together_as_alone(polls, max_assets=1000):
    """`polls` are lists of (content type, value), read in turn by two decoders: poll by poll, and one by one."""
    whole, alone = decoder(max_assets), decoder(max_assets)
    first = 0
    for poll in polls:
        kinds, values = [kind for kind, _ in poll], [value for _, value in poll]
        together = whole.decode(messages(values, kinds, first))
        parts = [alone.decode(messages([v], [k], first + i)) for i, (k, v) in enumerate(poll)]
        assert outcome(together) == outcome(join(parts))
        assert letters(together, first) == [each for i, part in enumerate(parts) for each in letters(part, first + i)]
        assert all((np.diff(block.index) > 0).all() for block in together.blocks)
        assert whole.assets.names == alone.assets.names
        first += len(poll)


def text(asset, ts=T0, **fields):
    return json.dumps({"asset": asset, "ts": ts, **fields}).encode()


# One message of each usual kind, by its number in the stream.
USUAL = {
    "wide": lambda i: text(f"pump-{i % 5}", T0 + i, values={"a": i / 7, "b": 2}),
    "wide, in another order": lambda i: text(f"fan-{i % 5}", T0 + i, values={"é": 1.5, "b": i, "c d": -1}),
    "times as texts": lambda i: text("pump-1", f"2026-01-01T00:00:{i % 60:02}.5+01:00", values={"a": i, "b": None}),
    "nulls": lambda i: text("pump-1", T0 + i, values={"a": None, "b": i} if i % 2 else {"a": None, "b": None}),
    "absent channels": lambda i: text("pump-1", T0 + i, values={"a": i} if i % 2 else {"b": i}),
    "extra values": lambda i: text("pump-1", T0 + i, values={"x": 1, "a": i, **({"y": None} if i % 2 else {})}),
    "several routes": lambda i: text(f"{('pump', 'fan', 'valve')[i % 3]}-1", T0 + i, values={"b": i}),
    "nobody's": lambda i: text("valve-1", T0 + i, values={"z": i}),
    "narrow": lambda i: text("pump-1", T0 + i, channel="ab"[i % 2], value=None if i % 5 == 0 else i),
    "narrow, of several routes": lambda i: text(f"{('pump', 'valve')[i % 2]}-1", T0 + i, channel="a", value=i),
    "narrow, of other channels": lambda i: text("pump-1", T0 + i, channel="abz"[i % 3], value=i),
    "new values": lambda i: text("pump-1", T0 + i, values={f"v{i}": 1, "a": 2}),
    "text values": lambda i: text("pump-1", T0 + i, values={"a": 2, "mode": "auto"}),
    "a quote in a channel": lambda i: text("odd-1", T0 + i, values={'quo"te': i}),
    "many channels": lambda i: text("big-1", T0 + i, values={f"k{k}": i for k in range(70)}),
    "new assets": lambda i: text(f"pump-{i}", T0 + i, values={"a": 1, "b": 2}),
}
AT_ONCE = [
    "wide", "wide, in another order", "times as texts", "nulls", "absent channels", "extra values", "several routes",
    "nobody's", "narrow", "narrow, of several routes", "narrow, of other channels",
]  # fmt: skip

RARE = [
    b"{", b"null", b"\xff", b'{"asset": "pump-1"}',
    text("pump-1", values={}), text("pump-1", values={"z": 1}), text("pump-1", values=None), text("pump-1"),
    text("pump-1", values={"a": "1"}), text("pump-1", values={"a": True}), text("pump-1", values={"z": "1", "b": 1}),
    text("pump-1", values={"a": 1e39}), text("pump-1", values={"a": 10**400}),
    text("pump-1", values={"z": 10**4000}),
    text("pump-1", values={"a": 1}, channel=5), text("pump-1", values={"a": 1}, value="x"),
    text("pump-1", values={"a": 1}, channel="b", value=2), text("pump-1", values={"a": 1}, site=[{"b": None}]),
    text("pump-1", channel="b", value=1e39), text("pump-1", channel="b"), text("pump-1", channel="b", value="x"),
    text("pump-1", channel=None, value=1), text("pump-1", channel="b", value=1, values={}),
    text("pump-1", True, values={"a": 1}), text("pump-1", "soon", values={"a": 1}),
    text("pump-1", 5, values={"a": 1}),
    text("pump-1", 2**64, values={"a": 1}), text("pump-1", T0 + 10**7, values={"a": 1}),
    text("pump-9", values={"a": "late to be wrong"}), text("fan-9", 5, values={"b": 1}),
    text("valve-9", values={"q": []}),
    text("", values={"a": 1}), text("x" * 250, values={"a": 1}), text(7, values={"a": 1}),
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 1, "a": 2}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": "x", "a": 2}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": 5, "values": {"a": 2}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 1}, "values": {"b": 2}}',
    b'{"asset": "pump-1", "asset": "fan-1", "ts": 1767225600000, "values": {"b": 2}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"\\u0061": 2}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 2, "\xff": 1}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 1e999}}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 1}, "value": 1e999}',
    b'{"asset": "pump-1", "ts": 1767225600000, "values": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 1}} {"asset": "pump-2"}',
]  # fmt: skip


@pytest.mark.parametrize("usual", USUAL)
def test_rare_messages_among_usual_ones_give_what_they_give_alone(usual):
    polls = [[(JSON, USUAL[usual](poll * 300 + i)) for i in range(300)] for poll in range(4)]
    for poll in polls[1:]:
        for i, value in enumerate(RARE):
            poll.insert(len(poll) - 6 * i, (JSON, value))
    check_together_as_alone(polls)


@pytest.mark.parametrize("usual", ["wide", "several routes", "narrow", "new assets"])
def test_limit_of_assets_is_reached_by_the_same_assets(usual):
    polls = [[(JSON, USUAL[usual](i)) for i in range(100)] for _ in range(3)]
    for i in range(50):
        polls[1].insert(2 * i, (JSON, text(f"new-{i}", values={"a": "wrong" if i % 3 else 1})))
    check_together_as_alone(polls, max_assets=20)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_messages_read_together_give_what_each_gives_alone(data):
    polls, number = [], 0
    for _ in range(data.draw(st.integers(2, 4), "polls")):
        kinds = data.draw(st.lists(st.sampled_from(list(USUAL)), min_size=1, max_size=3), "usual")
        poll = []
        for _ in range(data.draw(st.sampled_from([3, 40, 150]), "size")):
            poll.append((JSON, USUAL[kinds[number % len(kinds)]](number)))
            number += 1
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, 150), st.sampled_from(RARE)), max_size=8)):
            poll.insert(place, (JSON, value))
        for place, byte in data.draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3)):
            kind, value = poll[place % len(poll)]
            at = place % len(value)
            poll[place % len(poll)] = (kind, value[:at] + bytes([byte]) + value[at + 1 :])
        polls.append(poll)
    check_together_as_alone(polls)


@pytest.mark.parametrize("usual", AT_ONCE)
def test_of_usual_messages_none_is_read_alone_once_they_are_known(usual):
    many = decoder()
    polls = [messages([USUAL[usual](i) for i in range(300)], [JSON] * 300) for _ in range(8)]
    for poll in polls:
        many.decode(poll)
    pieces = []
    others = many._json._many.read(polls[0], np.arange(300), pieces)
    assert others.tolist() == []
    assert sum(len(piece.places) + len(piece.silent) for piece in pieces) == 300


# ---------------------------------------------------------------------------------------------------- Arrow


def arrow(compression=None, metadata=None, **columns):
    table = pa.table(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=3)
    return ARROW, sink.getvalue().to_pybytes()


def rows(first, *assets, a=None, **options):
    """A wide message with a row for each asset."""
    count = len(assets)
    values = np.arange(count, dtype=float) if a is None else a
    return arrow(
        asset=pa.array(assets, pa.string()), ts=np.arange(T0 + first, T0 + first + count), a=values, **options
    )


def shared(first, *assets):
    """The same with a dictionary of assets, in which one stands that no row has."""
    names = pa.array(["unused", *dict.fromkeys(assets)])
    index = pa.array([names.to_pylist().index(asset) for asset in assets], pa.int8())
    column = pa.DictionaryArray.from_arrays(index, names)
    return arrow(asset=column, ts=np.arange(T0 + first, T0 + first + len(assets)), a=[1.0] * len(assets))


def narrow(first, *assets):
    count = len(assets)
    channels, ts = (["a", "b", "z"] * count)[:count], np.arange(T0 + first, T0 + first + count)
    return arrow(asset=pa.array(assets), ts=ts, channel=channels, value=np.arange(count, dtype=float))


ARROW_MESSAGES = {
    "wide": rows(0, "pump-1", "pump-2", "fan-1", "pump-1"),
    "no rows": rows(5),
    "of one": rows(6, "pump-2"),
    "nobody's": rows(7, "valve-1", "pump-1"),
    "bad rows": rows(10, "pump-1", None, "", "x" * 250, "pump-2"),
    "infinite": rows(20, "pump-1", "pump-2", a=[float("inf"), 1e300]),
    "nulls": rows(30, "pump-1", "pump-2", a=pa.array([None, 1.0])),
    "far ahead": rows(10**7, "pump-1", "pump-2"),
    "too old": rows(-T0, "pump-1", "pump-2"),
    "new assets": rows(40, "pump-7", "pump-1", "pump-6", "pump-7"),
    "integers": rows(50, "pump-1", a=np.array([3])),
    "texts": rows(60, "pump-1", a=["x"]),
    "other columns": arrow(asset=["pump-1"], ts=[T0], z=[1.0]),
    "no asset": arrow(ts=[T0], a=[1.0]),
    "compressed": rows(70, "pump-1", "pump-2", compression="zstd"),
    "metadata": rows(80, "pump-1", None, metadata={"written": "by another"}),
    "dictionary": shared(90, "pump-2", "pump-1", "pump-2"),
    "dictionary of new": shared(95, "pump-5", "pump-1", "pump-4"),
    "narrow": narrow(100, "pump-1", "fan-1", "pump-2", "pump-1"),
    "garbage": (ARROW, b"\xff\xff\xff\xff\x10\x00\x00\x00garbage"),
    "cut": (ARROW, rows(110, "pump-1", "pump-2")[1][:-40]),
    "JSON": (JSON, text("pump-3", values={"a": 1})),
}


@pytest.mark.parametrize("name", ARROW_MESSAGES)
def test_arrow_message_among_others_gives_what_it_gives_alone(name):
    usual = [rows(10 * i, "pump-1", "pump-2") for i in range(4)]
    check_together_as_alone([usual, [*usual, ARROW_MESSAGES[name], *usual, ARROW_MESSAGES[name]]])
    check_together_as_alone([usual, [ARROW_MESSAGES[name]] * 5], max_assets=3)


def test_new_assets_of_arrow_messages_are_numbered_as_their_rows_show_them():
    usual = [rows(10 * i, "pump-1") for i in range(4)]
    check_together_as_alone([usual, [shared(0, "pump-1", "pump-3"), shared(5, "unused", "pump-2"), *usual]])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(list(ARROW_MESSAGES)), max_size=12), min_size=1, max_size=3), st.integers(2, 8)
)
def test_arrow_messages_read_together_give_what_each_gives_alone(polls, max_assets):
    check_together_as_alone([[ARROW_MESSAGES[name] for name in poll] for poll in polls], max_assets)
