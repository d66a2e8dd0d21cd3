"""JSON Schemas (draft 2020-12) of what is on the topics, made from the structs that it is read and written with."""

from typing import Any

import msgspec

from monitor.columns import REASONS
from monitor.commands import Command
from monitor.events import GroupEvent, IncidentEvent, SensorEvent
from monitor.notify.state import Entry as NotifyEntry
from monitor.state import StateEntry

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER = {"type": ["number", "null"]}
_NAME = {"type": "string", "minLength": 1}
_TIME = {
    "description": "RFC 3339 with a zone, or a number in the unit that the daemon is configured with",
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
}
_FLOATS = {"type": "array", "items": _NUMBER}

# What structs do not say: readings come from elsewhere, scores are Arrow, dead letters have headers.
READING: dict[str, Any] = {
    "description": "One reading in JSON, wide or narrow; as Arrow, a column for each of these, or for each channel.",
    "anyOf": [
        {
            "title": "wide",
            "type": "object",
            "properties": {
                "asset": _NAME,
                "ts": _TIME,
                "values": {"type": "object", "additionalProperties": _NUMBER},
            },
            "required": ["asset", "ts", "values"],
        },
        {
            "title": "narrow",
            "type": "object",
            "properties": {"asset": _NAME, "channel": _NAME, "ts": _TIME, "value": _NUMBER},
            "required": ["asset", "channel", "ts", "value"],
        },
    ],
}
SCORE: dict[str, Any] = {
    "description": "One row of the Arrow record batches on the topic, as JSON.",
    "type": "object",
    "properties": {
        "asset": _NAME,
        "window_end": {"type": "string", "format": "date-time"},
        "score": {"type": "number", "minimum": 0},
        "p_value": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "limit": {"type": "number"},
        "channel_scores": _FLOATS,
        "detector": _NAME,
        "model_version": {"type": "string"},
        "seen": _FLOATS,
        "expected": _FLOATS,
    },
    "required": [
        "asset",
        "window_end",
        "score",
        "p_value",
        "limit",
        "channel_scores",
        "detector",
        "model_version",
    ],
}
DEAD_LETTER: dict[str, Any] = {
    "description": "The headers of a dead letter, as text; its value, key and other headers are the original's.",
    "type": "object",
    "properties": {
        "tocsin-topic": _NAME,
        "tocsin-partition": {"type": "string", "pattern": "^[0-9]+$"},
        "tocsin-offset": {"type": "string", "pattern": "^[0-9]+$"},
        "tocsin-timestamp": {"type": "string", "pattern": "^-?[0-9]+$"},
        "tocsin-reason": {"enum": sorted(REASONS)},
        "tocsin-detail": {"type": "string"},
        "tocsin-rows": {"description": "An Arrow IPC stream of the rows that are bad; the others were scored."},
        "tocsin-truncated": {"type": "string"},
    },
    "required": [f"tocsin-{name}" for name in ("topic", "partition", "offset", "timestamp", "reason", "detail")],
}
STATE_KEY: dict[str, Any] = {
    "description": "Key of an entry: input topic, asset, detector.",
    "type": "array",
    "prefixItems": [{"type": "string"}] * 3,
    "items": False,
    "minItems": 3,
}


def schemas() -> dict[str, dict[str, Any]]:
    """A document for each kind of message, by the name of its file."""
    made: dict[str, dict[str, Any]] = {
        "readings": READING,
        "scores": SCORE,
        "deadletter.headers": DEAD_LETTER,
        "state.key": STATE_KEY,
        "anomalies.incident": _of(IncidentEvent),
        "anomalies.sensor": _of(SensorEvent),
        "anomalies.group": _of(GroupEvent),
        "commands": _of(Command),
        "state.value": _of(StateEntry),
        "state.notify": _of(NotifyEntry),
    }
    return {name: {"$schema": DRAFT, "title": f"tocsin.{name}", **document} for name, document in made.items()}


def _of(struct: Any) -> dict[str, Any]:
    """The schema of a struct, its own properties on top."""
    (schema,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    name = schema["$ref"].rpartition("/")[2]
    own = components.pop(name)
    own.pop("title", None)
    return {**own, "$defs": components} if components else own
