"""The configuration file `tocsin.toml`: frozen structs, unknown settings refused with their path."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from monitor.errors import InvalidConfiguration
from monitor.topics import Topics

TEN_YEARS_S = 315_576_000  # longer is a mistake, and what stays below fits into nanoseconds of 64 bits
Delay = Annotated[float, Meta(ge=0, le=TEN_YEARS_S)]
Seconds = Annotated[float, Meta(gt=0, le=TEN_YEARS_S)]
Above0 = Annotated[float, Meta(gt=0, le=1e9)]
Count = Annotated[int, Meta(ge=1)]


class Input(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How readings are read: encoding and time unit where a message does not say, and the rules of event time."""

    encoding: Literal["json", "arrow"] = "json"
    ts_unit: Literal["s", "ms", "us", "ns"] = "ms"
    allowed_lateness_s: Delay = 0.0
    idle_limit_s: Seconds = 300.0
    max_ahead_s: Seconds = 3600.0
    max_message_bytes: Count = 1_048_576
    max_assets: Count = 100_000


class Delivery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The consumer group, and how this process is known in it; batches, waits and limits."""

    group: str = "tocsin"
    instance_id: str | None = None
    assignor: Literal["range", "roundrobin", "sticky", "cooperative-sticky"] = "cooperative-sticky"
    session_timeout_s: Seconds = 10.0
    max_wait_s: Seconds = 0.1
    max_poll_records: Count = 10_000
    scores_message_bytes: Count = 524_288
    shutdown_timeout_s: Seconds = 10.0


class Telemetry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where /metrics, /healthz and /readyz answer (port 0: any free one; -1: nowhere), and the log level."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=-1, le=65535)] = 9464
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Scoring(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How models are run: provider, threads, and the largest batch of windows in one call."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Meta(ge=0)] = 1
    max_batch: Count = 4096


class Detector(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model watching the assets that match a glob or all of the given labels."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    model: Annotated[str, Meta(min_length=1)]
    assets: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    alarm_budget_per_day: Above0 = 1.0
    on_delay_s: Delay = 0.0
    off_delay_s: Delay = 0.0
    deadband: Annotated[float, Meta(ge=1, le=1e9)] = 2.0
    publish_expected: bool = False


class Asset(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of the assets that match a glob."""

    match: str
    labels: dict[str, str] = field(default_factory=dict)
    weight: Above0 = 1.0
    runbook: str = ""


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `kafka` goes to the client as it stands, secrets resolved."""

    kafka: dict[str, Any] = field(default_factory=lambda: {"bootstrap_servers": "127.0.0.1:9092"})
    topics: Topics = Topics()
    input: Input = Input()
    delivery: Delivery = Delivery()
    scoring: Scoring = Scoring()
    telemetry: Telemetry = Telemetry()
    detectors: tuple[Detector, ...] = ()
    assets: tuple[Asset, ...] = ()


def load(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file; model paths in it are relative to its folder.

    Raises InvalidConfiguration with the file and the path of the setting that is wrong.
    """
    file = Path(path)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfiguration(f"{file}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"{file}: not valid TOML: {error}") from None
    try:
        return parse(document, base=file.parent)
    except InvalidConfiguration as error:
        raise InvalidConfiguration(f"{file}: {error}") from None


def parse(document: dict[str, Any], base: Path = Path()) -> Config:
    """Check a configuration that is already a dictionary."""
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise InvalidConfiguration(str(error).replace("$.", "").replace("Object contains", "there is an")) from None
    names = [detector.name for detector in config.detectors]
    for detector in config.detectors:
        if names.count(detector.name) > 1:
            raise InvalidConfiguration(f"detectors: the name '{detector.name}' stands twice")
        if not detector.assets and not detector.labels:
            raise InvalidConfiguration(f"detectors: '{detector.name}' needs `assets` or `labels`")
    detectors = tuple(msgspec.structs.replace(d, model=str(base / d.model)) for d in config.detectors)
    return msgspec.structs.replace(config, kafka=resolve_secrets(config.kafka, base), detectors=detectors)


def resolve_secrets(table: dict[str, Any], base: Path) -> dict[str, Any]:
    """Replace {env = "NAME"} and {file = "PATH"} by what they point to, so that no secret stands in the file."""
    return {key: _secret(f"kafka.{key}", value, base) for key, value in table.items()}


def _secret(path: str, value: Any, base: Path) -> Any:
    if not isinstance(value, dict):
        return value
    match value:
        case {"env": str(name)} if len(value) == 1:
            if name not in os.environ:
                raise InvalidConfiguration(f"{path}: the environment has no variable {name}")
            return os.environ[name]
        case {"file": str(name)} if len(value) == 1:
            try:
                return (base / name).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InvalidConfiguration(f"{path}: {name}: {error.strerror or error}") from None
            except ValueError:
                raise InvalidConfiguration(f"{path}: {name!r} is no text file") from None
    raise InvalidConfiguration(f"{path}: a table here is {{env = NAME}} or {{file = PATH}}")
