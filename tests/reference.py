"""Writes `docs/reference.md` from the code: commands, settings, topics, metrics, log events, reasons.

python -m tests.reference
"""

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import typer.main

from dashboard.cli import app as dashboard_app
from monitor.admin import Retention, plan_topics
from monitor.annunciations import Norms
from monitor.cli import app as tocsin_app
from monitor.columns import REASONS
from monitor.dashboard_settings import Dashboard
from monitor.grouping import Rules
from monitor.notify.settings import Endpoint, Notify
from monitor.notify.telemetry import EVENTS as NOTIFY_EVENTS
from monitor.notify.telemetry import Metrics as NotifyMetrics
from monitor.schemas import schemas
from monitor.sensor_settings import SensorChannel, Sensors
from monitor.settings import Alarms, Asset, Config, Delivery, Detector, Input, Scoring, Suppression, Telemetry
from monitor.telemetry import EVENTS, metric_table
from monitor.transport.librdkafka import OF_BOTH, OF_CONSUMER, OF_PRODUCER
from training.cli import app as train_app

FILE = Path(__file__).parent.parent / "docs" / "reference.md"
SCHEMAS = FILE.parent / "schemas"
TABLES = {
    "[input]": Input,
    "[delivery]": Delivery,
    "[scoring]": Scoring,
    "[telemetry]": Telemetry,
    "[dashboard]": Dashboard,
    "[[detectors]]": Detector,
    "[[assets]]": Asset,
    "[alarms]": Alarms,
    "[[suppressions]]": Suppression,
    "[sensors]": Sensors,
    "[[channels]]": SensorChannel,
    "[notify]": Notify,
    "[notify.figures]": Norms,
    "[notify.grouping]": Rules,
    "[[notify.endpoints]]": Endpoint,
}
TABLES_WITHIN = ("figures", "grouping", "endpoints")  # of `[notify]`, each a table of its own
TRANSLATED = OF_BOTH | OF_CONSUMER | OF_PRODUCER
TOPIC_CONTENT = {
    "readings": "readings, in any of the encodings; key: asset",
    "scores": "Arrow IPC streams, a record batch each, on their input's partition number",
    "anomalies": "what happens to alarms, sensors and groups: CloudEvents 1.0, JSON, binary content mode; key: asset",
    "deadletter": "what could not be decoded: original bytes, key and headers, and why",
    "commands": "what people decide: JSON; key: asset. One partition, kept for ever: the audit trail",
    "state": "alarm state and recorded closes, compacted; key: JSON array [input topic, asset, detector]; on "
    'partition 0 also what `tocsin notify` keeps; key: ["tocsin.notify", group, part]',
}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def commands() -> str:
    parts = []
    for prefix, app in (("tocsin", tocsin_app), ("tocsin-train", train_app), ("tocsin-dashboard", dashboard_app)):
        command = typer.main.get_command(app)
        found = command.commands.items() if hasattr(command, "commands") else [("", command)]
        for name, each in found:
            parts.append(f"### `{' '.join([prefix, name]).strip()}`\n\n{summary(each)}\n\n{options(each)}")
    return "\n".join(parts)


def summary(command: Any) -> str:
    return " ".join((command.help or "").strip().split("\n\n")[0].split())


def options(command: Any) -> str:
    rows = []
    for each in command.params:
        if each.name == "help":
            continue
        argument = each.param_type_name == "argument"
        name = each.metavar or each.name.upper() if argument else ", ".join(each.opts + each.secondary_opts)
        rows.append([f"`{name}`", each.help or "", default_text(each)])
    return table(["option", "meaning", "default"], rows) if rows else ""


def default_text(each: Any) -> str:
    if isinstance(getattr(each, "show_default", None), str):
        return str(each.show_default)
    if each.required:
        return "required"
    value = each.get_default(click.Context(click.Command("x")), call=False)
    return "" if value is None or value is False or value == "" else f"`{value}`"


def settings() -> str:
    parts = [
        "### `[kafka]`\n\nAny setting of kafka-python, by its name there, goes through to it; those that the daemon "
        'sets itself are refused. A secret is written `{ env = "NAME" }` or `{ file = "PATH" }`.\n\nWith '
        "`delivery.client = \"confluent\"` (`pip install 'tocsin[confluent]'`) the daemon reads and writes by "
        "librdkafka, and settings are translated; one that librdkafka has not is refused by its name. What stands in "
        "`[kafka.librdkafka]` goes to it as it stands, by its names there, and to no other client:\n\n"
        + table(["`[kafka]`", "librdkafka"], [[f"`{a}`", f"`{b}`"] for a, b in sorted(TRANSLATED.items())]),
        "### `[topics]`\n\nThe name of each topic: "
        + ", ".join(f'`{field.name} = "{field.default}"`' for field in msgspec.structs.fields(type(Config().topics)))
        + ".\n",
    ]
    for title, struct in TABLES.items():
        text = (struct.__doc__ or "").splitlines()[0]
        fields = [f for f in msgspec.structs.fields(struct) if struct is not Notify or f.name not in TABLES_WITHIN]
        rows = [[f"`{f.name}`", *described(f)] for f in fields]
        parts.append(f"### `{title}`\n\n{text}\n\n{table(['setting', 'meaning', 'default'], rows)}")
    return "\n".join(parts)


def described(field: Any) -> list[str]:
    text = next(meta.description for meta in reversed(field.type.__metadata__) if meta.description)
    if field.default is not msgspec.NODEFAULT:
        value = "none" if field.default in (None, ()) else f"`{field.default}`"
    else:
        value = "none" if field.default_factory is not msgspec.NODEFAULT else "required"
    return [text, value.replace("``", '`""`')]


def topics() -> str:
    plans = {plan.name: plan for plan in plan_topics(Config(), 8, Retention())}
    rows = []
    for field, name in msgspec.structs.asdict(Config().topics).items():
        plan = plans[name]
        kept = ", ".join(f"{key}={value}" for key, value in sorted(plan.settings.items()) if "retention.ms" in key)
        policy = plan.settings.get("cleanup.policy", "delete")
        rows.append([f"`{name}`", TOPIC_CONTENT[field], str(plan.partitions), f"{policy} {kept}".strip()])
    return table(["topic", "content", "partitions, for an input of 8", "kept"], rows)


def page() -> str:
    known = [*metric_table(), *metric_table(NotifyMetrics())]
    metrics = [[f"`{name}`", kind, labels, text] for name, kind, labels, text in known]
    events = EVENTS | NOTIFY_EVENTS
    return "\n".join(
        [
            "# Reference\n",
            "Written from the code by `python -m tests.reference`; a test fails where the two differ.\n",
            "## Commands\n",
            commands(),
            "## Settings of `tocsin.toml`\n",
            settings(),
            "## Topics\n",
            topics(),
            "[schemas/](schemas/) has a JSON Schema for each kind of message.\n",
            "## Metrics\n",
            table(["metric", "kind", "labels", "meaning"], metrics),
            "## Log events\n",
            table(["event", "meaning"], [[f"`{name}`", text] for name, text in events.items()]),
            "## Reasons of dead letters\n",
            table(["reason", "meaning"], [[f"`{name}`", text] for name, text in REASONS.items()]),
        ]
    )


def schema_files() -> dict[Path, str]:
    """The schemas as files."""
    return {SCHEMAS / f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas().items()}


if __name__ == "__main__":
    SCHEMAS.mkdir(exist_ok=True)
    for file, text in schema_files().items():
        file.write_text(text, encoding="utf-8")
    FILE.write_text(page(), encoding="utf-8")
