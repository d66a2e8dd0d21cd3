"""Incidents against labelled segments: what was found, how late, and what was raised for nothing.

An operator is told by an incident, not by a row, so that here a segment counts once, however long it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.errors import InvalidData
from training.measures.segments import ratio


@dataclass(frozen=True, slots=True)
class Incidents:
    """I incidents: first row that belongs to it, end (exclusive) and time of raise, each (I,) int64 ns."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    raised: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EventFigures:
    """Event-wise figures; shares are 0 to 1, NaN where there is nothing to share."""

    segments: int
    detected: NDArray[np.bool_]  # (S,)
    delays_ns: NDArray[np.float64]  # (S,) raise less segment start, NaN where missed, negative if raised before
    median_delay_ns: float  # of the detected ones; NaN if there are none
    recall: float  # segments detected
    precision: float  # incidents that are not false
    f1: float
    incidents: int
    false_incidents: int
    already_open: int  # segments detected only by incidents raised before they began


def event_figures(incidents: Incidents, spans: ArrayLike) -> EventFigures:
    """Match incidents with labelled segments: spans (S, 2) ns, start and end, exclusive.

    A segment is detected if an incident overlaps it; its delay is that of the first one raised in it or, if
    none was, of the last one raised before it. An incident is false if it overlaps no segment. One alarm that
    never clears detects everything: `already_open` says so, as does the false-alarm rate of its rows, and it
    is to be read beside both. Raises InvalidData where a span ends before it begins.
    """
    spans = np.asarray(spans, np.int64).reshape(-1, 2)
    starts, ends = np.asarray(incidents.starts, np.int64), np.asarray(incidents.ends, np.int64)
    raised = np.asarray(incidents.raised, np.int64)
    if not len(starts) == len(ends) == len(raised):
        raise InvalidData("incidents need a start, an end and a time of raise each")
    if (spans[:, 1] <= spans[:, 0]).any() or (ends < starts).any():
        raise InvalidData("a segment or an incident ends before it begins: ends are exclusive, times are ns")
    # Raised at its very end, an incident has an empty span but was seen: it overlaps where it starts.
    overlap = (starts < spans[:, 1:]) & (np.maximum(ends, starts + 1) > spans[:, :1])  # (S, I)
    delays = np.array([_delay(raised[row], start) for row, start in zip(overlap, spans[:, 0], strict=True)])
    detected: NDArray[np.bool_] = np.logical_or.reduce(overlap, axis=1)
    false = int((~overlap.any(axis=0)).sum())
    recall, precision = ratio(detected.sum(), len(spans)), ratio(len(starts) - false, len(starts))
    return EventFigures(
        segments=len(spans),
        detected=detected,
        delays_ns=delays,
        median_delay_ns=float(np.median(delays[detected])) if detected.any() else float("nan"),
        recall=recall,
        precision=precision,
        f1=ratio(2 * precision * recall, precision + recall),
        incidents=len(starts),
        false_incidents=false,
        already_open=int((delays < 0).sum()),
    )


def _delay(raised: NDArray[np.int64], start: int) -> float:
    """Delay, ns, of the incidents that overlap a segment with this start; NaN of none."""
    if not len(raised):
        return float("nan")
    later = raised[raised >= start]
    return float(later.min() - start if len(later) else raised.max() - start)
