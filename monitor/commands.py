"""What people decide: commands on `tocsin.commands`, who may give them, and reading and writing them.

The topic has one partition and is kept for ever: with the answers on `tocsin.anomalies` it is the audit trail.
"""

import re
from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from monitor.errors import InvalidCommand

Action = Literal[
    "acknowledge",
    "shelve",
    "unshelve",
    "take_out_of_service",
    "return_to_service",
    "reset",
    "accept",
    "label",
]
Role = Literal["viewer", "operator", "engineer"]
# An engineer decides what changes what the monitor rings for; an operator what was rung.
ALLOWED: dict[Action, frozenset[Role]] = {
    "acknowledge": frozenset({"operator", "engineer"}),
    "shelve": frozenset({"operator", "engineer"}),
    "unshelve": frozenset({"operator", "engineer"}),
    "reset": frozenset({"operator", "engineer"}),
    "label": frozenset({"operator", "engineer"}),
    "accept": frozenset({"engineer"}),
    "take_out_of_service": frozenset({"engineer"}),
    "return_to_service": frozenset({"engineer"}),
}
NEEDS_REASON: frozenset[Action] = frozenset({"shelve", "take_out_of_service", "accept"})

_INCIDENT = re.compile("[0-9a-f]{32}")  # see events.identity
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Command(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One decision of a person; `at` is the wall clock when it was taken.

    Without `detector` it is for all detectors of the asset. `incident_id`, where given, must be the alarm's present
    incident (for `label` it may be a past one): what a person saw may be over. `until` (wall clock) ends a shelving;
    `label` is what `label` says of an incident.
    """

    command_id: Annotated[str, Meta(min_length=1, max_length=64)]
    action: Action
    asset: Name
    user: Name
    role: Role
    at: datetime
    detector: Annotated[str, Meta(max_length=128)] = ""
    reason: Annotated[str, Meta(max_length=2000)] = ""
    incident_id: Annotated[str, Meta(max_length=64)] = ""
    until: datetime | None = None
    label: Literal["", "true", "false"] = ""


def allowed(action: Action, role: Role) -> bool:
    """Whether a role may give a command."""
    return role in ALLOWED[action]


def objection(command: Command) -> str:
    """Why a command cannot be obeyed, whatever the alarm's state; empty where nothing is wrong with it."""
    if not allowed(command.action, command.role):
        roles = " or ".join(sorted(ALLOWED[command.action], reverse=True))
        return f"the role {command.role} may not {said(command.action)}; it takes an {roles}"
    if command.action in NEEDS_REASON and not command.reason.strip():
        return f"to {said(command.action)} takes a reason"
    if command.action == "shelve" and command.until is None:
        return "to shelve takes a time at which it ends"
    if command.until is not None and command.until.tzinfo is None:
        return "the time at which it ends has no zone"
    if command.action == "label" and not (command.label and _INCIDENT.fullmatch(command.incident_id)):
        return "to label takes an incident's id, and whether it was a true or a false alarm"
    return ""


def said(action: Action) -> str:
    """A command as a person says it."""
    return {"accept": "accept as normal"}.get(action, action.replace("_", " "))


def encode_command(command: Command) -> bytes:
    """JSON body of a message on `tocsin.commands`; its key is the asset."""
    return msgspec.json.encode(command)


_decoder = msgspec.json.Decoder(Command)


def decode_command(body: bytes) -> Command:
    """Read a command back; raises InvalidCommand with what is wrong with it."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidCommand(f"{error}{_choices(str(error))}", **_addressed(body)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidCommand(str(error), **_addressed(body)) from None


def _choices(what: str) -> str:
    """What there is to choose from, where a word is none of it."""
    known: dict[str, tuple[str, ...]] = {"$.action": get_args(Action), "$.role": get_args(Role)}
    known["$.label"] = ("true", "false")
    found = next((words for path, words in known.items() if "enum" in what and path in what), ())
    return f"; it is one of {', '.join(found)}" if found else ""


def _addressed(body: bytes) -> dict[str, str]:
    """What can be read of a command that is none, to answer it."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    known = found if isinstance(found, dict) else {}
    named = {name: known.get(name) for name in ("command_id", "asset", "user")}
    return {name: value[:256] for name, value in named.items() if isinstance(value, str)}
