"""Everything that the daemon writes is as its schema says, and no field is without one."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from monitor.events import GroupEvent, Member, SensorEvent, encode_event, event_headers, headers_dict
from monitor.schemas import schemas
from monitor.transport import Outgoing
from monitor.wire import decode_scores
from tests.monitor.test_daemon import Plant
from tests.monitor.test_people import command, posts, rings
from tests.require import require

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMAS = schemas()


def errors(name, document):
    schema = SCHEMAS[name]
    known = set(schema.get("properties", document))
    unknown = set(document) - known if isinstance(document, dict) else set()
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return [error.message for error in checker.iter_errors(document)] + sorted(unknown)


@pytest.fixture(scope="module")
def plant():
    """A daemon that has seen something of everything."""
    made = Plant()
    rings(made)
    posts(made, command("acknowledge"))
    posts(made, command("acknowledge", command_id="again"))
    made.broker.append(Outgoing("tocsin.readings", b"no reading", b"pump-0", [("origin", b"plc")], 0))
    made.daemon.turn()
    made.reads(0, *range(20, 40), value=0.1)
    made.passes(1000)
    return made


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_incident_events_are_as_their_schema_says(plant):
    bodies = [json.loads(record.value) for record in plant.broker.read("tocsin.anomalies")]
    assert {body["transition"] for body in bodies} >= {"raised", "acknowledged", "rejected", "cleared"}
    assert [errors("anomalies.incident", body) for body in bodies] == [[]] * len(bodies)


def test_scores_states_commands_dead_letters_and_readings_are_as_their_schemas_say(plant):
    found = {
        "scores": [],
        "readings": [],
        "commands": [],
        "state.key": [],
        "state.value": [],
        "deadletter.headers": [],
    }
    for record in plant.broker.read("tocsin.scores"):
        rows = decode_scores(record.value).to_pylist()
        found["scores"] += [json.loads(json.dumps(row, default=lambda at: at.isoformat())) for row in rows]
    for record in plant.broker.read("tocsin.state"):
        found["state.key"].append(json.loads(record.key))
        found["state.value"].append(json.loads(record.value))
    for record in plant.broker.read("tocsin.deadletter"):
        told = headers_dict(record.headers)
        found["deadletter.headers"].append({key: text for key, text in told.items() if key.startswith("tocsin-")})
    found["commands"] = [json.loads(record.value) for record in plant.broker.read("tocsin.commands")]
    found["readings"] = [
        json.loads(record.value) for record in plant.broker.read("tocsin.readings") if record.value[:1] == b"{"
    ]
    assert all(found.values())
    assert [(name, wrong) for name, many in found.items() for each in many if (wrong := errors(name, each))] == []


def test_sensor_and_group_events_are_as_their_schemas_say():
    sensor = SensorEvent("s", 1, "pump-1", "d", "a", "flat", "ok", NOW, NOW, "r", 0)
    member = Member("i", "pump-1", "d", NOW)
    group = GroupEvent("g", 1, "opened", {"line": "2"}, member, (member, member), NOW, None, NOW)
    assert errors("anomalies.sensor", json.loads(encode_event(sensor))) == []
    assert errors("anomalies.group", json.loads(encode_event(group))) == []


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("readings", {"asset": "", "ts": 1, "values": {}}),
        ("readings", {"asset": "p", "ts": 1, "values": {"a": "high"}}),
        ("readings", {"asset": "p", "channel": "a", "value": 1.0}),
        (
            "commands",
            {"command_id": "1", "action": "explode", "asset": "p", "user": "u", "role": "viewer", "at": "now"},
        ),
        ("state.key", ["topic", "asset"]),
        ("deadletter.headers", {"tocsin-reason": "because"}),
    ],
)
def test_what_is_wrong_is_wrong_by_the_schema(name, document):
    assert errors(name, document)


def test_events_are_cloud_events_in_structured_form_too(plant):
    folder = Path(os.environ.get("TOCSIN_SCHEMAS", Path(__file__).parents[3] / "shared" / "schemas"))
    file = folder / "cloudevents-1.0.schema.json"
    require(file.exists(), "the schema of CloudEvents is missing: put it into TOCSIN_SCHEMAS")
    schema = json.loads(file.read_text())
    records = plant.broker.read("tocsin.anomalies")
    group = Member("i", "pump-1", "d", NOW)
    event = GroupEvent("g", 1, "opened", {}, group, (group,), NOW, None, NOW)
    told = [(record.headers, record.value) for record in records] + [(event_headers(event), encode_event(event))]
    for headers, body in told:
        names = headers_dict(headers)
        envelope = {name.removeprefix("ce_"): text for name, text in names.items() if name.startswith("ce_")}
        envelope |= {"datacontenttype": names["content-type"], "data": json.loads(body)}
        jsonschema.validate(envelope, schema, format_checker=jsonschema.FormatChecker())
