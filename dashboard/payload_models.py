"""What the models page shows: a card for each detector, from its model file's own words. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.jsonable import number
from dashboard.models import ModelFile, Shelf
from monitor.calibration import limits, promised
from monitor.config import Detector
from monitor.modelfile import ModelMetadata

METRICS_SHOWN = 40
LONGEST_TEXT = 200


def model_sections(shelves: Sequence[Shelf] | None, seen: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Sections of the page; `seen` counts assets by the version that scored them last, for each detector."""
    if shelves is None:
        return {"cards": [], "ready": False}
    return {"cards": [model_card(shelf, seen.get(shelf.detector.name, {})) for shelf in shelves], "ready": True}


def model_card(shelf: Shelf, seen: Mapping[str, int]) -> dict[str, Any]:
    """One detector: what is in service, what else lies there, what live scores say."""
    serving = next((file for file in shelf.files if file.version == shelf.current), None)
    return {
        "detector": shelf.detector.name,
        "watches": watches(shelf.detector),
        "problem": shelf.problem,
        "current": shelf.current or "",
        "seen": [{"version": version or "?", "assets": n} for version, n in sorted(seen.items())],
        "versions": [version_row(file, shelf.detector, file is serving) for file in shelf.files],
    }


def watches(detector: Detector) -> str:
    """Which assets a detector is for, in a few words."""
    by_label = ", ".join(f"{name} {value}" for name, value in detector.labels.items())
    return " or ".join(part for part in (", ".join(detector.assets), by_label) if part)


def version_row(file: ModelFile, detector: Detector, serves: bool) -> dict[str, Any]:
    """One version of a model."""
    row = {
        "version": file.version,
        "serves": serves,
        "problem": file.problem,
        "sha256": file.sha256,
        "size": file.size,
        "report": file.has_report,
        "model": None,
    }
    return row if file.metadata is None else row | {"model": described(file.metadata, detector)}


def described(model: ModelMetadata, detector: Detector) -> dict[str, Any]:
    """What a model says of itself, and the limit that it has in this detector's budget."""
    budget = detector.alarm_budget_per_day
    limit = limits(model.calibration, model.windows_per_day, budget, detector.deadband)
    kept = promised(model.calibration, budget)
    return {
        "name": model.name,
        "family": model.family,
        "precision": model.precision,
        "created": model.created,
        "revision": model.revision,
        "channels": [
            {
                "name": channel.name,
                "unit": channel.unit,
                "low": number(channel.low),
                "high": number(channel.high),
                "drifting": channel.drifting,
            }
            for channel in model.channels
        ],
        "window": model.window,
        "stride": model.stride,
        "period_ms": model.period_ms,
        "min_observed": model.min_observed,
        "training": {
            "rows": model.training.rows,
            "assets": list(model.training.assets)[:METRICS_SHOWN],
            "from": model.training.from_,
            "to": model.training.to,
            "sha256": model.training.sha256,
        },
        "calibration": {
            "n": model.calibration.n,
            "effective_n": number(model.calibration.effective_n),
            "counted_days": number(model.calibration.incidents.days) if model.calibration.incidents else None,
        },
        "budget": number(budget),
        "kept_budget": number(kept) if kept > budget else None,
        "limit": number(limit.score),
        "limit_p": number(limit.raise_p),
        "metrics": [[name, metric(value)] for name, value in list(model.metrics.items())[:METRICS_SHOWN]],
    }


def metric(value: object) -> str:
    """A metric as a short text, whatever a training put there."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value[:METRICS_SHOWN])) or "none"
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} …"
