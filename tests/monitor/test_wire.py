"""What leaves the daemon: scores as Arrow, incident events as CloudEvents, and both back again."""

import json
import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.events import (
    Contribution,
    IncidentEvent,
    decode_event,
    encode_event,
    event_headers,
    headers_dict,
    incident_id,
    to_datetime,
    to_ns,
)
from monitor.wire import SCORES_SCHEMA, SCORES_SCHEMA_WITH_EXPECTED, Scores, decode_scores, encode_scores

T0 = 1_767_225_600_000_000_000
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def scores(rows=3, channels=2, expected=False, asset="pump-{}"):
    numbers = np.arange(rows, dtype=np.float32)
    matrix = np.arange(rows * channels, dtype=np.float32).reshape(rows, channels)
    extra = {"seen": matrix + 0.5, "expected": np.where(matrix == 0, np.nan, matrix)} if expected else {}
    return Scores(
        "d", "7", [asset.format(i) for i in range(rows)], T0 + np.arange(rows), numbers, numbers / 10, numbers + 1,
        matrix, **extra,
    )  # fmt: skip


def event(**changes):
    moment = datetime(2026, 1, 1, 0, 0, 1, 250_000, tzinfo=UTC)
    channels = (Contribution("a", 0.75, 1.5, None, "bar"), Contribution("b", 0.25))
    fields = {
        "incident_id": incident_id("t", 3, "pump Ω/1", "d", T0),
        "seq": 1,
        "transition": "raised",
        "state": "unacknowledged",
        "previous_state": "normal",
        "asset": "pump Ω/1",
        "detector": "d",
        "model_version": "7",
        "topic": "t",
        "partition": 3,
        "start": moment,
        "end": None,
        "detected": moment,
        "score": 5.0,
        "limit": 1.0,
        "p_value": 1e-30,
        "peak": 6.0,
        "peak_time": moment,
        "peak_p_value": 1e-30,
        "channels": channels,
        "labels": {"site": "north"},
    }
    return IncidentEvent(**(fields | changes))


# ----------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("expected", [False, True])
def test_scores_come_back_as_they_were(expected):
    made = scores(expected=expected)
    [message] = encode_scores(made)
    table = decode_scores(message)
    assert table.schema == (SCORES_SCHEMA_WITH_EXPECTED if expected else SCORES_SCHEMA)
    assert table["asset"].to_pylist() == ["pump-0", "pump-1", "pump-2"]
    assert table["window_end"].cast("int64").to_pylist() == made.window_end.tolist()
    for name in ("score", "p_value", "limit"):
        np.testing.assert_array_equal(table[name].to_numpy(), getattr(made, name))
    assert table["channel_scores"].to_pylist() == made.channel_score.tolist()
    assert set(table["detector"].to_pylist()) == {"d"}
    assert set(table["model_version"].to_pylist()) == {"7"}
    if expected:
        np.testing.assert_array_equal(np.array(table["seen"].to_pylist()), made.seen)
        np.testing.assert_array_equal(np.array(table["expected"].to_pylist(), np.float32), made.expected)


@settings(max_examples=50)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 60_000), st.booleans())
def test_splitting_at_the_byte_limit_loses_nothing_and_keeps_the_order(rows, channels, limit, expected):
    made = scores(rows, channels, expected)
    messages = encode_scores(made, limit)
    tables = [decode_scores(message) for message in messages]
    assert all(len(message) <= limit or table.num_rows <= 1 for message, table in zip(messages, tables, strict=True))
    assert [asset for table in tables for asset in table["asset"].to_pylist()] == list(made.assets)
    found = [row for table in tables for row in table["channel_scores"].to_pylist()]
    assert found == made.channel_score.tolist()


# ----------------------------------------------------------------------------------------------------------- events


def test_event_comes_back_as_it_was():
    end = datetime(2026, 1, 2, tzinfo=UTC)
    revised = event(transition="revised", seq=3, state="normal", previous_state="normal", end=end, peak=4.0)
    for each in (event(), event(transition="cleared", end=end, runbook="https://x"), revised):
        assert decode_event(encode_event(each)) == each


