"""The `tocsin` command. What a command needs is imported by it, so that help is instant."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.errors import InvalidConfiguration, TocsinError

app = typer.Typer(
    help="Tocsin watches sensor streams on Kafka and rings when a machine stops looking normal.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
DEFAULT_CONFIG = Path("tocsin.toml")


def _version(wanted: bool) -> None:
    if wanted:
        from monitor import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tocsin watches sensor streams on Kafka and rings when a machine stops looking normal."""


@app.command(epilog="**Example:** `tocsin run --config tocsin.toml`")
def run(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Run the daemon: read, score, ring, until SIGTERM or Ctrl-C. The log is JSON on standard error."""
    from monitor.config import load
    from monitor.service import serve

    serve(load(config))


@app.command(epilog="**Example:** `tocsin notify --config tocsin.toml`")
def notify(
    config: ConfigFile = DEFAULT_CONFIG,
    test: Annotated[
        str | None, typer.Option(metavar="ENDPOINT", help="Send one notification there, end it at once, and leave.")
    ] = None,
) -> None:
    """Tell people of incidents: group, notify, keep the figures, until SIGTERM or Ctrl-C. The log is JSON."""
    from monitor.config import load
    from monitor.notify.service import notify as run_notify
    from monitor.notify.service import rehearsed

    loaded = load(config)
    if test is None:
        run_notify(loaded)
        return
    for kind in rehearsed(loaded, test):
        typer.echo(f"{test}: {kind} was taken")


@app.command(epilog="**Example:** `tocsin check --config tocsin.toml`")
def check(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Look at configuration, models and broker; one verdict a line, exit code 1 if any is bad."""
    from rich.console import Console
    from rich.markup import escape

    from monitor.check import check as verdicts
    from monitor.config import load

    screen = Console(highlight=False, soft_wrap=True)
    loaded = load(config)
    count = len(loaded.detectors)
    screen.print(f"[green]ok [/]  configuration: {escape(str(config))}, {count} detector{'' if count == 1 else 's'}")
    bad = 0
    for verdict in verdicts(loaded):
        mark = "[green]ok [/]" if verdict.good else "[red]bad[/]"
        screen.print(f"{mark}  {escape(verdict.what)}: {escape(verdict.text)}")
        bad += not verdict.good
    if bad:
        raise typer.Exit(1)


@app.command(epilog="**Example:** `tocsin broker --port 9092 --data .tocsin/broker`")
def broker(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9092,
    data: Annotated[
        Path | None, typer.Option(help="Folder that keeps the data.", show_default="a temporary one")
    ] = None,
) -> None:
    """Run the embedded broker until Ctrl-C: for trying things out, not for a plant."""
    from monitor.broker import run_broker

    run_broker(host, port, data, announce=lambda address: print(f"broker: {address}", flush=True))


@app.command(epilog="**Example:** `tocsin topics --partitions 8 --replication 3`")
def topics(
    config: ConfigFile = DEFAULT_CONFIG,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the input topic.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
) -> None:
    """Create the topics that are missing; give scores and state as many partitions as the input has."""
    from monitor.admin import create_topics
    from monitor.config import load

    for fact in create_topics(load(config), partitions, replication):
        verb = "created" if fact.created else "grown  " if fact.grown_from else "exists "
        since = f", before {fact.grown_from}" if fact.grown_from else ""
        typer.echo(f"{verb}  {fact.name}: {fact.partitions} partition{'s' if fact.partitions > 1 else ''}{since}")
        for warning in fact.warnings:
            typer.echo(f"         warning: {warning}", err=True)


@app.command(epilog="**Example:** `tocsin leave --instance daemon-3`")
def leave(
    config: ConfigFile = DEFAULT_CONFIG,
    instance: Annotated[
        str | None, typer.Option(help="The daemon's instance_id.", show_default="as configured")
    ] = None,
) -> None:
    """Take a daemon that is gone for good out of its group: the others have its partitions at once."""
    from monitor.cluster import remove_member
    from monitor.config import load
    from monitor.transport.member import instance_of

    loaded = load(config)
    name = instance or instance_of(loaded)
    was_there = remove_member(loaded, name)
    typer.echo(f"{name} {'has left' if was_there else 'is not in'} the group {loaded.delivery.group}")


Speed = Annotated[
    float | None,
    typer.Option(help="Seconds of event time in a second; 1 is real time.", show_default="as fast as it goes"),
]


@app.command(epilog="**Example:** `tocsin replay machine-1-7/test.parquet --speed 600`")
def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Parquet or CSV files, merged by event time.")
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    speed: Speed = None,
    encoding: Annotated[str, typer.Option(help="json, json-narrow or arrow.")] = "json",
    asset: Annotated[str | None, typer.Option(help="Asset of files without that column.")] = None,
) -> None:
    """Send recorded readings to the input topic, at the pace of their event times."""
    from monitor.config import load
    from monitor.datafiles import merge_recordings, read_recording
    from monitor.progress import send

    loaded = load(config)
    recording = merge_recordings([read_recording(file, asset) for file in files])
    send(loaded, recording, len(recording), speed, encoding)


