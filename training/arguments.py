"""What a fit is told: read by it, by many fits side by side, and kept with the model."""

from pathlib import Path

import msgspec

from monitor.errors import InvalidConfiguration
from monitor.modelfile import Name
from training.models import AUTO, OVER_FAMILIES, family_named

PRECISIONS = "single", "half"
AT_LEAST_ONE = "hidden", "latent", "epochs", "patience", "batch", "threads"
AT_LEAST_ZERO = "window", "stride", "period_ms"


class FitArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what comes out, besides the data itself; lengths in buckets."""

    files: tuple[Path, ...]
    name: str
    out: Path = Path("models")
    family: str = "dense"
    seconds: float = 60.0  # in which auto tries families, before the one it takes is fitted
    asset: str = ""
    assets: tuple[str, ...] = ()  # to keep of those in the files; all where empty
    window: int = 0  # 0: 16; an ensemble has a window of its own
    stride: int = 0  # 0: 4; of an ensemble 1
    period_ms: int = 0  # 0: the median step of the data
    min_observed: float = 0.5
    drifting: tuple[str, ...] | None = None  # channels an ensemble leaves out; by default those that the data show
    trim: float = 0.03  # of the readings, the most that may be left out for not fitting the rest
    hidden: int = 128
    latent: int = 16
    epochs: int = 40
    patience: int = 6
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    accelerator: str = "cpu"
    threads: int = 1  # more help only where windows are large, and cost much where cores are shared
    precision: str = "single"  # or "half", where the scores allow it
    revision: str = ""


def check(args: FitArgs) -> None:
    """Refuse arguments that cannot work; raises InvalidConfiguration with the argument's name."""
    if args.family not in OVER_FAMILIES:
        family_named(args.family)
    for name in AT_LEAST_ONE:
        if getattr(args, name) < 1:
            raise InvalidConfiguration(f"{name}: {getattr(args, name)} is below 1")
    for name in AT_LEAST_ZERO:
        if getattr(args, name) < 0:
            raise InvalidConfiguration(f"{name}: {getattr(args, name)} is below 0")
    if not 0 <= args.min_observed <= 1:
        raise InvalidConfiguration(f"min_observed: {args.min_observed} is not between 0 and 1")
    if not 0 <= args.trim < 0.5:
        raise InvalidConfiguration(f"trim: {args.trim} is not between 0 and 0.5")
    if not args.learning_rate > 0:
        raise InvalidConfiguration(f"learning_rate: {args.learning_rate} is not above 0")
    if not args.seconds > 0:
        raise InvalidConfiguration(f"seconds: {args.seconds:g} is not above 0")
    if args.family == AUTO and args.window:
        raise InvalidConfiguration(
            "window: auto compares families by the windows that they have themselves; leave it out, or name a family"
        )
    if args.precision == "half" and args.family in OVER_FAMILIES:
        raise InvalidConfiguration(
            f"precision: half is for a single family, and '{args.family}' is none; leave it out, or name a family"
        )
    if args.precision not in PRECISIONS:
        raise InvalidConfiguration(f"precision: '{args.precision}' is neither {' nor '.join(PRECISIONS)}")
    try:
        msgspec.convert(args.name, Name)
    except msgspec.ValidationError:
        raise InvalidConfiguration(f"name: '{args.name}' must be letters, digits, '.', '_' or '-'") from None