def test_event_is_json_without_anything_that_json_has_no_word_for():
    body = encode_event(event(score=float("nan"), peak=float("inf")))
    document = json.loads(body, parse_constant=lambda literal: pytest.fail(literal))
    assert (document["score"], document["peak"]) == (None, None)


def test_what_is_no_event_is_a_decode_error():
    for body in (b"", b"{}", b"[]", encode_event(event())[:-5]):
        with pytest.raises(msgspec.DecodeError):
            decode_event(body)


def structured(each):
    """The event in structured content mode, from its headers and body in binary mode."""
    headers = headers_dict(event_headers(each))
    attributes = {name.removeprefix("ce_"): value for name, value in headers.items() if name.startswith("ce_")}
    document = json.loads(encode_event(each))
    return attributes | {"datacontenttype": headers["content-type"], "data": document}


@pytest.mark.parametrize("transition", ["raised", "cleared", "revised"])
def test_events_are_cloudevents(transition):
    """CloudEvents 1.0.2, section "Context attributes": what is required, and the form of each."""
    found = structured(event(transition=transition))
    assert set(found) == {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}
    assert all(re.fullmatch(r"[a-z0-9]+", name) for name in found)
    assert all(isinstance(value, str) and value for name, value in found.items() if name != "data")
    assert found["specversion"] == "1.0"
    assert found["type"] == f"tocsin.incident.{transition}.v1"
    assert urlsplit(found["source"]).path == "/tocsin/t/3/d"
    assert re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]+", found["source"])
    assert found["subject"] == "pump Ω/1"
    assert RFC_3339.fullmatch(found["time"])
    assert datetime.fromisoformat(found["time"]) == event().detected
    assert re.fullmatch(r"[\w.+-]+/[\w.+-]+", found["datacontenttype"])
    assert found["data"]["incident_id"] in found["id"]


def test_time_is_rfc_3339_with_and_without_a_fraction():
    for micro in (0, 1, 250_000):
        moment = datetime(2026, 1, 1, microsecond=micro, tzinfo=UTC)
        assert RFC_3339.fullmatch(structured(event(detected=moment))["time"])


def test_the_same_event_has_the_same_id_however_often_it_is_made():
    assert incident_id("t", 3, "a", "d", T0) == incident_id("t", 3, "a", "d", T0)
    assert event().event_id == event(score=9.0, model_version="8").event_id
    assert re.fullmatch(r"[0-9a-f]{32}-1", event().event_id)


def test_a_revised_incident_is_another_event_of_the_same_incident():
    raised, revised = event(), event(transition="revised", seq=2, peak=9.0)
    assert revised.incident_id == raised.incident_id
    assert structured(revised)["id"] == f"{raised.incident_id}-2"
    assert structured(revised)["id"] != structured(raised)["id"]


def test_what_tells_incidents_apart_gives_different_ids():
    base = ("t", 3, "a", "d", T0)
    others = [
        ("u", *base[1:]),
        ("t", 4, *base[2:]),
        ("t", 3, "b", "d", T0),
        ("t", 3, "a", "e", T0),
        (*base[:4], T0 + 1),
    ]
    tricky = [("t", 3, "a,d", "", T0), ("t", 3, "", "a,d", T0), ("t", 3, 'a","d', "", T0)]
    ids = {incident_id(*identity) for identity in [base, *others, *tricky]}
    assert len(ids) == 1 + len(others) + len(tricky)


# ------------------------------------------------------------------------------------------------------------ times


@given(st.integers(946_684_800 * 10**6, 4_102_444_800 * 10**6))
def test_event_times_come_back_to_the_microsecond(us):
    assert to_ns(to_datetime(us * 1000)) == us * 1000
    assert to_datetime(us * 1000 + 999) == to_datetime(us * 1000)


def test_of_repeated_headers_the_last_counts_and_bytes_that_are_no_text_are_no_error():
    assert headers_dict([("a", b"1"), ("a", b"2"), ("b", b"\xff"), ("c", None)]) == {"a": "2", "b": "\ufffd", "c": ""}
