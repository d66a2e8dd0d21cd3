"""Parts of what travels to the browser: columns of numbers, incidents, the status line. Pure functions."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.book import is_open
from dashboard.feed import Status
from dashboard.jsonable import link, number, seconds
from dashboard.live import Plant
from dashboard.rings import Points
from monitor.events import IncidentEvent, SensorEvent


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


def pack(values: NDArray[Any], kind: str = "<f4") -> str:
    """Numbers as base64 text, exact and a third of the size of digits."""
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def incident(event: IncidentEvent) -> dict[str, Any]:
    """One incident as the asset page lists it; times in s."""
    return {
        "id": event.incident_id,
        "detector": event.detector,
        "open": is_open(event),
        "priority": event.priority,
        "label": event.label,
        "start": seconds(event.start),
        "end": seconds(event.end),
        "peak_time": seconds(event.peak_time),
        "ratio": number(event.peak / event.limit) if event.limit > 0 else None,
        "p": number(event.peak_p_value),
        "model_version": event.model_version,
        "runbook": link(event.runbook),
        "channels": [
            {
                "name": c.channel,
                "share": number(c.share),
                "seen": number(c.seen),
                "expected": number(c.expected),
                "unit": c.unit,
            }
            for c in event.channels
        ],
    }


def sensor_fault(event: SensorEvent) -> dict[str, Any]:
    """One sensor that is not to be believed; without a channel it is the whole asset."""
    return {
        "channel": event.channel,
        "verdict": event.verdict,
        "since": seconds(event.since),
        "detail": event.detail,
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
