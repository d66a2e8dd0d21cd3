"""The audit trail: what people and rules decided, what came of it, and what the daemon answered. Pure functions.

A command is a question on `tocsin.commands`; its answer is an event on `tocsin.anomalies` with its id. What timers
and rules decide has no command, and stands in the trail by its event.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dashboard.jsonable import seconds
from monitor.commands import Command, said
from monitor.events import IncidentEvent

CONFIRM_S = 10.0
FORGET_ACCEPTED_S = 15.0
FORGET_S = 600.0
Answer = Literal["asked", "accepted", "rejected", "not confirmed"]
COLUMNS = ("when", "who", "role", "what", "asset", "detector", "incident", "why", "until", "answer", "detail")


@dataclass(frozen=True, slots=True)
class Asked:
    """The newest command about an alarm, and what has come of it."""

    command_id: str
    action: str
    user: str
    at_s: float
    answer: Answer
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the row that it is about."""
        return {
            "id": self.command_id,
            "action": self.action,
            "user": self.user,
            "at": self.at_s,
            "answer": self.answer,
            "detail": self.detail,
        }


def judge(command: Command, answers: Iterable[IncidentEvent], now_s: float) -> tuple[Answer, str]:
    """What came of a command; a rejection by any of its detectors is told before an acceptance by another."""
    found = list(answers)
    rejected = [e for e in found if e.transition == "rejected"]
    if rejected:
        return "rejected", rejected[0].reason
    if found:
        return "accepted", ""
    return ("asked", "") if now_s - command.at.timestamp() < CONFIRM_S else ("not confirmed", "")


def answers_by_command(decisions: Iterable[IncidentEvent]) -> dict[str, list[IncidentEvent]]:
    """Events that answer a command, by its id."""
    answers: dict[str, list[IncidentEvent]] = {}
    for event in decisions:
        if event.command_id:
            answers.setdefault(event.command_id, []).append(event)
    return answers


def last_asked(
    commands: Iterable[Command], decisions: Iterable[IncidentEvent], now_s: float
) -> dict[tuple[str, str, str], Asked]:
    """The newest command about each (asset, detector, incident) that is worth showing; the last two may be ""."""
    answers = answers_by_command(decisions)
    shown: dict[tuple[str, str, str], Asked] = {}
    for command in commands:
        at_s = command.at.timestamp()
        if now_s - at_s > FORGET_S:
            continue
        answer, detail = judge(command, answers.get(command.command_id, ()), now_s)
        key = (command.asset, command.detector, command.incident_id)
        if answer == "accepted" and now_s - at_s > FORGET_ACCEPTED_S:  # and what was tried before is of no interest
            shown = {other: asked for other, asked in shown.items() if not _covers(key, other)}
            continue
        shown[key] = Asked(command.command_id, said(command.action), command.user, at_s, answer, detail)
    return shown


def _covers(key: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    """Whether a command was about the same alarm: one without a detector is about all of its asset's."""
    return key[0] == other[0] and (key[1] == other[1] or "" in (key[1], other[1]))


def who_hid(decisions: Iterable[IncidentEvent]) -> dict[str, IncidentEvent]:
    """The event that hid each alarm last, by the alarm's id: later ones do not repeat who, why and until when."""
    return {e.alarm_id: e for e in decisions if e.transition in ("shelved", "suppressed", "taken_out_of_service")}


def who_acknowledged(decisions: Iterable[IncidentEvent]) -> dict[str, tuple[str, float]]:
    """Who acknowledged each incident last, and when (wall clock, s)."""
    return {
        e.occurrence_id or e.incident_id: (e.actor, (e.decided or e.detected).timestamp())
        for e in decisions
        if e.transition == "acknowledged"
    }


def said_true_or_false(decisions: Iterable[IncidentEvent]) -> dict[str, str]:
    """What a person last said of each incident: "true" or "false" alarm."""
    return {e.occurrence_id or e.incident_id: e.label for e in decisions if e.transition == "labelled"}


def audit_rows(commands: Iterable[Command], decisions: Iterable[IncidentEvent], now_s: float) -> list[dict[str, Any]]:
    """The whole trail, newest first: every command with its answer, and every decision that no command caused."""
    answers = answers_by_command(decisions := list(decisions))
    known = list(commands)
    ids = {command.command_id for command in known}
    rows = [_command_row(c, *judge(c, answers.get(c.command_id, ()), now_s)) for c in known]
    rows += [_decision_row(e) for e in decisions if e.command_id not in ids]
    return sorted(rows, key=lambda row: (-row["at"], row["id"]))


def _command_row(command: Command, answer: Answer, detail: str) -> dict[str, Any]:
    what = said(command.action)
    if command.label:
        what = f"label: {command.label} alarm"
    return {
        "id": command.command_id,
        "at": command.at.timestamp(),
        "who": command.user,
        "role": command.role,
        "what": what,
        "asset": command.asset,
        "detector": command.detector,
        "incident": command.incident_id,
        "why": command.reason,
        "until": seconds(command.until),
        "answer": answer,
        "detail": detail,
    }


def _decision_row(event: IncidentEvent) -> dict[str, Any]:
    return {
        "id": event.command_id or event.event_id,
        "at": (event.decided or event.detected).timestamp(),
        "who": event.actor or ("the clock" if event.decided else "a rule"),
        "role": "",
        "what": event.transition.replace("_", " "),
        "asset": event.asset,
        "detector": event.detector,
        "incident": event.occurrence_id,
        "why": event.reason,
        "until": seconds(event.until),
        "answer": "rejected" if event.transition == "rejected" else "accepted",
        "detail": "",
    }


def audit_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The trail as CSV with a header line; times are UTC. No cell begins a formula in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        cells = {**row, "when": _utc(row["at"]), "until": _utc(row["until"])}
        writer.writerow([harmless(str(cells[name])) for name in COLUMNS])
    return text.getvalue()


def harmless(cell: str) -> str:
    """A text that a spreadsheet takes for a text: it reads what begins so as a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _utc(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
