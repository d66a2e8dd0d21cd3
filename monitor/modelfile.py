"""The model file: one `.onnx` file that says everything about itself.

The graph takes `window` (B, W, C) float32 in engineering units, NaN where missing, and gives `score` (B,),
`channel_score` (B, C), `reconstruction` (B, W, C) and `latent` (B, K). `metadata_props["tocsin"]` is one
JSON document, `ModelMetadata`, checked by the same struct when it is written and when it is read.
"""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from monitor.errors import InvalidModel

SCHEMA = 1
METADATA_KEY = "tocsin"
INPUT = "window"
OUTPUTS = ("score", "channel_score", "reconstruction", "latent")
MODEL_FILE = "model.onnx"
CURRENT = "current"
MAX_CELLS = 4_194_304  # values in one window

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Name = Annotated[str, Meta(pattern=NAME)]
Positive = Annotated[int, Meta(ge=1)]
Period = Annotated[int, Meta(ge=1, le=366 * 86_400_000)]  # ms
Share = Annotated[float, Meta(ge=0, le=1)]


class Channel(Struct, frozen=True):
    """One sensor: its name, unit, and the lowest and highest value that training saw.

    `flat_s` and `missing` are what its faults are told by: without them it is never flat, nor dropping out.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    drifting: bool = False  # in training: left out of the score
    flat_s: Annotated[float, Meta(ge=0)] | None = None  # longest time at one value in training, where it is known
    missing: Share | None = None  # of its values in training


class Tail(Struct, frozen=True):
    """Generalised Pareto tail of the scores above `threshold`, which the share `share` of windows exceeds."""

    threshold: float
    share: Annotated[float, Meta(gt=0, le=1)]
    shape: float
    scale: Annotated[float, Meta(gt=0)]


class Incidents(Struct, frozen=True):
    """Incidents that normal data out of the model's sight raised at each limit, counted by the daemon's own rules.

    `days` of one asset were counted on. `rates` are [incidents a day, score]: with this score as the limit that
    `lift` multiplies at each raise, and one raise taken back in the time that this rate gives, normal data raised so
    many; rates fall, scores rise. Below the score `clear` a window is back to normal.
    """

    days: Annotated[float, Meta(gt=0)]
    rates: Annotated[
        tuple[tuple[Annotated[float, Meta(gt=0)], Annotated[float, Meta(gt=0)]], ...], Meta(min_length=2)
    ]
    clear: float
    lift: Annotated[float, Meta(ge=1)] = 2.0


class Calibration(Struct, frozen=True):
    """Scores of normal windows held out in time: quantiles [cumulative probability, score], rising, and a tail.

    `n` windows were scored; `effective_n` is how many independent ones they are worth, since windows overlap.
    Without `incidents` the limit is a quantile that spends the alarm budget window by window.
    """

    n: Positive
    effective_n: Annotated[float, Meta(gt=0)]
    quantiles: Annotated[tuple[tuple[Share, float], ...], Meta(min_length=2)]
    tail: Tail
    incidents: Incidents | None = None


class Training(Struct, frozen=True, rename={"from_": "from"}):
    """What the model was trained on: rows, assets, first and last event time (RFC 3339), digest of the data."""

    rows: int
    assets: tuple[str, ...]
    from_: str
    to: str
    sha256: str


class ModelMetadata(Struct, frozen=True):
    """The JSON document in the model file; unknown keys are ignored, so that later versions can add some."""

    schema: int
    name: Name
    version: Name
    family: str
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)]
    window: Positive
    stride: Positive
    period_ms: Period
    min_observed: Share
    calibration: Calibration
    training: Training
    metrics: dict[str, Any]
    created: str
    revision: str = ""
    precision: str = "single"  # of the network's weights and arithmetic, or "half"; scores are in single always
    arguments: dict[str, Any] = {}  # of the fit, by name; files without their folders

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in the order of the graph's last axis."""
        return tuple(channel.name for channel in self.channels)

    @property
    def windows_per_day(self) -> float:
        """Windows that an asset without gaps closes in 24 hours."""
        return windows_per_day(self.period_ms, self.stride)


