"""From a configuration to what runs: models loaded, assets routed to detectors, a decoder and a pipeline."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from monitor.columns import AssetTable
from monitor.config import Asset, Config, Detector
from monitor.errors import InvalidConfiguration
from monitor.pipeline import Pipeline
from monitor.records import Decoder
from monitor.routes import Routes
from monitor.scoring import Model, load_model
from monitor.serving import Watch

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
    watches = [watch(detector, models[detector.name], most, config) for detector in config.detectors]
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
    )
    return Assembly(decoder, pipeline, models)


def watch(detector: Detector, model: Model, most: int, config: Config | None = None) -> Watch:
    """A detector's settings with its model, which is called with at most so many windows; and those of sensors."""
    config = config or Config()
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
        config.sensors,
        config.channels,
    )


def matcher(config: Config, detector: Detector) -> Callable[[str], bool]:
    """Whether a detector watches an asset: one of its globs matches, or the asset has all of its labels."""

    def matches(asset: str) -> bool:
        if any(fnmatchcase(asset, glob) for glob in detector.assets):
            return True
        return bool(detector.labels) and detector.labels.items() <= asset_facts(config, asset).labels.items()

    return matches


def asset_facts(config: Config, asset: str) -> Asset:
    """What the configuration says of an asset: labels of all matching entries, weight and runbook of the last."""
    found = [entry for entry in config.assets if fnmatchcase(asset, entry.match)]
    labels = {name: value for entry in found for name, value in entry.labels.items()}
    weight = found[-1].weight if found else 1.0
    runbook = next((entry.runbook for entry in reversed(found) if entry.runbook), "")
    return Asset(match=asset, labels=labels, weight=weight, runbook=runbook)
