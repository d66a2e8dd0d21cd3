"""From a configuration to what runs: models loaded, assets routed to detectors, a decoder and a pipeline."""

import math
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from fnmatch import fnmatchcase
from functools import lru_cache, partial

from monitor.columns import AssetTable
from monitor.config import Config, Detector, Suppression, asset_facts
from monitor.errors import InvalidConfiguration
from monitor.events import to_ns
from monitor.modelfile import ModelMetadata
from monitor.pipeline import Pipeline
from monitor.records import Decoder
from monitor.routes import Routes
from monitor.scoring import Model, load_model
from monitor.serving import Watch
from monitor.suppression import DAYS, Condition, Rule

MAX_LATE_BUCKETS = 100_000  # that a line of buckets keeps open for late readings


@dataclass(frozen=True, slots=True)
class Assembly:
    """Everything that a step needs, made for one configuration."""

    decoder: Decoder
    pipeline: Pipeline
    models: dict[str, Model]


def load_models(config: Config) -> dict[str, Model]:
    """The model of every detector, by its name; raises InvalidModel with the clause that a file breaks."""
    if not config.detectors:
        raise InvalidConfiguration("detectors: there is none; add a [[detectors]] table with name, model and assets")
    return {detector.name: model_of(config, detector) for detector in config.detectors}


def model_of(config: Config, detector: Detector) -> Model:
    """The model of one detector, run as the configuration says; raises as `load_model` does."""
    scoring = config.scoring
    return load_model(detector.model, scoring.provider, scoring.threads, scoring.device)


def assemble(config: Config, models: dict[str, Model]) -> Assembly:
    """Build decoder and pipeline; `models` by detector name.

    Raises InvalidConfiguration where the allowed lateness is more of a detector's grid than memory should hold.
    """
    for detector in config.detectors:
        buckets = config.input.allowed_lateness_s * 1000 / models[detector.name].metadata.period_ms
        if buckets > MAX_LATE_BUCKETS:
            raise InvalidConfiguration(
                f"input.allowed_lateness_s: {buckets:.0f} buckets of detector '{detector.name}' for every asset, "
                f"at most {MAX_LATE_BUCKETS}"
            )
    most = config.scoring.max_batch
    watches = [watch(config, detector, models[detector.name], most) for detector in config.detectors]
    channels = [each.metadata.channel_names for each in watches]
    routes = Routes([matcher(config, detector) for detector in config.detectors], channels)
    assets = AssetTable(routes, config.input.max_assets)
    rules = config.input
    decoder = Decoder(
        assets,
        routes,
        encoding=rules.encoding,
        ts_unit=rules.ts_unit,
        max_ahead_s=rules.max_ahead_s,
        max_message_bytes=rules.max_message_bytes,
    )
    pipeline = Pipeline(
        watches,
        routes,
        assets,
        allowed_lateness_s=rules.allowed_lateness_s,
        revision_bound_s=rules.revision_bound_s,
        idle_limit_s=rules.idle_limit_s,
        reset_after_s=rules.reset_after_s,
        state_ahead=config.delivery.guarantee == "at-least-once",
        weight=lru_cache(maxsize=10_000)(lambda asset: asset_facts(config, asset).weight),
        suppressions=[suppressions(config, each.detector, each.metadata) for each in watches],
        longest_shelving_s=config.alarms.longest_shelving_s,
    )
    return Assembly(decoder, pipeline, models)


def watch(config: Config, detector: Detector, model: Model, most: int) -> Watch:
    """A detector's settings with its model, which is called with at most so many windows."""
    return Watch(
        detector.name,
        model.metadata,
        model.score,
        partial(model.buffer, min(most, model.batch)),
        detector.alarm_budget_per_day,
        detector.on_delay_s,
        detector.off_delay_s,
        detector.deadband,
        detector.publish_expected,
        latent=True,
        conditions=tuple(condition for _, condition in _asked(config, detector.name, model.metadata)),
        density=detector.density,
        latching=detector.latching,
        steps=detector.priorities,
        sensors=config.sensors,
        about_channels=config.channels,
    )


def suppressions(config: Config, detector: str, metadata: ModelMetadata) -> tuple[Rule, ...]:
    """Rules that suppress a detector's alarms; raises InvalidConfiguration where one asks for an unknown channel."""
    asked = [rule for rule, _ in _asked(config, detector, metadata)]
    return tuple(
        _rule(config, each, asked) for each in config.suppressions if not each.detectors or detector in each.detectors
    )


def _asked(config: Config, detector: str, metadata: ModelMetadata) -> list[tuple[Suppression, Condition]]:
    """Rules that ask for one of the detector's channels; one for all detectors passes those without it over."""
    found = []
    for rule in config.suppressions:
        if not rule.channel or (rule.detectors and detector not in rule.detectors):
            continue
        if rule.channel in metadata.channel_names:
            low = -math.inf if rule.below is None else rule.below
            high = math.inf if rule.above is None else rule.above
            found.append((rule, Condition(metadata.channel_names.index(rule.channel), low, high)))
        elif rule.detectors:
            raise InvalidConfiguration(
                f"suppressions: '{rule.name}': the model of '{detector}' has no channel '{rule.channel}'"
            )
    return found


def _rule(config: Config, rule: Suppression, asked: list[Suppression]) -> Rule:
    seen = not rule.channel or rule in asked  # the detector may not have that channel

    def matches(asset: str) -> bool:
        return seen and is_meant(config, rule, asset)

    daily = (time.fromisoformat(rule.daily[0]), time.fromisoformat(rule.daily[1])) if rule.daily else None
    return Rule(
        rule.name,
        matches,
        to_ns(rule.begin) if rule.begin else None,
        to_ns(rule.end) if rule.end else None,
        daily,
        frozenset(DAYS.index(day) for day in rule.days or DAYS),
        zoneinfo.ZoneInfo(rule.timezone),
        asked.index(rule) if rule in asked else None,
        round(rule.hold_s * 1e9),
    )


def matcher(config: Config, detector: Detector) -> Callable[[str], bool]:
    """Whether a detector watches an asset."""
    return partial(is_meant, config, detector)


def is_meant(config: Config, by: Detector | Suppression, asset: str) -> bool:
    """Whether one of the globs matches an asset, or the asset has all of the labels."""
    if any(fnmatchcase(asset, glob) for glob in by.assets):
        return True
    return bool(by.labels) and by.labels.items() <= asset_facts(config, asset).labels.items()
