"""What travels to the browser: whole once, then only what is new.

Every payload has a number `seq` within its `run`; `base` is the number that it continues, or None where it
stands alone. The page drops what it has already and asks again where something is missing, so that a payload
may be lost or come twice: the browser draws the last of several that arrive in one frame.
"""

import base64
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.feed import Status
from dashboard.fleet import WORDS, Tile, counts, tile, tiles
from dashboard.live import Glimpse, Plant, is_open
from dashboard.names import ChannelNames
from dashboard.rings import Points
from monitor.events import IncidentEvent

SPARK_POINTS = 120
INCIDENTS_SHOWN = 50


@dataclass(slots=True)
class Sent:
    """What one viewer's page has been given: a new one for every time the page is drawn whole."""

    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    seq: int = 0
    cursors: dict[tuple[str, str], int] = field(default_factory=dict)
    epoch: int = -1
    revision: int = -1
    channels: tuple[Any, ...] = ()
    assets: tuple[str, ...] = ()

    def forget(self) -> None:
        """Send everything again next time."""
        self.cursors, self.epoch, self.revision, self.channels, self.assets = {}, -1, -1, (), ()

    def number(self, whole: bool) -> dict[str, str | int | None]:
        """Number of the next payload, and of the one that it continues."""
        self.seq += 1
        return {"run": self.run, "seq": self.seq, "base": None if whole else self.seq - 1}


def fleet_payload(plant: Plant, status: Status, sent: Sent, now_s: float) -> dict[str, Any]:
    """All tiles in order; each carries the points of its sparkline that the viewer has not got."""
    whole = not sent.cursors
    glimpses = plant.fleet(SPARK_POINTS)
    ordered = tiles(glimpses, plant.incidents(), plant.newest_ns, now_s)
    by_key = {(g.asset, g.detector): g for g in glimpses}
    watchers = Counter(g.asset for g in glimpses)
    shown = []
    for each in ordered:
        key = (each.asset, each.detector)
        shown.append(_tile(each, by_key[key], sent.cursors.get(key, 0)) | {"detectors": watchers[each.asset]})
        sent.cursors[key] = by_key[key].total
    return {
        **sent.number(whole),
        "tiles": shown,
        "counts": counts(ordered),
        "status": status_line(plant, status, now_s),
    }


def _tile(judged: Tile, glimpse: Glimpse, cursor: int) -> dict[str, Any]:
    new = min(glimpse.total - cursor, len(glimpse.points))
    points = glimpse.points.take(slice(len(glimpse.points) - new, None))
    return {
        "key": judged.key,
        "asset": judged.asset,
        "detector": judged.detector,
        "state": judged.state.name.lower(),
        "word": WORDS[judged.state],
        "ratio": _number(judged.ratio),
        "p": _number(judged.p_value),
        "age_s": round(judged.age_s, 1),
        "since": _seconds(judged.incident.start) if judged.incident else None,
        "channels": [c.channel for c in judged.incident.channels[:2]] if judged.incident else [],
        "total": glimpse.total,
        "spark": [_number(v) for v in ratios(points)],
    }


def asset_payload(
    plant: Plant, names: ChannelNames, status: Status, sent: Sent, asset: str, detector: str, now_s: float
) -> dict[str, Any]:
    """One asset: its new windows as columns, and its incidents and channels where they have changed."""
    cursor = sent.cursors.get((asset, detector), 0)
    glimpse = plant.since(asset, detector, cursor, max(sent.epoch, 0))
    if glimpse is None:
        status_only = {"asset": asset, "status": status_line(plant, status, now_s)}
        return {**sent.number(True), **status_only, "assets": _assets(plant, asset)}
    whole = sent.epoch != glimpse.epoch
    revision = plant.revision
    events = [e for e in plant.incidents(asset) if e.detector == detector]
    channels = names.of(detector, glimpse.model_version, glimpse.points.channel_scores.shape[1])
    payload = {
        **sent.number(whole),
        "asset": asset,
        "detector": detector,
        "model_version": glimpse.model_version,
        "rows": plant.bounds.rows,
        "newest_s": glimpse.newest_ns / 1e9,
        "columns": columns(glimpse.points),
        "status": status_line(plant, status, now_s),
        **_judgement(plant, glimpse, events, now_s),
    }
    if (assets := _assets(plant, asset)) != sent.assets:
        payload["assets"] = sent.assets = assets
    if len(glimpse.points) and channels != sent.channels:
        payload["channels"] = [{"name": c.name, "unit": c.unit} for c in channels]
        sent.channels = channels
    if whole or revision != sent.revision:
        payload["incidents"] = [incident(event) for event in events[:INCIDENTS_SHOWN]]
    sent.cursors = {(asset, detector): glimpse.total}
    sent.epoch, sent.revision = glimpse.epoch, revision
    return payload