def windows_per_day(period_ms: int, stride: int) -> float:
    """Windows that an asset without gaps closes in 24 hours."""
    return 86_400_000 / (period_ms * stride)


def encode_metadata(metadata: ModelMetadata) -> str:
    """Turn metadata into the JSON text of `metadata_props`, after the check that reading makes."""
    text = msgspec.json.encode(metadata)
    parse_metadata(text)
    return text.decode()


def parse_metadata(text: str | bytes) -> ModelMetadata:
    """Read metadata; raises InvalidModel with the path of what is wrong."""
    try:
        metadata = msgspec.json.decode(text, type=ModelMetadata)
    except msgspec.ValidationError as error:
        raise InvalidModel(f"metadata_props['{METADATA_KEY}']: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidModel(f"metadata_props['{METADATA_KEY}'] is no JSON: {error}") from None
    _check(metadata)
    return metadata


def _check(metadata: ModelMetadata) -> None:
    """Clauses that a type cannot say."""
    if metadata.schema != SCHEMA:
        raise InvalidModel(f"schema is {metadata.schema}; this version reads schema {SCHEMA}")
    names = metadata.channel_names
    if len(set(names)) != len(names):
        raise InvalidModel("channels: a channel name stands twice")
    if metadata.window * len(names) > MAX_CELLS or metadata.stride > MAX_CELLS:
        raise InvalidModel(f"window and stride: a window has at most {MAX_CELLS} cells, a stride as many buckets")
    points = metadata.calibration.quantiles
    if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(points)):
        raise InvalidModel("calibration.quantiles: probabilities and scores must rise")
    incidents = metadata.calibration.incidents
    if incidents and any(a[0] <= b[0] or a[1] > b[1] for a, b in pairwise(incidents.rates)):
        raise InvalidModel("calibration.incidents.rates: incidents a day must fall and scores rise")


# ------------------------------------------------------------------------------------------- model directories


def current_version(directory: str | os.PathLike[str]) -> str:
    """Version in service of a model directory `.../name`; raises InvalidModel where there is none."""
    pointer = Path(directory) / CURRENT
    try:
        version = pointer.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidModel(
            f"{pointer}: {error.strerror or error}; a model directory has a file '{CURRENT}'"
        ) from None
    except UnicodeDecodeError:
        raise InvalidModel(f"{pointer}: it is no text") from None
    if re.fullmatch(NAME, version) is None:
        raise InvalidModel(f"{pointer}: {version[:100]!r} is no version")
    return version


def resolve_model(path: str | os.PathLike[str]) -> Path:
    """File to load for `path`: an .onnx file itself, else the current version of a model directory."""
    given = Path(path)
    if given.is_file():
        return given
    if not given.is_dir():
        raise InvalidModel(f"{given}: no such model file or directory")
    if (given / MODEL_FILE).is_file():
        return given / MODEL_FILE
    return given / current_version(given) / MODEL_FILE


def set_current(directory: str | os.PathLike[str], version: str) -> None:
    """Put a version into service: one line, replaced by rename, so that a reader sees the old or the new one."""
    pointer = Path(directory) / CURRENT
    half_written = pointer.with_name(f".{CURRENT}.{os.getpid()}")
    half_written.write_text(version + "\n", encoding="utf-8")
    half_written.replace(pointer)


def new_version(directory: str | os.PathLike[str]) -> str:
    """Claim the next free version number of a model directory by making its folder; safe beside other writers."""
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    taken = [int(entry.name) for entry in root.iterdir() if entry.name.isdigit()]
    number = max(taken, default=0) + 1
    while True:
        try:
            (root / str(number)).mkdir()
            return str(number)
        except FileExistsError:
            number += 1
