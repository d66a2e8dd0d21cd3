"""How the sensors of an asset are judged: what the model file knows of them, and what the configuration says.

C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.events import Verdict
from monitor.lines import Floats
from monitor.modelfile import Channel, ModelMetadata
from monitor.sensor_settings import SensorChannel, Sensors

FLAT_AT_LEAST = 8  # values in a constant stretch
DEVIATIONS = 4  # beyond what is usually missing, of a share that is estimated from one window


class _ChannelRules(NamedTuple):
    """How one channel is judged; `SensorRules` has the same of all of them."""

    flat_rows: int
    only_stuck: bool
    sticks: bool
    missing: float
    dies: bool
    low: float
    high: float
    stuck_low: float
    stuck_high: float
    unit: str


@dataclass(frozen=True, slots=True)
class SensorRules:
    """How the channels of an asset are judged, (C,) each.

    flat_rows: rows from a constant stretch's first value to its last that are too many, 0 where it is not judged;
    only_stuck: whether it is only at a limit; sticks: whether it is there. missing: the share beyond which a channel
    drops out, 1 where that is not judged; dies: whether it may be found dead. low, high: the physical range;
    stuck_low, stuck_high: limits to stick at. spacing: rows between those that are looked at first.
    """

    mask: bool
    min_observed: float
    stride: int
    spacing: int
    flat_rows: Ints
    only_stuck: Bools
    sticks: Bools
    missing: NDArray[np.float64]
    dies: Bools
    low: Floats
    high: Floats
    stuck_low: Floats
    stuck_high: Floats
    units: tuple[str, ...]
    ranged: bool = field(init=False)  # whether a channel has a physical range
    any_may_be_flat: bool = field(init=False)
    all_may_be_flat: bool = field(init=False)

    def __post_init__(self) -> None:
        ranged = bool((self.low > -np.inf).any() or (self.high < np.inf).any())
        object.__setattr__(self, "ranged", ranged)
        object.__setattr__(self, "any_may_be_flat", bool(self.flat_rows.any()))
        object.__setattr__(self, "all_may_be_flat", bool(self.flat_rows.all()))


def sensor_rules(metadata: ModelMetadata, settings: Sensors, entries: Sequence[SensorChannel] = ()) -> SensorRules:
    """Rules for an asset that these entries of the configuration are about."""
    rules = [_channel_rules(channel, metadata, settings, entries) for channel in metadata.channels]
    columns = {name: np.array([getattr(rule, name) for rule in rules]) for name in _ChannelRules._fields[:-1]}
    rows = columns["flat_rows"]
    least = int(rows[rows > 0].min(initial=metadata.window))
    spacing = max((least + 1) // 2, 1)  # any stretch that is too long has two of these rows in it
    for name in ("low", "high", "stuck_low", "stuck_high"):
        columns[name] = columns[name].astype(np.float32)
    units = tuple(rule.unit for rule in rules)
    return SensorRules(settings.mask, metadata.min_observed, metadata.stride, spacing=spacing, units=units, **columns)


def _channel_rules(
    channel: Channel, metadata: ModelMetadata, settings: Sensors, entries: Sequence[SensorChannel]
) -> _ChannelRules:
    """What the model file and the configuration say of one channel."""
    mine = [entry for entry in entries if fnmatchcase(channel.name, entry.match)]
    low = next((entry.low for entry in reversed(mine) if entry.low is not None), -math.inf)
    high = next((entry.high for entry in reversed(mine) if entry.high is not None), math.inf)
    off = {verdict for entry in mine for verdict in entry.off}
    ranged, known = "out_of_range" not in off, channel.flat_s is not None
    # A physical limit is one to stick at even where nobody knows for how long the channel may stand still.
    limited = low > -math.inf or high < math.inf
    if known:
        rows = _flat_rows(channel, metadata, settings)
    else:
        rows = max(metadata.window - 1, FLAT_AT_LEAST - 1) if limited and settings.flat else 0
    flat, stuck = known and "flat" not in off, "stuck" not in off
    if rows > metadata.window - 1 or not (flat or stuck):
        rows = 0
    missing = _missing_bound(channel, metadata.window, settings.dropout_share)
    return _ChannelRules(
        rows,
        not flat,
        stuck,
        1.0 if channel.missing is None or "dropping_out" in off else missing,
        "dead" not in off and (channel.missing is None or missing < 1.0),
        low if ranged else -math.inf,
        high if ranged else math.inf,
        max(low, -math.inf if channel.low is None or not known else channel.low),
        min(high, math.inf if channel.high is None or not known else channel.high),
        channel.unit or next((entry.unit for entry in reversed(mine) if entry.unit), ""),
    )


def _flat_rows(channel: Channel, metadata: ModelMetadata, settings: Sensors) -> int:
    """Rows from the first value to the last of a stretch that is longer than it may be; 0: never."""
    if not settings.flat or channel.flat_s is None:
        return 0
    seen = math.ceil(settings.flat * channel.flat_s * 1000 / metadata.period_ms)
    return max(seen, math.ceil(settings.flat_share * (metadata.window - 1)), FLAT_AT_LEAST - 1)


def _missing_bound(channel: Channel, window: int, share: float) -> float:
    """Share of a window's values beyond which too many are missing; 1 or more where that cannot be told."""
    usual = channel.missing or 0.0
    return usual + max((1.0 - usual) * share, DEVIATIONS * math.sqrt(usual * (1.0 - usual) / window))


def explained(metadata: ModelMetadata, rules: SensorRules, channel: int | None, verdict: Verdict) -> str:
    """What a verdict rests on, in a few words for a person; of the asset where there is no channel."""
    if channel is None:
        return {
            "too_little": f"less than {metadata.min_observed:.0%} of the values are left",
            "clock": "many of its readings come too late for their window",
            "stale": "it has sent nothing for longer than the idle limit",
        }.get(verdict, "")
    known = metadata.channels[channel]
    match verdict:
        case "dead":
            return f"no value in {metadata.window * metadata.period_ms / 1000:g} s"
        case "flat" | "stuck":
            place = " at a limit" if verdict == "stuck" else ""
            told = f"one value{place} for {rules.flat_rows[channel] * metadata.period_ms / 1000:g} s or more"
            return told if known.flat_s is None else f"{told}; {known.flat_s:g} s at most when the model learnt"
        case "out_of_range":
            return f"outside {rules.low[channel]:g} to {rules.high[channel]:g} {rules.units[channel]}".rstrip()
        case "dropping_out":
            return (
                f"more than {rules.missing[channel]:.0%} of the values are missing; {known.missing or 0:.0%} usually"
            )
    return ""