@app.command(epilog="**Example:** `tocsin simulate --assets 20 --hours 24 --out plant.parquet`")
def simulate(
    assets: Annotated[int, typer.Option(min=1, help="Number of pumps.")] = 6,
    hours: Annotated[float, typer.Option(min=0.001, help="Hours of event time.")] = 24.0,
    period: Annotated[float, typer.Option(help="Seconds between two readings of a pump.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same readings.")] = 0,
    faults: Annotated[bool, typer.Option(help="With faults that start at known times, or without.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="Parquet or CSV file to write, labelled.", show_default="Kafka")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    speed: Speed = None,
    encoding: Annotated[str, typer.Option(help="json, json-narrow or arrow; to Kafka only.")] = "json",
) -> None:
    """Simulate a plant of pumps with faults that start at known times, to a file or to the input topic."""
    from monitor.config import load
    from monitor.datafiles import write_recording
    from monitor.plant import fault_schedule, parse_plant
    from monitor.progress import counted, progress, send
    from monitor.simulate import generate

    settings: dict[str, Any] = {"assets": assets, "duration_s": hours * 3600, "period_s": period, "seed": seed}
    plant = parse_plant(settings if faults else settings | {"faults": ()})
    total = plant.steps * plant.assets
    parts = (chunk.readings for chunk in generate(plant))
    if out is None:
        send(load(config), parts, total, speed, encoding)
        return
    with progress("simulating", total) as advance:
        written = write_recording(out, counted(parts, advance))
    typer.echo(f"{out}: {written} readings of {plant.assets} pumps, {len(fault_schedule(plant))} faults")


@app.command(epilog="**Example:** `tocsin decide shelve pump-7 --for 2 --reason 'seal is being changed'`")
def decide(
    action: Annotated[
        str,
        typer.Argument(
            help="acknowledge, shelve, unshelve, reset, label; take_out_of_service, return_to_service, accept."
        ),
    ],
    asset: Annotated[str, typer.Argument(help="The asset whose alarm it is about.")],
    config: ConfigFile = DEFAULT_CONFIG,
    detector: Annotated[str, typer.Option(help="One of its detectors.", show_default="all")] = "",
    reason: Annotated[str, typer.Option(help="Why; to shelve, to accept and to take out of service need it.")] = "",
    hours: Annotated[float, typer.Option("--for", min=0.001, help="Hours for which to shelve.")] = 1.0,
    incident: Annotated[str, typer.Option(help="The incident that is meant; a label needs it.")] = "",
    label: Annotated[str, typer.Option(help="true or false alarm, with the action label.")] = "",
    user: Annotated[str | None, typer.Option(help="Who decides.", show_default="this login")] = None,
    role: Annotated[str, typer.Option(help="operator or engineer.")] = "operator",
) -> None:
    """Decide about an alarm, as the dashboard does, and say what became of it; exit code 1 where nothing did."""
    import getpass
    import uuid
    from datetime import UTC, datetime, timedelta

    from monitor.commands import decode_command
    from monitor.config import load
    from monitor.decide import ANSWER_WITHIN_S
    from monitor.decide import decide as ask

    now = datetime.now(UTC)
    fields = {"action": action, "asset": asset, "detector": detector, "reason": reason, "incident_id": incident}
    fields |= {"user": user or getpass.getuser(), "role": role, "label": label, "command_id": uuid.uuid4().hex}
    fields["at"] = now.isoformat()
    if action == "shelve":
        fields["until"] = (now + timedelta(hours=hours)).isoformat()
    answers = ask(load(config), decode_command(json.dumps(fields).encode()))
    for answer in answers:
        why = f": {answer.reason}" if answer.transition == "rejected" else ""
        typer.echo(f"{answer.asset}, {answer.detector}: {answer.transition}{why}; it is {answer.state}")
    if not answers:
        typer.echo(
            f"not confirmed: no daemon that has seen {asset} answered in {ANSWER_WITHIN_S:g} s; one that runs later "
            "obeys it still",
            err=True,
        )
    if not any(answer.transition != "rejected" for answer in answers):
        raise typer.Exit(1)


@app.command(epilog="**Example:** `tocsin backtest plant.parquet --model models/pump --out backtest`")
def backtest(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Parquet or CSV files, merged by event time.")
    ],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Model file or directory, for all assets.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take detectors and rules from a configuration instead.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for scores.parquet, incidents.jsonl and drift.jsonl.")] = Path(
        "backtest"
    ),
    budget: Annotated[float, typer.Option(help="False alarms accepted per asset and day; with --model.")] = 1.0,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of the input topic, for equal incident ids.")
    ] = 1,
    asset: Annotated[str | None, typer.Option(help="Asset of files without that column.")] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSET@TIME", help="Accept the asset's open alarm as normal then; may be given again."),
    ] = None,
) -> None:
    """Run the daemon's own step over recorded readings, without a broker."""
    from monitor.assembly import assemble, load_models
    from monitor.backtest import acceptance
    from monitor.backtest import backtest as run_backtest
    from monitor.config import load, parse
    from monitor.datafiles import merge_recordings, read_recording
    from monitor.progress import progress

    if (model is None) == (config is None):
        raise InvalidConfiguration("give --model or --config, one of the two")
    if config is not None:
        loaded = load(config)
    else:
        detector = {"name": "backtest", "model": str(model), "assets": ["*"], "alarm_budget_per_day": budget}
        loaded = parse({"detectors": [detector]})
    accepted = [acceptance(text) for text in accept or []]
    recording = merge_recordings([read_recording(file, asset) for file in files])
    assembly = assemble(loaded, load_models(loaded))
    with progress("backtesting", len(recording)) as advance:
        done = run_backtest(loaded, assembly, recording, out, partitions, advance, accepted)
    typer.echo(
        f"{out}: {done.readings} readings, {done.windows} windows ({done.windows_not_scored} with too little "
        f"observed), {done.incidents} incidents"
    )
    if accepted:
        typer.echo(f"{done.accepted} alarms accepted as normal; so many were asked for: {len(accepted)}", err=True)
    if done.unwatched:
        typer.echo(f"{done.unwatched} readings are of assets that no detector watches", err=True)
    for fault in done.faults:
        typer.echo(
            f"{fault.windows} windows have no score: model version '{fault.version}' of detector '{fault.detector}' "
            f"gave none that is finite {fault.detail}".rstrip(),
            err=True,
        )


@app.command(epilog="**Example:** `tocsin demo --headless --seconds 60`")
def demo(
    headless: Annotated[bool, typer.Option(help="End with the replay, and wait for nobody.")] = False,
    seconds: Annotated[float, typer.Option(min=5, help="Length of the replay.")] = 300.0,
    speed: Annotated[
        float | None, typer.Option(min=0.1, help="Times real time.", show_default="all of the data in these seconds")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where configuration, models and logs go.")] = Path(".tocsin/demo"),
    port: Annotated[int, typer.Option(help="Port of the dashboard; where it is taken, any other.")] = 8501,
    broker: Annotated[
        str | None, typer.Option(help="Address of a Kafka of yours.", show_default="an embedded broker")
    ] = None,
) -> None:
    """Everything at once: broker, training, daemon, replay of real data, and the dashboard, until Ctrl-C.

    The last line on standard output is one JSON object with the figures of the run.
    """
    from monitor.demo.run import run_demo

    raise typer.Exit(run_demo(folder, headless, seconds, speed, port, broker))


def main() -> None:
    """Entry point: an error that an operator can mend is one sentence on standard error, and exit code 1."""
    try:
        app()
    except TocsinError as error:
        typer.secho(f"tocsin: {error}", err=True, fg="red")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
