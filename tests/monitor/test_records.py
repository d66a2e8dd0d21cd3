"""Messages to columns: three encodings, and every hostile message one dead letter while the others pass untouched."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.columns import REASONS, AssetTable, Messages
from monitor.records import ARROW, JSON, Decoder
from monitor.routes import Routes
from tests.naive import decode_json

T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z, ms
NS = 1_000_000
TWO = pa.array([T0, T0 + 1000], pa.timestamp("ms", "UTC"))


def decoder(max_assets=1000, **rules):
    """Pumps have a model of channels a and b; no other asset is watched."""
    routes = Routes([lambda asset: asset.startswith("pump")], [("a", "b")])
    return Decoder(AssetTable(routes, max_assets), routes, **rules)


def messages(values, content_types=None, timestamps=None):
    count = len(values)
    types = content_types or [None] * count
    headers = [[("content-type", kind.encode())] if kind else [] for kind in types]
    stamps = timestamps or [-1] * count
    return Messages("t", 0, count, list(range(count)), stamps, list(values), [None] * count, headers)


def decode(*values, kinds=None, timestamps=None, **rules):
    return decoder(**rules).decode(messages(values, kinds, timestamps))


def wide(asset="pump-1", ts=T0, **values):
    return json.dumps({"asset": asset, "ts": ts, "values": values}).encode()


def narrow(**fields):
    return json.dumps(fields).encode()


def arrow(compression=None, **columns):
    return arrow_table(pa.table(columns), compression)


def arrow_table(table, compression=None):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def decode_arrow(message, **rules):
    return decode(message, kinds=[ARROW], **rules)


def values_of(columns):
    """Values by place of the reading, None for missing."""
    found = {}
    for block in columns.blocks:
        for place, row in zip(block.index.tolist(), block.values.tolist(), strict=True):
            found[place] = [None if np.isnan(value) else value for value in row]
    return [found[place] for place in range(len(columns.ts))]


def reasons(columns):
    return [letter.reason for letter in columns.dead]


# ------------------------------------------------------------------------------------------------- encodings


def test_wide_json_gives_the_values_of_the_models_channels_in_their_order():
    columns = decode(wide(b=2.0, a=1.0), wide(a=None, b=4), wide(a=5.0))
    assert values_of(columns) == [[1.0, 2.0], [None, 4.0], [5.0, None]]
    assert columns.ts.tolist() == [T0 * NS] * 3
    assert columns.offset.tolist() == [0, 1, 2]


def test_narrow_json_gives_one_channel():
    columns = decode(narrow(asset="pump-1", channel="b", ts=T0, value=2.5))
    assert values_of(columns) == [[None, 2.5]]


@pytest.mark.parametrize("fields", [{"channel": "b"}, {"value": 1.0}, {"channel": None, "value": 1.0}, {}])
def test_narrow_reading_without_its_channel_or_value_is_a_dead_letter(fields):
    assert reasons(decode(narrow(asset="pump-1", ts=T0, **fields))) == ["wrong_type"]


def test_wide_arrow_gives_every_row():
    message = arrow(asset=["pump-1", "pump-2"], ts=TWO, a=[1.0, None], b=[3.0, 4.0])
    columns = decode_arrow(message)
    assert values_of(columns) == [[1.0, 3.0], [None, 4.0]]
    assert columns.ts.tolist() == [T0 * NS, (T0 + 1000) * NS]
    assert columns.row.tolist() == [0, 1]
    assert columns.offset.tolist() == [0, 0]


def test_narrow_arrow_gives_one_channel_a_row():
    message = arrow(asset=["pump-1"] * 3, ts=[T0] * 3, channel=["a", "other", "b"], value=[1.0, 2.0, 3.0])
    columns = decode_arrow(message)
    assert values_of(columns) == [[1.0, None], [None, 3.0]]
    assert columns.row.tolist() == [0, 2]
    assert columns.ignored_values == 1


def test_encoding_is_told_by_the_header_else_by_the_configuration():
    table = arrow(asset=["pump-1"], ts=[T0], a=[1.0])
    kinds = [JSON, ARROW, "Application/JSON; charset=utf-8", None]
    columns = decode(wide(a=1), table, wide(a=2), table, kinds=kinds, encoding="arrow")
    assert [row[0] for row in values_of(columns)] == [1.0, 1.0, 2.0, 1.0]
    assert reasons(decode(table)) == ["not_json"]


def test_unknown_content_type_is_a_dead_letter():
    assert reasons(decode(wide(a=1), kinds=["text/csv"])) == ["unknown_encoding"]


def test_readings_keep_their_order_over_encodings_and_routes():
    rows = arrow(asset=["valve", "pump-2"], ts=TWO, a=[1.0, 2.0])
    columns = decode(
        wide("pump-3", a=1), rows, wide("valve", a=1), wide("pump-1", a=9), kinds=[JSON, ARROW, JSON, JSON]
    )
    assert columns.offset.tolist() == [0, 1, 1, 2, 3]
    assert columns.row.tolist() == [0, 0, 1, 0, 0]
    assert values_of(columns) == [[1.0, None], [], [2.0, None], [], [9.0, None]]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["pump-1", "pump-2"]).dictionary_encode(),
        pa.array(["pump-1", "pump-2"], pa.large_string()),
        pa.chunked_array([pa.array(["pump-1"]).dictionary_encode(), pa.array(["pump-2"]).dictionary_encode()]),
        pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int8()), pa.array(["pump-2", "pump-1"])),
    ],
    ids=["dictionary", "large", "dictionaries", "int8 dictionary"],
)
def test_arrow_assets_may_be_any_kind_of_string(column):
    assert len(decode_arrow(arrow(asset=column, ts=TWO, a=[1.0, 2.0])).ts) == 2


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int64(), pa.uint64()])
def test_arrow_values_may_be_any_kind_of_number(kind):
    columns = decode_arrow(arrow(asset=["pump-1"] * 2, ts=TWO, a=pa.array([1, 2]).cast(kind)))
    assert values_of(columns) == [[1.0, None], [2.0, None]]


def test_arrow_integers_beyond_53_bits_are_rounded_and_not_refused():
    columns = decode_arrow(arrow(asset=["pump-1"], ts=[T0], a=[2**53 + 1]))
    assert values_of(columns) == [[float(2**53), None]]


def test_several_record_batches_in_one_message_are_one_run_of_rows():
    parts = [pa.table({"asset": ["pump-1"], "ts": [T0 + i], "a": [float(i)]}) for i in range(5)]
    columns = decode_arrow(arrow_table(pa.concat_tables(parts)))
    assert values_of(columns) == [[float(i), None] for i in range(5)]
    assert columns.row.tolist() == [0, 1, 2, 3, 4]


def test_arrow_message_without_rows_is_nothing_at_all():
    columns = decode_arrow(
        arrow(asset=pa.array([], pa.string()), ts=pa.array([], pa.int64()), a=pa.array([], pa.float32()))
    )
    assert (len(columns.ts), columns.dead) == (0, [])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numeric_times_have_the_configured_unit_and_arrow_timestamps_their_own(unit):
    per_unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    number = T0 // 1000 * per_unit
    own = arrow(asset=["pump-1"], ts=pa.array([number], pa.timestamp(unit, "UTC")), a=[1.0])
    bare = arrow(asset=["pump-1"], ts=[number], a=[1.0])
    columns = decode(wide(ts=number, a=1), bare, own, kinds=[JSON, ARROW, ARROW], ts_unit=unit)
    assert columns.ts.tolist() == [T0 * NS] * 3


def test_a_fractional_time_counts_to_the_microsecond():
    columns = decode(wide(ts=T0 / 1000 + 0.1, a=1), wide(ts=T0 / 1000 + 0.000001, a=1), ts_unit="s")
    assert columns.ts.tolist() == [T0 * NS + 100_000_000, T0 * NS + 1000]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01T02:00:00+02:00", 0),
        ("2026-01-01T00:00:00.25Z", 250_000_000),
        ("2026-01-01T00:00:00.123456789Z", 123_456_789),
    ],
)
def test_times_as_texts_have_a_zone(text, ns):
    assert decode(wide(ts=text, a=1)).ts.tolist() == [T0 * NS + ns]


# ---------------------------------------------------------------------------------------------- what is ignored


def test_values_of_channels_that_no_model_uses_are_ignored_and_counted():
    message = arrow(asset=["pump-1"] * 2, ts=TWO, a=[1.0, 2.0], new=[1, 2], note=["x", "y"], shape=[[1], [2]])
    columns = decode(wide(a=1, new=7, newer=8), narrow(asset="pump-1", ts=T0, channel="new", value=1))
    assert (values_of(columns), columns.ignored_values, columns.dead) == ([[1.0, None]], 3, [])
    columns = decode_arrow(message)
    assert (values_of(columns), columns.ignored_values, columns.dead) == ([[1.0, None], [2.0, None]], 2, [])


@pytest.mark.parametrize("other", ["auto", True, [1, 2], {"x": 1}, 10**400], ids=lambda other: str(other)[:10])
def test_values_of_any_type_are_ignored_in_channels_that_no_model_uses(other):
    columns = decode(
        wide(mode=other, a=1, b=None),
        narrow(asset="pump-1", ts=T0, channel="mode", value=other),
        wide("valve", mode=other),
        wide(a=2, b=3),
    )
    assert values_of(columns) == [[1.0, None], [], [2.0, 3.0]]
    assert (columns.ignored_values, columns.unwatched, columns.dead) == (2, 1, [])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "auto", "a": "1"}, "wrong_type"),
        ({"mode": "auto", "a": True}, "wrong_type"),
        ({"mode": "auto", "a": 10**400}, "not_finite"),
        ({"mode": "auto", "a": 1e300}, "not_finite"),
        ({"mode": "auto"}, "no_known_channel"),
    ],
    ids=["text", "boolean", "400 digits", "1e300", "none used"],
)
def test_value_of_another_type_hides_no_fault_in_a_channel_that_is_used(values, reason):
    assert reasons(decode(wide(**values))) == [reason]


def test_readings_of_assets_that_nobody_watches_are_counted_and_are_no_dead_letters():
    message = arrow(asset=["valve", "pump-1", None], ts=[T0] * 3, a=[1.0, 2.0, 3.0])
    columns = decode(wide("valve", z=1), message, kinds=[JSON, ARROW])
    assert columns.unwatched == 2
    assert reasons(columns) == ["no_asset"]


def test_assets_beyond_the_limit_are_dead_letters_and_known_ones_go_on():
    columns = decode(wide("pump-1", a=1), wide("pump-2", a=1), wide("pump-3", a=1), wide("pump-2", a=2), max_assets=2)
    assert columns.offset.tolist() == [0, 1, 3]
    assert [(letter.index, letter.reason) for letter in columns.dead] == [(2, "too_many_assets")]


def test_arrow_rows_of_assets_beyond_the_limit_are_apart_from_the_others():
    message = arrow(asset=["pump-1", "pump-2", "pump-1"], ts=[T0] * 3, a=[1.0, 2.0, 3.0])
    columns = decode_arrow(message, max_assets=1)
    assert values_of(columns) == [[1.0, None], [3.0, None]]
    assert rows_of(columns.dead[0]) == [("pump-2", 2.0)]
    assert reasons(columns) == ["too_many_assets"]


# --------------------------------------------------------------------------------------------- bad Arrow messages


def rows_of(letter):
    table = pa.ipc.open_stream(letter.rows).read_all()
    return list(zip(table["asset"].to_pylist(), table["a"].to_pylist(), strict=True))


def test_bad_rows_of_an_arrow_message_are_one_dead_letter_and_the_good_ones_are_kept():
    message = arrow(
        asset=["pump-1", None, "pump-1", "pump-1", "pump-1", "x" * 250, "pump-1"],
        ts=pa.array([T0, T0, None, 5, T0, T0, T0], pa.timestamp("ms", "UTC")),
        a=[1.0, 2.0, 3.0, 4.0, float("inf"), 6.0, 7.0],
    )
    columns = decode_arrow(message)
    assert values_of(columns) == [[1.0, None], [7.0, None]]
    assert columns.row.tolist() == [0, 6]
    [letter] = columns.dead
    assert letter.reason == "no_asset"
    assert letter.detail == "5 of 7 rows: 2 no_asset, 2 time_out_of_range, 1 not_finite"
    assert [value for _, value in rows_of(letter)] == [2.0, 3.0, 4.0, float("inf"), 6.0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ts": [T0], "a": [1.0]}, "no_asset"),
        ({"asset": ["pump-1"], "a": [1.0]}, "wrong_type"),
        ({"asset": [7], "ts": [T0], "a": [1.0]}, "no_asset"),
        ({"asset": [b"pump-1"], "ts": [T0], "a": [1.0]}, "no_asset"),
        ({"asset": pa.nulls(1), "ts": [T0], "a": [1.0]}, "no_asset"),
        ({"asset": ["pump-1"], "ts": ["2026"], "a": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [1.5], "a": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": pa.nulls(1), "a": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": pa.array([1], pa.date32()), "a": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": pa.array([2**63], pa.uint64()), "a": [1.0]}, "time_out_of_range"),
        ({"asset": ["pump-1"], "ts": pa.array([-(2**63)], pa.int64()), "a": [1.0]}, "time_out_of_range"),
        ({"asset": ["pump-1"], "ts": [T0], "a": [True]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "a": ["1.5"]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "a": [[1.5]]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "a": [1e300]}, "not_finite"),
        ({"asset": ["pump-1"], "ts": [T0], "z": [1.0]}, "no_known_channel"),
        ({"asset": ["pump-1"], "ts": [T0], "channel": [1], "value": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "channel": [["a"]], "value": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "channel": [b"\xff"], "value": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "channel": pa.array([None], pa.string()), "value": [1.0]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "channel": ["a"], "value": [True]}, "wrong_type"),
        ({"asset": ["pump-1"], "ts": [T0], "channel": ["a"], "value": [float("-inf")]}, "not_finite"),
    ],
)
def test_arrow_of_the_wrong_shape_is_a_dead_letter(columns, reason):
    found = decode_arrow(arrow(**columns))
    assert (len(found.ts), reasons(found)) == (0, [reason])


def test_arrow_with_a_column_that_stands_twice_is_a_dead_letter():
    names = ["asset", "ts", "a", "a"]
    table = pa.Table.from_arrays(
        [pa.array(["pump-1"]), pa.array([T0]), pa.array([1.0]), pa.array([2.0])], names=names
    )
    assert reasons(decode_arrow(arrow_table(table))) == ["wrong_type"]


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_arrow_is_read(compression):
    message = arrow(compression, asset=["pump-1"] * 100, ts=[T0] * 100, a=[1.0] * 100)
    assert len(decode_arrow(message).ts) == 100


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_small_arrow_message_that_unpacks_to_a_flood_is_refused_before_it_is_unpacked(compression):
    many = 10_000_000
    assets = pa.DictionaryArray.from_arrays(pa.array(np.zeros(many, np.int8)), pa.array(["pump-1"]))
    message = arrow(compression, asset=assets, ts=np.zeros(many, np.int64), a=pa.array(np.zeros(many, np.int8)))
    assert len(message) < 1_000_000
    before = pa.total_allocated_bytes()
    assert reasons(decode_arrow(message)) == ["too_large"]
    assert pa.total_allocated_bytes() - before < 2_000_000


def test_long_name_that_many_rows_share_is_not_spelt_out_for_each():
    rows = 200_000
    long_name = pa.array(["x" * 500_000])
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), long_name)
    stamps = pa.array(np.full(rows, T0, np.int64))
    columns = decode_arrow(arrow(asset=shared, ts=stamps, a=stamps), max_message_bytes=10_000_000)
    assert (len(columns.ts), reasons(columns)) == (0, ["no_asset"])
    assets = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["pump-1"]))
    columns = decode_arrow(arrow(asset=assets, ts=stamps, channel=shared, value=stamps), max_message_bytes=10_000_000)
    assert (len(columns.ts), columns.ignored_values, columns.dead) == (0, rows, [])


def test_arrow_message_of_more_cells_than_memory_should_hold_is_refused():
    channels = tuple(f"c{i}" for i in range(3000))
    routes = Routes([lambda asset: True], [channels])
    rows = 6000
    message = arrow(asset=["pump-1"] * rows, ts=[T0] * rows, c0=[1.0] * rows)
    columns = Decoder(AssetTable(routes), routes).decode(messages([message], [ARROW]))
    assert (len(columns.ts), reasons(columns)) == (0, ["too_large"])


# ------------------------------------------------------------------------------------------ hostile JSON messages

DEEP = 100_000
HOSTILE = {
    "nothing": (None, "empty"),
    "no byte": (b"", "empty"),
    "too large": (b" " * 20_000_000, "too_large"),
    "text": (b"hello", "not_json"),
    "half": (b'{"asset": "pump-1", "ts"', "not_json"),
    "two documents": (wide(a=1) + wide(a=2), "not_json"),
    "two lines": (wide(a=1) + b"\n" + wide(a=2), "not_json"),
    "invalid UTF-8": (b'{"asset": "\xff\xfe", "ts": 1, "values": {}}', "not_json"),
    "byte order mark": (b"\xef\xbb\xbf" + wide(a=1), "not_json"),
    "half a surrogate": (b'{"asset": "\\ud800", "ts": 1767225600000, "values": {"a": 1}}', "not_json"),
    "NaN": (b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": NaN}}', "not_json"),
    "Infinity": (b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": -Infinity}}', "not_json"),
    "1e999": (b'{"asset": "pump-1", "ts": 1767225600000, "values": {"a": 1e999}}', "not_finite"),
    "1e300": (wide(a=1e300), "not_finite"),
    "-1e300 narrow": (narrow(asset="pump-1", ts=T0, channel="a", value=-1e300), "not_finite"),
    "400 digits": (wide(a=10**400), "not_finite"),
    "null": (b"null", "wrong_type"),
    "list": (b"[1, 2]", "wrong_type"),
    "brackets": (b"[" * DEEP, "wrong_type"),
    "deep values": (b'{"asset": "pump-1", "ts": 1, "values": {"a": ' + b"[" * DEEP, "too_deep"),
    "deep elsewhere": (wide(a=1)[:-1] + b', "x": ' + b"[" * DEEP + b"]" * DEEP + b"}", "too_deep"),
    "deep objects": (wide(a=1)[:-1] + b', "x": ' + b'{"y": ' * DEEP + b"1" + b"}" * DEEP + b"}", "too_deep"),
    "no asset": (b'{"ts": 1767225600000, "values": {"a": 1}}', "no_asset"),
    "empty asset": (wide("", a=1), "no_asset"),
    "long asset": (wide("x" * 250, a=1), "no_asset"),
    "number for asset": (wide(7, a=1), "no_asset"),
    "null asset": (wide(None, a=1), "no_asset"),
    "no time": (b'{"asset": "pump-1", "values": {"a": 1}}', "wrong_type"),
    "boolean time": (wide(ts=True, a=1), "wrong_type"),
    "naive time": (wide(ts="2026-01-01T00:00:00", a=1), "wrong_type"),
    "a date": (wide(ts="2026-01-01", a=1), "wrong_type"),
    "month 13": (wide(ts="2026-13-01T00:00:00Z", a=1), "wrong_type"),
    "empty time": (wide(ts="", a=1), "wrong_type"),
    "year 1800": (wide(ts="1800-01-01T00:00:00Z", a=1), "time_out_of_range"),
    "year 9999": (wide(ts="9999-12-31T23:59:59.999Z", a=1), "time_out_of_range"),
    "year 0": (wide(ts="0000-01-01T00:00:00Z", a=1), "time_out_of_range"),
    "negative time": (wide(ts=-T0, a=1), "time_out_of_range"),
    "seconds for ms": (wide(ts=T0 // 1000, a=1), "time_out_of_range"),
    "ns for ms": (wide(ts=T0 * NS, a=1), "time_out_of_range"),
    "huge float time": (wide(ts=1e305, a=1), "time_out_of_range"),
    "huge int time": (wide(ts=10**400, a=1), "time_out_of_range"),
    "5000 digits of time": (
        b'{"asset": "pump-1", "values": {"a": 1}, "ts": ' + b"1" * 5000 + b"}",
        "time_out_of_range",
    ),
    "1e999 of time": (b'{"asset": "pump-1", "values": {"a": 1}, "ts": 1e999}', "time_out_of_range"),
    "64 bits": (wide(ts=2**64, a=1), "time_out_of_range"),
    "boolean value": (wide(a=True), "wrong_type"),
    "text value": (wide(a="1.0"), "wrong_type"),
    "list of values": (b'{"asset": "pump-1", "ts": 1767225600000, "values": [1.0]}', "wrong_type"),
    "no values": (b'{"asset": "pump-1", "ts": 1767225600000}', "wrong_type"),
    "empty values": (wide(), "no_known_channel"),
    "other values": (wide(z=1), "no_known_channel"),
    "Arrow garbage": (b"\xff\xff\xff\xff\x10\x00\x00\x00garbage", "not_json"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_message_is_one_dead_letter_with_its_reason(name):
    value, reason = HOSTILE[name]
    columns = decode(value, max_message_bytes=10_000_000)
    assert (len(columns.ts), reasons(columns)) == (0, [reason])


def good_messages():
    number = st.one_of(st.none(), st.integers(-1000, 1000), st.floats(-1e6, 1e6, width=32))
    moment = st.one_of(
        st.integers(T0, T0 + 10**9), st.just("2026-01-01T00:00:00Z"), st.just("2026-01-01T00:00:00.5+01:00")
    )
    names = st.sampled_from(["pump-1", "pump-2", "pump-Ω", "x" * 249])
    return st.one_of(
        st.builds(lambda name, ts, a, b: wide(name, ts, a=a, b=b), names, moment, number, number),
        st.builds(lambda name, ts, b: b" \n" + wide(name, ts, b=b, new=1.5) + b"\r\n\t ", names, moment, number),
        st.builds(lambda name, ts, a: narrow(asset=name, ts=ts, channel="a", value=a), names, moment, number),
        st.builds(lambda ts: wide("pump-1", ts, a=1)[:-2] + b', "a": 2}}', moment),  # the later of two wins
    )


@settings(max_examples=150)
@given(
    st.lists(st.one_of(good_messages(), st.sampled_from([v for v, _ in HOSTILE.values() if len(v or b"") < 10**5])))
)
def test_any_mix_of_messages_gives_one_dead_letter_a_bad_one_and_the_good_ones_in_order(values):
    columns = decode(*values, max_message_bytes=10_000_000)
    told = [decode_json(value, {"a": 0, "b": 1}, lambda name: name.startswith("pump")) for value in values]
    good = [(i, reading) for i, reading in enumerate(told) if reading is not None]
    assert [letter.index for letter in columns.dead] == [i for i, reading in enumerate(told) if reading is None]
    assert set(reasons(columns)) <= set(REASONS)
    assert columns.offset.tolist() == [i for i, _ in good]
    assert columns.ts.tolist() == [ns for _, (_, ns, _) in good]
    for row, (_, (_, _, cells)) in zip(values_of(columns), good, strict=True):
        assert row == [None if cell is None else float(np.float32(cell)) for cell in cells]


@settings(max_examples=150)
@given(st.data())
def test_damaged_arrow_is_never_an_exception_and_never_hides_a_good_neighbour(data):
    message = bytearray(
        data.draw(
            st.sampled_from(
                [
                    arrow(asset=["pump-1", "pump-2"], ts=TWO, a=[1.0, 2.0]),
                    arrow("zstd", asset=["pump-1"] * 9, ts=[T0] * 9, channel=["a"] * 9, value=[1.0] * 9),
                    arrow(asset=pa.array(["pump-1"] * 3).dictionary_encode(), ts=[T0] * 3, a=[1.0, None, 2.0]),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    message = bytes(message[: data.draw(st.integers(0, len(message)))])
    columns = decode(wide(a=1), message, wide(a=2), kinds=[JSON, ARROW, JSON])
    assert set(reasons(columns)) <= set(REASONS)
    assert [letter.index for letter in columns.dead] in ([], [1])
    rows = values_of(columns)
    assert (rows[0], rows[-1]) == ([1.0, None], [2.0, None])
    assert np.isfinite([value for row in rows for value in row if value is not None]).all()


def test_time_too_far_ahead_is_judged_against_the_records_timestamp():
    hour = 3_600_000
    values = [wide(ts=T0 + hour, a=1), wide(ts=T0 + hour + 1, a=2), wide(ts=T0 + hour + 1, a=3)]
    columns = decode(*values, timestamps=[T0, T0, -1], max_ahead_s=3600)
    assert [row[0] for row in values_of(columns)] == [1.0, 3.0]
    assert reasons(columns) == ["time_out_of_range"]
    rows = arrow(asset=["pump-1"] * 2, ts=[T0 + hour, T0 + hour + 1], a=[1.0, 2.0])
    columns = decode(rows, kinds=[ARROW], timestamps=[T0], max_ahead_s=3600)
    assert values_of(columns) == [[1.0, None]]


@pytest.mark.parametrize("kind", [JSON, ARROW])
def test_a_records_timestamp_may_be_any_number(kind):
    value = wide(a=1) if kind == JSON else arrow(asset=["pump-1"], ts=[T0], a=[1.0])
    assert len(decode(value, kinds=[kind], timestamps=[2**63 - 1]).ts) == 1
    assert reasons(decode(value, kinds=[kind], timestamps=[0])) == ["time_out_of_range"]


@pytest.mark.parametrize("others", ["2026-01-01T00:00:00Z", T0], ids=["texts", "numbers"])
def test_bad_times_among_many_good_ones_are_found_and_nothing_else(others):
    stamps = {3: "soon", 500: "1800-01-01T00:00:00Z", 501: 5, 999: "2026-01-01T00:00:00"}
    columns = decode(*[wide(ts=stamps.get(i, others), a=i) for i in range(1000)])
    assert [(letter.index, letter.reason) for letter in columns.dead] == [
        (3, "wrong_type"),
        (500, "time_out_of_range"),
        (501, "time_out_of_range"),
        (999, "wrong_type"),
    ]
    assert set(columns.ts.tolist()) == {T0 * NS}
    assert columns.offset.tolist() == [i for i in range(1000) if i not in stamps]


def test_no_message_at_all_gives_no_columns():
    columns = decode()
    assert (len(columns.ts), columns.dead, columns.blocks) == (0, [], [])
