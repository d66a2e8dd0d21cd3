"""Slow and obvious versions of what Tocsin computes with arrays; tests hold the two together.

Nothing here is clever: one reading at a time, dictionaries, no sharing of code with `monitor`.
"""

import copy
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


def lifted_limit(raises, end, limit, factor, per_ns):
    """The limit at `end` after raises at these times: each puts the lift up by 1, it comes down by `per_ns`."""
    lift, since = 0.0, 0
    for at in raises:
        lift = max(0.0, lift - per_ns * (at - since)) + 1
        since = at
    return limit * factor ** max(0.0, lift - per_ns * (end - since)) if raises else limit


def alarm_events(windows, raise_p, clear_p, raise_after, clear_after, lifting=None):
    """What one asset's scored windows (end, score, p-value) tell, in time order.

    Events are (kind, decided at, end of the first window over the limit, end of the last one, end of the peak).
    `lifting` are limit, factor and raises that are taken back per ns, where each raise lifts the limit.
    """
    events, over, quiet, raised = [], [], 0, False
    for end, score, p in windows:
        reached = True
        if lifting:
            raises = [] if raised else [event[1] for event in events if event[0] == "raised"]
            reached = score >= lifted_limit(raises, end, *lifting)
        if p <= raise_p and reached:
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


@dataclass
class NaiveIncident:
    """One alarm of one asset: its windows by their end, each with its score and its rows of values."""

    windows: dict
    last_over: int
    seq: int = 0
    raised: bool = False
    final: bool = False

    def __post_init__(self):
        self.first = self.last_over

    @property
    def peak(self):
        return max(self.windows, key=lambda end: (self.windows[end][0], -end))


@dataclass
class NaiveAlarm:
    over: int = 0
    quiet: int = 0
    incident: NaiveIncident | None = None
    past: list = field(default_factory=list)
    raises: list = field(default_factory=list)


