"""What daemons say of themselves on /metrics, read into figures. Pure, but for `fetch`."""

import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 2.0
LARGEST_ANSWER = 4 * 2**20

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer of a daemon: samples by name and labels, at a time (s). `problem` says why there is none."""

    address: str
    at_s: float
    samples: Mapping[tuple[str, Labels], float] = field(default_factory=dict)
    problem: str = ""


def fetch(address: str, now_s: float) -> Reading:
    """Ask a daemon for its metrics; never raises, and never waits long."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/metrics", timeout=TIMEOUT_S) as answer:
            text = answer.read(LARGEST_ANSWER).decode("utf-8", "replace")
        return Reading(address, now_s, parse(text))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Reading(address, now_s, problem=str(reason)[:200] or type(error).__name__)


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """Samples of an answer in the text format; raises ValueError where it is none."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(reading: Reading, name: str) -> float:
    """Sum of a metric over all its labels; 0 where there is none."""
    return sum(value for (found, _labels), value in reading.samples.items() if found == name)


def highest(reading: Reading, name: str) -> float | None:
    """Highest value of a metric over its labels."""
    return max((value for (found, _labels), value in reading.samples.items() if found == name), default=None)


def by_label(reading: Reading, name: str, label: str) -> dict[str, float]:
    """Sums of a metric by one of its labels, only those above 0."""
    sums: dict[str, float] = {}
    for (found, labels), value in reading.samples.items():
        if found == name and value > 0:
            key = dict(labels).get(label, "")
            sums[key] = sums.get(key, 0.0) + value
    return sums


def rate(before: Reading | None, now: Reading, name: str) -> float | None:
    """Growth of a counter in a second between two answers; None where there are not two, or it began anew."""
    if before is None or before.problem or now.problem or now.at_s <= before.at_s:
        return None
    grown = total(now, name) - total(before, name)
    return None if grown < 0 else grown / (now.at_s - before.at_s)


def quantile(before: Reading | None, now: Reading, name: str, share: float) -> float | None:
    """A histogram's quantile: of what came between two answers where anything did, else of all.

    Linear within a bucket, as Prometheus' `histogram_quantile` is; beyond the last bound, that bound.
    """
    counts = _buckets(now, name)
    earlier = _buckets(before, name) if before is not None else {}
    recent = {bound: n - earlier.get(bound, 0.0) for bound, n in counts.items()}
    chosen = recent if recent and min(recent.values()) >= 0 and max(recent.values()) > 0 else counts
    return _quantile(sorted(chosen.items()), share)


def _buckets(reading: Reading, name: str) -> dict[float, float]:
    sums: dict[float, float] = {}
    for (found, labels), value in reading.samples.items():
        if found == f"{name}_bucket":
            bound = float(dict(labels).get("le", "inf"))
            sums[bound] = sums.get(bound, 0.0) + value
    return sums


def _quantile(cumulative: Sequence[tuple[float, float]], share: float) -> float | None:
    if not cumulative or cumulative[-1][1] <= 0:
        return None
    needed = share * cumulative[-1][1]
    low, below = 0.0, 0.0
    for bound, count in cumulative:
        if count >= needed:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (needed - below) / max(count - below, 1e-12)
        low, below = bound, count
    return low


@dataclass(slots=True)
class Daemons:
    """Asks all daemons that the configuration names, and remembers the answers before."""

    addresses: Sequence[str]
    clock: Any
    _before: dict[str, Reading] = field(default_factory=dict)

    def read(self) -> list[tuple[Reading | None, Reading]]:
        """The answer before and the newest, for each daemon."""
        return [self._pair(address) for address in self.addresses]

    def _pair(self, address: str) -> tuple[Reading | None, Reading]:
        before, now = self._before.get(address), fetch(address, self.clock())
        if not now.problem:
            self._before[address] = now
        return before, now


def drifting(readings: Iterable[Reading]) -> dict[str, float]:
    """Assets that drift now, by "detector: kind", over all daemons."""
    sums: dict[str, float] = {}
    for reading in readings:
        for (found, labels), value in reading.samples.items():
            if found == "tocsin_drifting_assets" and value > 0:
                named = dict(labels)
                key = f"{named.get('detector', '')}: {named.get('kind', '')}"
                sums[key] = sums.get(key, 0.0) + value
    return sums
