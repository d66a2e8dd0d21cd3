"""The configuration file `tocsin.toml`: read, checked, secrets resolved; the settings are in `settings.py`."""

import os
import tomllib
import zoneinfo
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from monitor.dashboard_settings import Dashboard
from monitor.errors import InvalidConfiguration
from monitor.notify.settings import checked
from monitor.settings import Alarms, Asset, Config, Delivery, Detector, Input, Scoring, Suppression, Telemetry

__all__ = [
    "Alarms",
    "Asset",
    "Config",
    "Dashboard",
    "Delivery",
    "Detector",
    "Input",
    "Scoring",
    "Suppression",
    "Telemetry",
    "asset_facts",
    "load",
    "parse",
    "resolve_secrets",
]

SHORTEST_SECRET = 16


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
    rules = config.input
    if 0 < rules.revision_bound_s <= rules.allowed_lateness_s:
        raise InvalidConfiguration(
            f"input.revision_bound_s: {rules.revision_bound_s:g} is not longer than the allowed lateness, "
            f"{rules.allowed_lateness_s:g}; 0 turns revisions off"
        )
    if rules.revision_bound_s and config.delivery.snapshots is not None:
        raise InvalidConfiguration("delivery.snapshots: these hold no readings for revisions; choose one of the two")
    names = [detector.name for detector in config.detectors]
    for detector in config.detectors:
        if names.count(detector.name) > 1:
            raise InvalidConfiguration(f"detectors: the name '{detector.name}' stands twice")
        if not detector.assets and not detector.labels:
            raise InvalidConfiguration(f"detectors: '{detector.name}' needs `assets` or `labels`")
        if detector.density and detector.density[0] > detector.density[1]:
            raise InvalidConfiguration(
                f"detectors: '{detector.name}': density: {detector.density[0]} is more than {detector.density[1]}"
            )
        if detector.priorities[0] > detector.priorities[1]:
            raise InvalidConfiguration(f"detectors: '{detector.name}': priorities: medium is above high")
    for rule in config.suppressions:
        _check_suppression(rule, names)
    if config.input.reset_after_s < config.input.idle_limit_s:
        raise InvalidConfiguration(
            f"input.reset_after_s: {config.input.reset_after_s:g} is less than input.idle_limit_s "
            f"({config.input.idle_limit_s:g}), but an asset is idle before it is reset"
        )
    for channel in config.channels:
        if channel.low is not None and channel.high is not None and channel.low >= channel.high:
            raise InvalidConfiguration(
                f"channels: of '{channel.match}' low ({channel.low:g}) is not below high ({channel.high:g})"
            )
    detectors = tuple(msgspec.structs.replace(d, model=str(base / d.model)) for d in config.detectors)
    delivery = config.delivery
    if delivery.snapshots is not None:
        delivery = msgspec.structs.replace(delivery, snapshots=str(base / delivery.snapshots))
    kafka, notify = resolve_secrets(config.kafka, base), checked(config.notify, base)
    dashboard = _dashboard(config.dashboard, base)
    return msgspec.structs.replace(
        config, kafka=kafka, notify=notify, delivery=delivery, detectors=detectors, dashboard=dashboard
    )


def _dashboard(given: Dashboard, base: Path) -> Dashboard:
    """The dashboard's settings with the key for its tickets resolved."""
    secret = _secret("dashboard.ticket_secret", given.ticket_secret, base)
    if 0 < len(secret) < SHORTEST_SECRET:
        raise InvalidConfiguration(f"dashboard.ticket_secret: shorter than {SHORTEST_SECRET} characters")
    return msgspec.structs.replace(given, ticket_secret=secret)


def _check_suppression(rule: Suppression, detectors: list[str]) -> None:
    where = f"suppressions: '{rule.name}'"
    if not rule.assets and not rule.labels:
        raise InvalidConfiguration(f'{where} needs `assets` or `labels`; ["*"] is all')
    if unknown := set(rule.detectors) - set(detectors):
        raise InvalidConfiguration(f"{where}: there is no detector '{min(unknown)}'")
    if bool(rule.channel) != (rule.below is not None or rule.above is not None):
        raise InvalidConfiguration(f"{where}: a `channel` needs `below` or `above`, and these need a channel")
    if not (rule.channel or rule.begin or rule.end or rule.daily):
        raise InvalidConfiguration(f"{where} says neither when nor by which channel: it would always hold")
    for moment in (rule.begin, rule.end):
        if moment is not None and moment.tzinfo is None:
            raise InvalidConfiguration(f"{where}: {moment.isoformat()} has no zone; write it with a Z or +01:00")
    try:
        zoneinfo.ZoneInfo(rule.timezone)
    except (ValueError, zoneinfo.ZoneInfoNotFoundError, OSError):
        raise InvalidConfiguration(f"{where}: there is no time zone '{rule.timezone}'") from None


def resolve_secrets(table: dict[str, Any], base: Path) -> dict[str, Any]:
    """Replace {env = "NAME"} and {file = "PATH"} by what they point to, so that no secret stands in the file."""
    return _secrets("kafka", table, base)


def secret(path: str, value: Any) -> Any:
    """What a setting points to, if it is {env = "NAME"} or {file = "PATH"}, else the setting itself."""
    return _secret(path, value, Path())


def _secrets(path: str, table: dict[str, Any], base: Path) -> dict[str, Any]:
    return {key: _secret(f"{path}.{key}", value, base) for key, value in table.items()}


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
    if path.startswith("kafka.librdkafka"):  # names with dots are tables to TOML
        return _secrets(path, value, base)
    raise InvalidConfiguration(f"{path}: a table here is {{env = NAME}} or {{file = PATH}}")


def asset_facts(config: Config, asset: str) -> Asset:
    """What the configuration says of an asset: labels of all matching entries, the rest of the last."""
    found = [entry for entry in config.assets if fnmatchcase(asset, entry.match)]
    labels = {name: value for entry in found for name, value in entry.labels.items()}
    weight = found[-1].weight if found else 1.0
    runbook = next((entry.runbook for entry in reversed(found) if entry.runbook), "")
    action = next((entry.action for entry in reversed(found) if entry.action), "")
    return Asset(match=asset, labels=labels, weight=weight, runbook=runbook, action=action)
