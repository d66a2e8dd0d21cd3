"""Outputs as messages: topics, partitions, keys and headers, and dead letters that keep what can be kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder
from msgspec.structs import replace

from monitor.alarms import AlarmState, Transition
from monitor.columns import REASONS, DeadLetter, Messages
from monitor.config import parse
from monitor.events import Contribution, decode_event, headers_dict
from monitor.incidents import Incident, Window
from monitor.output import Output, Told
from monitor.publish import Publisher
from monitor.state import StateEntry, StateKey, decode_entry, decode_key
from monitor.wire import Scores, decode_scores

CONFIG = parse(
    {
        "topics": {"scores": "s", "anomalies": "a", "deadletter": "dead", "state": "st"},
        "assets": [
            {"match": "pump-*", "labels": {"site": "north", "line": "1"}, "weight": 2, "runbook": "https://pumps"},
            {"match": "pump-1", "labels": {"line": "9"}, "weight": 3},
        ],
    }
)
LIMIT = 10_000


def publisher(limit=LIMIT):
    return Publisher(CONFIG, limit)


def messages(value=b"bytes", key=b"pump-1", headers=()):
    return Messages("readings", 4, 8, [6, 7], [100, 200], [b"good", value], [None, key], [(), headers])


def dead_letter(limit=LIMIT, reason="not_json", detail="because", rows=None, **message):
    [letter] = publisher(limit).dead_letters(messages(**message), [DeadLetter(1, reason, detail, rows)])
    return letter


def size(letter):
    """Bytes of a message in a record batch of its own, by the client's reckoning."""
    return DefaultRecordBatchBuilder.estimate_size_in_bytes(letter.key, letter.value, list(letter.headers))


# ------------------------------------------------------------------------------------------------------ dead letters


def test_dead_letter_carries_the_original_bytes_key_and_headers_and_why():
    letter = dead_letter(value=b"\x00\xff", key=b"\xfe", headers=[("trace", b"1"), ("empty", b""), ("none", None)])
    assert (letter.topic, letter.value, letter.key, letter.partition) == ("dead", b"\x00\xff", b"\xfe", None)
    assert list(letter.headers[:3]) == [("trace", b"1"), ("empty", b""), ("none", None)]
    told = headers_dict(letter.headers[3:])
    assert told == {
        "tocsin-topic": "readings",
        "tocsin-partition": "4",
        "tocsin-offset": "7",
        "tocsin-timestamp": "200",
        "tocsin-reason": "not_json",
        "tocsin-detail": "because",
    }


def test_dead_letter_of_a_message_without_value_or_key_has_none_either():
    letter = dead_letter(value=None, key=None)
    assert (letter.value, letter.key) == (None, None)


def test_dead_letter_carries_the_bad_rows():
    assert headers_dict(dead_letter(rows=b"arrow").headers)["tocsin-rows"] == "arrow"


def test_rows_that_do_not_fit_beside_the_value_are_left_out_and_the_value_is_whole():
    letter = dead_letter(value=b"v" * 6000, rows=b"r" * 6000)
    assert letter.value == b"v" * 6000
    assert not {"tocsin-rows", "tocsin-truncated"} & set(headers_dict(letter.headers))


def test_value_that_does_not_fit_is_cut_and_says_so():
    letter = dead_letter(value=bytes(range(256)) * 100)
    assert len(letter.value) > LIMIT - 1500
    assert (bytes(range(256)) * 100).startswith(letter.value)
    assert headers_dict(letter.headers)["tocsin-truncated"] == "value of 25600 bytes"


def test_headers_and_key_that_do_not_fit_are_left_out_and_the_value_is_whole():
    letter = dead_letter(headers=[("x", b"h" * LIMIT)])
    assert (letter.value, letter.key) == (b"bytes", b"pump-1")
    assert headers_dict(letter.headers)["tocsin-truncated"].startswith("headers of ")
    letter = dead_letter(key=b"k" * LIMIT)
    assert (letter.value, letter.key) == (b"bytes", None)
    assert headers_dict(letter.headers)["tocsin-truncated"] == f"key of {LIMIT} bytes"


SIZES = st.integers(0, 3 * LIMIT)