@dataclass
class NaiveIncidents:
    """Incidents of one detector on one partition, and how late readings revise them, message by message.

    `score` gives a window's score or None, `explain` what is told of its channels, `p_value` what a score is worth.
    An incident remembers its `most` highest windows, an asset its last `past` incidents.
    """

    windows: NaiveWindows
    score: object
    explain: object
    p_value: object
    raise_p: float
    clear_p: float
    raise_after: int
    clear_after: int
    bound: int
    most: int
    past: int
    lifting: tuple | None = None  # as `alarm_events` has it
    alarms: dict = field(default_factory=dict)
    known: dict = field(default_factory=dict)  # asset -> [(ts, values)], on time or late within the bound
    events: list = field(default_factory=list)

    def message(self, readings):
        """One message: readings of assets as (asset, ts, values)."""
        late, beyond = self._late(readings)
        for i, (name, ts, values) in enumerate(readings):
            known = self.known.setdefault(name, [])
            if i not in late | beyond:
                known.append((ts, values))
            elif i in late and i == max(j for j in late if readings[j][0] == name):
                self._revise(name, [readings[j][1:] for j in sorted(late) if readings[j][0] == name])
            self._follow(self.windows.read, name, ts, values)
            self._forget()

    def end(self):
        self._follow(self.windows.end)

    def _forget(self):
        """An asset that was reset is remembered no more: its incidents so far are never revised."""
        while self.windows.resets:
            name, _ = self.windows.resets.pop()
            alarm, self.known[name] = self.alarms.setdefault(name, NaiveAlarm()), []
            alarm.past = []
            if alarm.incident:
                alarm.incident.final = True

    def _late(self, readings):
        """Which of a message's readings are late: those within the bound, and those beyond it."""
        windows, late, beyond = copy.deepcopy(self.windows), set(), set()
        for i, (name, ts, values) in enumerate(readings):
            count, highest = windows.late, windows.assets[name].highest if name in windows.assets else ts
            highest = ts if highest is None else highest
            windows.read(name, ts, values)
            if windows.late > count:
                (late if ts >= highest - self.bound else beyond).add(i)
        return late, beyond

    def _follow(self, happen, *what):
        """Let something happen to the windows, and step the alarms by those that it closes."""
        count = len(self.windows.made)
        happen(*what)
        for name, k, rows in self.windows.made[count:]:
            self._step(name, (k + 1) * self.windows.period, rows)

    def _step(self, name, end, rows):
        score = self.score(rows)
        if score is None:
            return
        alarm, p = self.alarms.setdefault(name, NaiveAlarm()), self.p_value(score)
        raised = alarm.incident and alarm.incident.raised
        reached = not self.lifting or score >= lifted_limit([] if raised else alarm.raises, end, *self.lifting)
        if p <= self.raise_p and reached:
            alarm.over, alarm.quiet = alarm.over + 1, 0
            alarm.incident = alarm.incident or NaiveIncident({}, end)
            alarm.incident.last_over = end
            self._remember(alarm.incident, end, score, rows)
        elif alarm.incident and not alarm.incident.raised:
            alarm.over, alarm.incident = 0, None
        elif alarm.incident:
            alarm.quiet = alarm.quiet + 1 if p > self.clear_p else 0
        if alarm.incident and not alarm.incident.raised and alarm.over >= self.raise_after:
            alarm.incident.raised = True
            alarm.raises.append(end)
            self._tell("raised", name, end, alarm.incident)
        elif alarm.incident and alarm.incident.raised and alarm.quiet >= self.clear_after:
            self._tell("cleared", name, end, alarm.incident)
            if not alarm.incident.final:
                alarm.past = [*alarm.past, alarm.incident][-self.past :]
            alarm.over, alarm.quiet, alarm.incident = 0, 0, None

    def _revise(self, name, late):
        """Make the closed windows again that these readings lie in, where they belong to a published incident."""
        known, asset = self.known[name], self.windows.assets[name]
        before, after = list(known), known + late
        known += late
        alarm = self.alarms.get(name, NaiveAlarm())
        for incident in [*alarm.past, *([alarm.incident] if alarm.incident and alarm.incident.raised else [])]:
            if incident.final:
                continue
            peak, remade = self._peak(incident), []
            for end in range(incident.first, incident.last_over + 1, self.windows.stride * self.windows.period):
                k = end // self.windows.period - 1
                span = range(k - self.windows.window + 1, k + 1)
                rows = self._rows(after, span)
                touched = any(ts // self.windows.period in span for ts, _ in late)
                if k > asset.closed or not touched or str(rows) == str(self._rows(before, span)):
                    continue
                score = self.score(rows)
                remade += [] if score is None else [(end, score, rows)]
            for end, score, rows in remade:
                incident.windows.pop(end, None)
                incident.windows[end] = (score, rows)
            while len(incident.windows) > self.most:
                self._forget_lowest(incident)
            if self._peak(incident) != peak:
                decided = max(remade, key=lambda window: (window[1], -window[0]))[0]
                self._tell("revised", name, decided, incident)

    def _remember(self, incident, end, score, rows):
        incident.windows[end] = (score, rows)
        if len(incident.windows) > self.most:
            self._forget_lowest(incident)

    def _forget_lowest(self, incident):
        del incident.windows[min(incident.windows, key=lambda end: (incident.windows[end][0], -end))]

    def _peak(self, incident):
        score, rows = incident.windows[incident.peak]
        return incident.peak, score, self.explain(rows)

    def _rows(self, known, span):
        """Values of a window: of each cell the last by event time, of equal times the one that was read last."""
        cells = {}
        for ts, values in known:
            for channel, value in enumerate(values):
                cell = (ts // self.windows.period, channel)
                if value is not None and not math.isnan(value) and (cell not in cells or ts >= cells[cell][0]):
                    cells[cell] = (ts, value)
        empty = (None, math.nan)
        return [[cells.get((b, channel), empty)[1] for channel in range(self.windows.channels)] for b in span]

    def _tell(self, kind, name, end, incident):
        incident.seq += 1
        score, rows = incident.windows[incident.peak]
        told = (kind, name, end, incident.first, incident.last_over, incident.seq, incident.peak, score)
        self.events.append((*told, copy.deepcopy(rows)))


def drift_changes(windows, horizon, clear_p, spread):
    """What one asset's windows (score, p-value, shares outside by channel, alarm open) tell of its drift.

    Changes are (number of the window, kind, began), in order of time.
    """
    outside, p_mean, above, mean, deviation = [0.0] * len(windows[0][2]), 0.5, 0.0, None, 1.0
    drifting, changes = set(), []
    for number, (score, p, shares, is_open) in enumerate(windows):
        log = math.log(max(score, 1e-12))
        mean = log if mean is None else mean
        deviation += (abs(log - mean) - deviation) / horizon
        mean += (log - mean) / horizon
        above += ((p <= clear_p) - above) / horizon
        figures = [("level", above * min(1.0, spread / max(deviation, 1e-12)), 0.9, 0.6)]
        if not is_open:
            outside = [known + (share - known) / horizon for known, share in zip(outside, shares, strict=True)]
            p_mean += (p - p_mean) / horizon
            figures += [("inputs", max(outside), 0.5, 0.3), ("scores", abs(p_mean - 0.5), 0.25, 0.15)]
        for kind, figure, begins, ends in figures:
            if kind in drifting and figure < ends:
                drifting.remove(kind)
                changes.append((number, kind, False))
            elif kind not in drifting and figure > begins:
                drifting.add(kind)
                changes.append((number, kind, True))
    return sorted(changes)


def average_precision(scores, labels):
    """Area under the precision-recall curve: at each distinct score, the highest first, count what is flagged."""
    area, before = 0.0, 0.0
    for limit in sorted(set(scores), reverse=True):
        flagged = [bool(label) for score, label in zip(scores, labels, strict=True) if score >= limit]
        recall = sum(flagged) / sum(bool(label) for label in labels)
        area += (recall - before) * sum(flagged) / len(flagged)
        before = recall
    return area


def sensor_verdicts(rows, stride, period_s, least, channels, flat, flat_share, dropout_share):
    """Of one window: each channel's verdict (None: it says nothing), what is hidden, and whether too little is left.

    `rows` are lists of values, NaN where missing; `channels` dictionaries of what is known of each: flat_s, missing
    (None: not known), low, high (of training), range_low, range_high (of the sensor, None: none), off.
    """
    length = len(rows)
    missing = [[math.isnan(value) for value in row] for row in rows]
    holding = [n for n in range(length) if not all(missing[n])]
    verdicts, hidden = [], [[False] * len(channels) for _ in rows]
    for c, known in enumerate(channels):
        values = [(n, rows[n][c]) for n in range(length) if not missing[n][c]]
        usual, off = known["missing"] or 0.0, known["off"]
        bound = usual + max((1 - usual) * dropout_share, 4 * math.sqrt(usual * (1 - usual) / length))
        verdict = "ok" if values else None
        lossy = len(holding) - len(values) > bound * len(holding) and known["missing"] is not None and bound < 1
        if len(holding) < math.ceil(length / 2):
            verdict = None
        elif values and lossy and "dropping_out" not in off:
            verdict = "dropping_out"
        if not values and "dead" not in off and (known["missing"] is None or bound < 1):
            verdict = "dead" if not holding or len(holding) >= math.ceil(length / 2) else None
        at_low, at_high = [], []
        if known["flat_s"] is not None:
            at_low, at_high = [known["low"]], [known["high"]]
        at_low += [known["range_low"]] * (known["range_low"] is not None)
        at_high += [known["range_high"]] * (known["range_high"] is not None)
        for run in _runs_of_one_value(values):
            first, last, value = run[0][0], run[-1][0], run[0][1]
            limit = any(value <= low for low in at_low) or any(value >= high for high in at_high)
            if known["flat_s"] is not None:
                needed = max(math.ceil(flat * known["flat_s"] / period_s), math.ceil(flat_share * (length - 1)))
                faulty = flat > 0 and ("stuck" if limit else "flat") not in off
            else:
                needed, faulty = length - 1, limit and flat > 0 and "stuck" not in off
            if faulty and last - first >= needed and len(run) >= 8:
                for n, _ in run:
                    hidden[n][c] = True
                if run[-1] == values[-1]:
                    verdict = "stuck" if limit else "flat"
        if "out_of_range" not in off:
            low = -math.inf if known["range_low"] is None else known["range_low"]
            high = math.inf if known["range_high"] is None else known["range_high"]
            beyond = [n for n, value in values if not low <= value <= high]
            newest = [n for n, _ in values if n >= length - stride]
            for n in beyond:
                hidden[n][c] = True
            if newest and 2 * len([n for n in beyond if n in newest]) >= len(newest):
                verdict = "out_of_range"
        if verdict == "dropping_out":
            for n in range(length):
                hidden[n][c] = True
        verdicts.append(verdict)
    left = sum(not missing[n][c] and not hidden[n][c] for n in range(length) for c in range(len(channels)))
    return verdicts, hidden, left / (length * len(channels)) < least


def _runs_of_one_value(values):
    """Values (place, value) in runs of equal ones."""
    runs = []
    for each in values:
        if runs and runs[-1][-1][1] == each[1]:
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs


def sensor_events(said, after):
    """Changes (window, verdict, previous) by what a channel's windows say, one after the other (None: nothing)."""
    events, standing, since = [], "ok", []
    for n, verdict in enumerate(said):
        if verdict is None:
            continue
        since.append(verdict)
        last = since[-after:]
        if len(last) < after or standing in last:
            continue
        if standing == "ok" or len(set(last)) == 1:
            events.append((n, verdict, standing))
            standing, since = verdict, []
    return events


def alarm_figures(events, now, operators=1.0, fleeting_s=60, stale_s=86_400, days=30):
    """The standard's figures from the whole event log: events are (ns, told, event) in order of coming."""
    minute, hour, day = 60 * 10**9, 3600 * 10**9, 86_400 * 10**9
    times, latest = [], 0
    for ts, _, _ in events:  # what comes late counts when it comes
        latest = max(latest, ts)
        times.append(latest)
    now = max(now, latest)
    began = times[0] if times else now
    first = (now // day - days + 1) * day
    rung = [
        (ts, f"{event.detector}/{event.asset}", event.priority)
        for ts, (_, _, event) in zip(times, events, strict=True)
        if event.state == "unacknowledged"
        and event.previous_state != "unacknowledged"
        and event.transition not in ("revised", "labelled", "rejected")
    ]
    counted = [each for each in rung if each[0] >= first]
    by_minute = {}
    for ts, _, _ in rung:
        by_minute[ts // minute] = by_minute.get(ts // minute, 0) + 1
    flooding, flood_minutes = False, 0
    for number in range(began // minute, now // minute + 1):
        within = sum(by_minute.get(number - back, 0) for back in range(10))
        flooding = within / operators >= 5 if flooding else within / operators > 10
        flood_minutes += flooding and number < now // minute and number * minute >= first
    tens = [
        sum(1 for other, _, _ in rung[: i + 1] if other // minute > ts // minute - 10)
        for i, (ts, _, _) in enumerate(rung)
    ]
    observed = (now - max(began, first)) / hour
    at_least = max(observed, 1)
    load = {}
    for _, alarm, _ in counted:
        load[alarm] = load.get(alarm, 0) + 1
    top = sorted(load.items(), key=lambda item: (-item[1], item[0]))[:10]
    busy = {}
    for ts, _, _ in counted:
        busy[ts // hour] = busy.get(ts // hour, 0) + 1
    chattering = set()
    for ts, alarm, _ in counted:
        if sum(1 for other, name, _ in rung if name == alarm and ts - 60 * 10**9 <= other <= ts) >= 3:
            chattering.add(alarm)
    alarms, took, fleeting = {}, [], 0
    for ts, (_, told, event) in zip(times, events, strict=True):
        if event.transition in ("revised", "labelled", "rejected"):
            continue
        alarm = alarms.setdefault(f"{event.detector}/{event.asset}", {"since": None, "rung": None, "told": None})
        annunciated = {"unacknowledged", "acknowledged", "returned", "latched", "latched_acknowledged"}
        active = event.active or event.state in ("unacknowledged", "acknowledged")
        if event.transition == "acknowledged":
            if alarm["told"] is not None and ts >= first:
                took.append(max(told - alarm["told"], 0) / 1e9)
            alarm["told"] = alarm["rung"] = None
        if alarm["rung"] is not None and not active and (event.state in annunciated or event.state == "normal"):
            fleeting += ts - alarm["rung"] < fleeting_s * 1e9 and ts >= first
            alarm["rung"] = None
        if event.state not in annunciated:
            alarm["rung"] = alarm["told"] = None
        if event.state == "unacknowledged" and event.previous_state != "unacknowledged":
            alarm["rung"], alarm["told"] = ts, told
        alarm["since"] = (ts if alarm["since"] is None else alarm["since"]) if active else None
        alarm["state"] = event.state
    states = [alarm["state"] for alarm in alarms.values()]
    total = len(counted)
    return {
        "observed_hours": observed,
        "annunciations": total,
        "per_hour": total / at_least / operators,
        "last_hour": sum(1 for ts, _, _ in rung if ts // minute > now // minute - 60) / operators,
        "peak_10_minutes": max((n for n, (ts, _, _) in zip(tens, rung, strict=True) if ts >= first), default=0)
        / operators,
        "busy_hours_share": sum(1 for count in busy.values() if count > 30 * operators) / at_least,
        "flooding": flooding,
        "flood_share": flood_minutes / (at_least * 60),
        "top": [(alarm, count, count / total) for alarm, count in top],
        "top_share": sum(count for _, count in top) / total if total else None,
        "chattering": sorted(chattering),
        "fleeting": fleeting,
        "stale": sorted(
            name
            for name, alarm in alarms.items()
            if alarm["since"] is not None and now - alarm["since"] > stale_s * 1e9
        ),
        "standing": sum(alarm["since"] is not None for alarm in alarms.values()),
        "unacknowledged": sum(state in ("unacknowledged", "returned", "latched") for state in states),
        "shelved": states.count("shelved"),
        "suppressed": states.count("suppressed"),
        "out_of_service": states.count("out_of_service"),
        "acknowledged_median_s": sorted(took)[math.ceil(len(took) / 2) - 1] if took else None,
        "acknowledged_p90_s": sorted(took)[math.ceil(len(took) * 0.9) - 1] if took else None,
        "priorities": {
            name: sum(1 for _, _, priority in counted if priority == name) / total
            for name in ("low", "medium", "high")
        }
        if total
        else {},
    }
