"""Event times as producers write them, into nanoseconds; what is none, or out of range, is told by its place."""

import re

import numpy as np
import pyarrow as pa

from monitor.arrays import Ints
from monitor.columns import EARLIEST, LATEST, Rules

Stamp = int | float | str
Problems = dict[int, tuple[str, str]]  # place -> reason and detail

_NANOSECONDS = pa.timestamp("ns", "UTC")
_FRACTION = re.compile(r"\.[0-9]+")


def event_times(stamps: list[Stamp], rules: Rules) -> tuple[Ints, Problems]:
    """Event times in ns (N,), and the problem of each that is none or out of range."""
    problems: Problems = {}
    ts = _run_of_times(0, stamps, rules.ns_per_unit, problems)
    for place in np.flatnonzero((ts < EARLIEST) | (ts >= LATEST)):
        problems.setdefault(int(place), ("time_out_of_range", _out_of_range(stamps[place], rules)))
    return ts, problems


def _out_of_range(stamp: Stamp, rules: Rules) -> str:
    number = "" if isinstance(stamp, str) else f", {rules.unit},"
    return f"ts {stamp!r}{number} is not between 2000 and 2100"


def _run_of_times(first: int, stamps: list[Stamp], ns_per_unit: int, problems: Problems) -> Ints:
    """Times of a run that begins at place `first`; with a bad text among them it is halved, to find it fast."""
    try:  # nearly always: all are texts, all are good
        return np.asarray(pa.array(stamps, pa.string()).cast(_NANOSECONDS).view(pa.int64()))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if len(stamps) < 8 or str not in set(map(type, stamps)):
            return np.array(
                [_time(first + i, stamp, ns_per_unit, problems) for i, stamp in enumerate(stamps)], np.int64
            )
    half = len(stamps) // 2
    parts = [(first, stamps[:half]), (first + half, stamps[half:])]
    return np.concatenate([_run_of_times(start, part, ns_per_unit, problems) for start, part in parts])


def _time(place: int, stamp: Stamp, ns_per_unit: int, problems: Problems) -> int:
    if not isinstance(stamp, str):
        return _numeric_time(stamp, ns_per_unit)
    try:
        whole = pa.array([_FRACTION.sub("", stamp, count=1)], pa.string())
        seconds = whole.cast(pa.timestamp("s", "UTC")).cast(pa.int64())[0].as_py()
        if not EARLIEST <= seconds * 10**9 < LATEST:
            return 0  # 64 bits of nanoseconds would not hold it
        return int(pa.array([stamp], pa.string()).cast(pa.timestamp("ns", "UTC")).cast(pa.int64())[0].as_py())
    except pa.ArrowInvalid:
        problems[place] = ("wrong_type", f"ts {stamp[:64]!r} is no RFC 3339 time with a zone")
        return 0


def _numeric_time(stamp: int | float, ns_per_unit: int) -> int:
    """Event time in ns, 0 where out of range; a fraction counts to the microsecond, more no float can hold."""
    if not EARLIEST <= stamp * ns_per_unit < LATEST:
        return 0
    return stamp * ns_per_unit if isinstance(stamp, int) else round(stamp * ns_per_unit / 1000) * 1000