def _assets(plant: Plant, asset: str) -> tuple[str, ...]:
    """Assets to choose from, by name; the one in the address is among them even where it is unknown."""
    return tuple(sorted({*plant.assets(), asset} - {""}))


def _judgement(plant: Plant, glimpse: Glimpse, events: Sequence[IncidentEvent], now_s: float) -> dict[str, Any]:
    """State of the asset; judged by its recent past, since the points that travel may be none."""
    since = max(glimpse.total - SPARK_POINTS, 0)
    recent = plant.since(glimpse.asset, glimpse.detector, since, glimpse.epoch) or glimpse
    open_one = next(filter(is_open, events), None)
    judged = tile(recent, open_one, plant.newest_ns, now_s)
    return {
        "state": judged.state.name.lower(),
        "word": WORDS[judged.state],
        "ratio": _number(judged.ratio),
        "p": _number(judged.p_value),
        "age_s": round(judged.age_s, 1),
    }


def columns(points: Points) -> dict[str, Any]:
    """Columns of B windows as base64 of little-endian floats: times (s) as float64, the rest as float32."""
    width = points.channel_scores.shape[1]
    packed: dict[str, Any] = {"n": len(points), "width": width, "time": pack(points.window_end / 1e9, "<f8")}
    packed |= {name: pack(getattr(points, name)) for name in ("score", "limit")}
    if points.seen is not None and points.expected is not None:
        return packed | {"seen": pack(points.seen), "expected": pack(points.expected)}
    return packed | {"shares": pack(shares(points.channel_scores))}


def shares(channel_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each channel's part in its window's score; (B, C) -> (B, C), 0 where nothing was wrong at all."""
    total = np.nansum(channel_scores, axis=1, keepdims=True)
    result = np.zeros_like(channel_scores)
    np.divide(channel_scores, total, out=result, where=total > 0)
    return result


def ratios(points: Points) -> NDArray[np.float32]:
    """Score over limit; (B,)."""
    result = np.full_like(points.score, np.nan)
    np.divide(points.score, points.limit, out=result, where=points.limit > 0)
    return result


def pack(values: NDArray[Any], kind: str = "<f4") -> str:
    """Numbers as base64 text, exact and a third of the size of digits."""
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def incident(event: IncidentEvent) -> dict[str, Any]:
    """One incident as the asset page lists it; times in s."""
    return {
        "id": event.incident_id,
        "open": is_open(event),
        "state": event.state,
        "start": _seconds(event.start),
        "end": _seconds(event.end),
        "peak_time": _seconds(event.peak_time),
        "ratio": _number(event.peak / event.limit) if event.limit > 0 else None,
        "p": _number(event.peak_p_value),
        "model_version": event.model_version,
        "runbook": event.runbook if event.runbook.startswith(("https://", "http://")) else "",
        "channels": [
            {
                "name": c.channel,
                "share": _number(c.share),
                "seen": _number(c.seen),
                "expected": _number(c.expected),
                "unit": c.unit,
            }
            for c in event.channels
        ],
    }


def status_line(plant: Plant, status: Status, now_s: float) -> dict[str, Any]:
    """What the foot of every page says: what is waited for, how much came, and how long ago."""
    return {
        "waiting_for": status.waiting_for,
        "windows": plant.windows,
        "broken": status.broken,
        "quiet_s": round(now_s - status.last_record_s, 1) if status.last_record_s else None,
        "newest_s": plant.newest_ns / 1e9 if plant.newest_ns else None,
    }


def _seconds(moment: Any) -> float | None:
    return None if moment is None else moment.timestamp()


def _number(value: float | None) -> float | None:
    """Four digits are enough to draw and to read; JSON has no NaN."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
