"""The `tocsin-train` command. PyTorch is imported by the command that needs it, so that help is instant."""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import InvalidConfiguration, InvalidData, TocsinError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.arguments import FitArgs
    from training.fit import Fitted
    from training.learning import Progress
    from training.many import Outcome
    from training.trim import Suspect

EXAMPLE = """Learn what is normal from recorded data, and export a calibrated model.

Files are Parquet or CSV with a column 'ts' and one column per channel ('asset' is optional), or with the
columns 'asset', 'channel', 'ts', 'value'. They should hold normal operation. The newest fifth is held out for
calibration.

**Example**

    tocsin-train fit history.parquet --name pump --family dense --window 64 --stride 8
"""

# What is evaluated unless the command line says otherwise; the benchmark uses the same on all of its data.
FAMILY, WINDOW, STRIDE = "ensemble", 0, 0

app = typer.Typer(
    help="Train, calibrate and export models for Tocsin.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Train, calibrate and export models for Tocsin."""


@app.command(help=EXAMPLE, no_args_is_help=True)
def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Parquet or CSV files of normal operation.")],
    name: Annotated[
        str, typer.Option(help="Name of the model; by default the asset, else what the first file is about.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder that holds the model directories.")] = Path("models"),
    family: Annotated[str, typer.Option(help="Model family; see 'tocsin-train families'.")] = "dense",
    seconds: Annotated[float, typer.Option(help="Of family auto: time in which to try families.")] = 60.0,
    window: Annotated[int, typer.Option(help="Length of a window, in periods.")] = 0,
    stride: Annotated[
        int, typer.Option(help="Periods from one window to the next.", show_default="4; of an ensemble 1")
    ] = 0,
    period: Annotated[int, typer.Option(help="Sampling grid, in ms.", show_default="the median step of 'ts'")] = 0,
    epochs: Annotated[int, typer.Option(help="Most passes over the data; validation may stop sooner.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of weights and order; the same seed gives the same model.")] = 0,
    asset: Annotated[str, typer.Option(help="Asset to train on; names the asset of files without that column.")] = "",
    latent: Annotated[int, typer.Option(help="Size of the narrowest layer.")] = 16,
    hidden: Annotated[int, typer.Option(help="Size of the hidden layers.")] = 128,
    batch: Annotated[int, typer.Option(help="Most windows in a training step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Step size of the Adam optimiser.")] = 2e-3,
    min_observed: Annotated[float, typer.Option(help="Share of a window's values that must be there.")] = 0.5,
    trim: Annotated[
        float, typer.Option(help="Most of the readings to leave out for not fitting the rest; 0 only lists them.")
    ] = 0.03,
    accelerator: Annotated[str, typer.Option(help="Lightning's: cpu, gpu, auto.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; more help only where windows are large.")] = 1,
    precision: Annotated[
        str, typer.Option(help="single, or half: half the weights' size, kept only if the scores stay what they are.")
    ] = "single",
    revision: Annotated[str, typer.Option(help="Any text to keep in the model, such as a commit.")] = "",
    per: Annotated[
        str, typer.Option(help="One model for 'all' assets, for each 'asset', or for each 'type'.")
    ] = "all",
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="GLOB", help="A type of assets, `pump-*` or `pumps=p*`; may be repeated."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Processes for many models.", min=0, show_default="one for each core")
    ] = 0,
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster for many models, or auto, or local.")] = "",
    mlflow: Annotated[str, typer.Option(metavar="URI", help="MLflow server or store to log each fit to.")] = "",
) -> None:
    """Fit and export one model or many, with a progress bar."""
    with _bar() as progress:
        from training import arguments, tracking

        args = arguments.FitArgs(
            files=tuple(files),
            name=name,
            out=out,
            family=family,
            seconds=seconds,
            asset=asset,
            window=window,
            stride=stride,
            period_ms=period,
            min_observed=min_observed,
            trim=trim,
            hidden=hidden,
            latent=latent,
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            accelerator=accelerator,
            threads=threads,
            revision=revision,
            precision=precision,
        )

        store = tracking.client(mlflow) if mlflow else None
        many = bool(types) or per != "all"
        outcomes = _outcomes(args, types or [], per, jobs, ray, progress) if many else _outcome(args, progress)
        count = failed = 0
        for outcome in outcomes:
            count += 1
            try:
                if outcome.fitted is None:
                    raise InvalidData(outcome.error)
                tell(outcome.fitted, precision, f"{outcome.name}: " if many else "")
                if store:
                    tracking.log(store, mlflow, outcome.fitted)
            except TocsinError as error:  # the others go on
                failed += 1
                print(f"tocsin-train: {outcome.name}: {error}", file=sys.stderr)
    if failed and many:
        print(f"tocsin-train: {failed} of {count} models could not be fitted or logged", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _outcome(args: "FitArgs", progress: "Progress") -> "Iterator[Outcome]":
    """The one model of all files."""
    import msgspec

    from monitor.datafiles import asset_name
    from training.fit import fit
    from training.many import Outcome

    name = args.name or args.asset or asset_name(args.files[0])
    yield Outcome(name, fit(msgspec.structs.replace(args, name=name), progress))


def _outcomes(
    args: "FitArgs", types: "Sequence[str]", per: str, jobs: int, ray: str, progress: "Progress"
) -> "Iterator[Outcome]":
    """A model for each asset or type, as they are done."""
    from training import groups, many

    if per not in groups.PER or (per == "type" and not types) or (per == "asset" and types):
        raise InvalidConfiguration("per: it is all, asset, or type with at least one --type")
    where = groups.assets_of(args.files, args.asset)
    assets = set().union(*where.values())
    fits = groups.fits(args, groups.by_type(assets, types) if types else groups.by_asset(assets), where)
    progress("fit", 0, len(fits))
    outcomes = many.on_ray(fits, ray) if ray else many.in_processes(fits, jobs or os.cpu_count() or 1)
    for done, outcome in enumerate(outcomes, 1):
        progress(f"fit {done}/{len(fits)}", done, len(fits))
        yield outcome


def tell(fitted: "Fitted", precision: str, before: str) -> None:
    """Say what came out: notes on stderr, the model on stdout."""
    metadata, figures = fitted.metadata, fitted.metadata.metrics
    for note in fitted.notes:
        typer.echo(f"{before}note: {note}", err=True)
    if fitted.dropped:
        typer.echo(f"{before}left out, for they have no value to learn from: {', '.join(fitted.dropped)}", err=True)
    if drifting := [channel.name for channel in metadata.channels if channel.drifting]:
        typer.echo(f"{before}drifting, and not relied on for the score: {', '.join(drifting)}", err=True)
    if precision != metadata.precision:
        typer.echo(
            f"{before}half precision was not kept, for it changes a score by {figures['half_differs_by']:.1e} of its "
            "value: the file is in single precision",
            err=True,
        )
    typer.echo(
        f"{fitted.model}: {metadata.family}, {len(metadata.channels)} channels, "
        f"{figures['windows_train']} windows, held-out loss {figures['loss_calibration']:.4g}, "
        f"{told_of(fitted.suspects)}{figures['seconds']:.0f} s; report beside it"
    )


def told_of(suspects: "Sequence[Suspect]") -> str:
    """How many stretches are suspect and left out, as a part of a sentence."""
    return (
        f"{sum(one.trimmed for one in suspects)} of {len(suspects)} suspect stretches left out, " if suspects else ""
    )


@app.command(
    epilog="**Example:** `tocsin-train evaluate train.parquet test.parquet --budget 1`", no_args_is_help=True
)
def evaluate(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="Parquet or CSV file of normal operation.")],
    test: Annotated[Path, typer.Argument(metavar="TEST", help="A later file with a column of labels.")],
    family: Annotated[str, typer.Option(help="Model family; see 'tocsin-train families'.")] = FAMILY,
    seconds: Annotated[float, typer.Option(help="Of family auto: time in which to try families.")] = 60.0,
    label: Annotated[str, typer.Option(help="Column that is not 0 in an anomaly.")] = "anomaly",
    budget: Annotated[float, typer.Option(help="False alarms accepted per asset and day.")] = 0.25,
    window: Annotated[int, typer.Option(help="Length of a window, in periods.")] = WINDOW,
    stride: Annotated[int, typer.Option(help="Periods from one window to the next.")] = STRIDE,
    period: Annotated[int, typer.Option(help="Sampling grid, in ms.", show_default="the median step of 'ts'")] = 0,
    epochs: Annotated[int, typer.Option(help="Most passes over the data; validation may stop sooner.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of weights and order; the same seed gives the same model.")] = 0,
    latent: Annotated[int, typer.Option(help="Size of the narrowest layer.")] = 16,
    hidden: Annotated[int, typer.Option(help="Size of the hidden layers.")] = 128,
    min_observed: Annotated[float, typer.Option(help="Share of a window's values that must be there.")] = 0.5,
    trim: Annotated[float, typer.Option(help="Most of the readings to leave out for not fitting the rest.")] = 0.03,
    threads: Annotated[int, typer.Option(help="CPU threads; more help only where windows are large.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Fit on one file, run the daemon's own step over another, and count what it found by the labels there.

    The model and its limit come from TRAIN alone; labels in it are ignored. No figure is point-adjusted.
    """
    import msgspec

    if not 0 < budget <= 1e9:
        raise InvalidConfiguration(f"budget: {budget:g} alarms a day are not above 0")
    with _bar() as progress:
        from training import evaluate as evaluation
        from training.arguments import FitArgs

        fitting = FitArgs(
            files=(),
            name=evaluation.NAME,
            family=family,
            seconds=seconds,
            window=window,
            stride=stride,
            period_ms=period,
            epochs=epochs,
            seed=seed,
            latent=latent,
            hidden=hidden,
            min_observed=min_observed,
            trim=trim,
            threads=threads,
        )
        args = evaluation.EvaluateArgs(train=train, test=test, label=label, budget=budget, fitting=fitting)
        found, _ = evaluation.evaluate(args, progress)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(msgspec.json.encode(found).decode() if as_json else evaluation.table(found))


@contextlib.contextmanager
def _bar() -> "Iterator[Progress]":
    """A progress bar on stderr, where that is a terminal, from before PyTorch is imported."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    screen = Console(stderr=True)
    columns = TextColumn("{task.description:<14}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("import PyTorch", total=None)

        def progress(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total if total > 1 else None)

        yield progress


@app.command(epilog="**Example:** `tocsin-train families`")
def families() -> None:
    """List the model families."""
    from training.models import FAMILIES, OVER_FAMILIES

    for name, summary in ({name: family.summary for name, family in FAMILIES.items()} | OVER_FAMILIES).items():
        typer.echo(f"{name:<13} {summary}")


def main() -> None:
    """Entry point: errors on purpose are one sentence on stderr and exit code 1."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what is unfinished goes
    try:
        app()
    except (TocsinError, OSError) as error:
        print(f"tocsin-train: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
