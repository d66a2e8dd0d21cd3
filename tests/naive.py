"""Slow and obvious versions of what Tocsin computes with arrays; tests hold the two together.

Nothing here is clever: one reading at a time, dictionaries, no sharing of code with `monitor`.
"""

import json
import math
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Asset:
    highest: int | None = None
    closed: int | None = None  # last closed bucket
    cells: dict = field(default_factory=dict)  # (bucket, channel) -> (ts, value)
    buckets: set = field(default_factory=set)


@dataclass
class NaiveWindows:
    """Windows of one detector on one partition, as the design words them."""

    period: int
    window: int
    stride: int
    lateness: int
    idle_limit: int
    channels: int
    reset_after: int = 10**18
    assets: dict = field(default_factory=dict)
    stream: int | None = None
    late: int = 0
    made: list = field(default_factory=list)  # (asset, last bucket, rows of values)
    idle_closes: list = field(default_factory=list)
    resets: list = field(default_factory=list)

    def read(self, name, ts, values):
        """One reading of one asset; None or NaN for a missing value.

        A late one is counted and leaves no trace but in stream time. Then every asset that stream time has left
        behind by more than the idle limit is closed, and by more than `reset_after` forgets all but what was closed.
        """
        asset = self.assets.setdefault(name, Asset())
        bucket = ts // self.period
        if asset.closed is None:
            asset.closed = self._watermark_bucket(ts)
        if bucket <= asset.closed:
            self.late += 1
        else:
            asset.buckets.add(bucket)
            for channel, value in enumerate(values):
                if value is None or math.isnan(value):
                    continue
                known = asset.cells.get((bucket, channel))
                if known is None or ts >= known[0]:
                    asset.cells[bucket, channel] = (ts, value)
            asset.highest = ts if asset.highest is None else max(asset.highest, ts)
            self._close(name, self._watermark_bucket(asset.highest))
        self.stream = ts if self.stream is None else max(self.stream, ts)
        for other, state in self.assets.items():
            if state.highest is not None and state.highest + self.idle_limit < self.stream:
                self._close_idle(other, state)
            if state.highest is not None and state.highest + self.reset_after < self.stream:
                self.resets.append((other, state.closed))
                self.assets[other] = Asset(closed=state.closed)

    def end(self):
        """The input has ended: every asset closes up to the window end that covers its last reading."""
        for name, asset in self.assets.items():
            if asset.highest is not None:
                self._close(name, self._covering(asset.highest))

    def _close_idle(self, name, asset):
        covering = self._covering(asset.highest)
        if covering > asset.closed:
            self.idle_closes.append((name, covering))
            self._close(name, covering)

    def _watermark_bucket(self, highest):
        k = (highest - self.lateness) // self.period - 1
        return k - k % self.stride

    def _covering(self, highest):
        k = highest // self.period
        while k % self.stride:
            k += 1
        return k

    def _close(self, name, upto):
        asset = self.assets[name]
        if not asset.buckets:
            asset.closed = max(asset.closed, upto)
            return
        first = min(asset.buckets)
        k = max(asset.closed, first - first % self.stride - self.stride)
        last = max(asset.buckets) + self.window
        while k + self.stride <= min(upto, last):
            k += self.stride
            span = range(k - self.window + 1, k + 1)
            if any(bucket in asset.buckets for bucket in span):
                self.made.append((name, k, self._rows(asset, span)))
        asset.closed = max(asset.closed, upto)

    def _rows(self, asset, span):
        empty = (None, math.nan)
        return [[asset.cells.get((bucket, channel), empty)[1] for channel in range(self.channels)] for bucket in span]


def decode_json(value, columns, watched):
    """One JSON reading as (asset, event time in ns, cells), () for an asset not watched; None for a dead letter.

    `columns` gives each channel's place; times are milliseconds. Names are at most 249 long, as topics are.
    """
    try:
        reading = json.loads((value or b"").decode(), parse_constant=_refuse)
        asset, ts = reading["asset"], _event_time(reading["ts"])
        asset.encode()
        wide = reading.get("values") is not None
        values = reading["values"] if wide else {reading["channel"]: reading["value"]}
        used = [cell for channel, cell in values.items() if channel in columns]
        known = all(type(cell) in (int, float, type(None)) for cell in used)
        finite = known and all(abs(cell or 0) < 3.4e38 for cell in used)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    if type(asset) is not str or not 1 <= len(asset) <= 249 or not finite:
        return None
    if not 946_684_800 * 10**9 <= ts < 4_102_444_800 * 10**9:
        return None
    if not watched(asset):
        return asset, ts, ()
    if wide and not set(columns) & set(values):
        return None
    return asset, ts, [values.get(channel) for channel in columns]


def _refuse(literal):
    raise ValueError(literal)


def _event_time(ts):
    if type(ts) in (int, float):
        return int(ts * 1_000_000)
    moment = datetime.fromisoformat(ts)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return int(moment.timestamp() * 1000) * 1_000_000


def alarm_events(windows, raise_p, clear_p, raise_after, clear_after):
    """What one asset's scored windows (end, score, p-value) tell, in time order.

    Events are (kind, decided at, end of the first window over the limit, end of the last one, end of the peak).
    """
    events, over, quiet, raised = [], [], 0, False
    for end, score, p in windows:
        if p <= raise_p:
            over.append((end, score))
            quiet = 0
        elif not raised:
            over = []
        else:
            quiet = quiet + 1 if p > clear_p else 0
        kind = None
        if not raised and len(over) >= raise_after:
            kind, raised = "raised", True
        elif raised and quiet >= clear_after:
            kind, raised = "cleared", False
        if kind:
            peak = max(over, key=lambda window: window[1])[0]
            events.append((kind, end, over[0][0], over[-1][0], peak))
        if kind == "cleared":
            over, quiet = [], 0
    return events