@given(SIZES, SIZES, SIZES, st.integers(0, 800), SIZES, st.sampled_from(["x", "Ω"]))
def test_no_dead_letter_is_larger_than_the_limit(value, key, header, headers, rows, letters):
    every = [("Ω" * 50, b"h" * header), *[("n", b"")] * headers]
    letter = dead_letter(
        value=b"v" * value, key=b"k" * key, headers=every, rows=b"r" * rows, detail=letters * 2000, limit=LIMIT
    )
    assert size(letter) <= LIMIT
    assert (letter.value == b"v" * value) or b"value of" in dict(letter.headers)["tocsin-truncated"]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_can_be_told(reason):
    assert headers_dict(dead_letter(reason=reason).headers)["tocsin-reason"] == reason


# ----------------------------------------------------------------------------------------------------------- outputs


def test_scores_go_to_the_partition_of_their_input():
    numbers = np.ones(2, np.float32)
    scores = Scores("d", "1", ["a", "b"], np.arange(2), numbers, numbers, numbers, np.ones((2, 3), np.float32))
    found = publisher().outputs(Output(scores=[(("readings", 4), scores), (("readings", 9), scores)]))
    assert [(each.topic, each.partition, each.key) for each in found] == [("s", 4, None), ("s", 9, None)]
    assert headers_dict(found[0].headers) == {"content-type": "application/vnd.apache.arrow.stream"}
    assert decode_scores(found[0].value)["asset"].to_pylist() == ["a", "b"]


def told(kind, asset="pump-1"):
    states = ("normal", "unacknowledged")
    before, after = states if kind == "raised" else states[::-1]
    peak, last = Window(3_000_000_000, 9.0, 0.001, "1"), Window(5_000_000_000, 1.0, 0.5, "2")
    incident = Incident(1_000_000_000, 4_000_000_000, peak, (Contribution("b", 0.9),), 2)
    return Told(
        "readings",
        4,
        asset,
        "d",
        3.0,
        Transition(kind, before, after, last, incident, active=after == "unacknowledged"),
    )


def test_incident_events_are_keyed_by_asset_and_tell_the_incident():
    [raised, cleared] = publisher().outputs(Output(transitions=[told("raised"), told("cleared")]))
    assert (raised.topic, raised.key, raised.partition) == ("a", b"pump-1", None)
    body = decode_event(cleared.value)
    assert (body.state, body.previous_state, body.seq) == ("normal", "unacknowledged", 2)
    assert (body.topic, body.partition, body.detector, body.model_version) == ("readings", 4, "d", "2")
    assert [moment.timestamp() for moment in (body.start, body.end, body.detected, body.peak_time)] == [1, 4, 5, 3]
    assert (body.score, body.limit, body.peak, body.peak_p_value) == (1.0, 3.0, 9.0, 0.001)
    assert body.channels == (Contribution("b", 0.9),)
    assert decode_event(raised.value).end is None
    assert headers_dict(raised.headers)["ce_id"] == body.event_id


@pytest.mark.parametrize(("state", "end"), [("normal", 4), ("unacknowledged", None)])
def test_a_revised_incident_has_ended_where_it_was_cleared_and_only_there(state, end):
    transition = replace(told("cleared").transition, kind="revised", before=state, after=state, active=end is None)
    [body] = publisher().events([Told("readings", 4, "pump-1", "d", 3.0, transition)])
    assert (body.transition, body.state, body.previous_state) == ("revised", state, state)
    assert (body.end.timestamp() if body.end else None) == end


def test_events_carry_what_the_configuration_knows_of_the_asset():
    first, second, other = publisher().events([told("raised"), told("raised", "pump-2"), told("raised", "valve")])
    assert (first.labels, first.weight, first.runbook) == ({"site": "north", "line": "9"}, 3.0, "https://pumps")
    assert (second.labels, second.weight, second.runbook) == ({"site": "north", "line": "1"}, 2.0, "https://pumps")
    assert (other.labels, other.weight, other.runbook) == ({}, 1.0, "")


def test_state_goes_to_the_partition_of_its_input_under_its_key():
    key, entry = StateKey("readings", "pump-1", "d"), StateEntry(1, AlarmState(upto=5))
    [found] = publisher().state(Output(state=[(("readings", 4), key, entry)]))
    assert (found.topic, found.partition) == ("st", 4)
    assert (decode_key(found.key), decode_entry(found.value)) == (key, entry)


def test_a_step_without_results_gives_no_messages():
    assert publisher().outputs(Output()) == publisher().state(Output()) == []
