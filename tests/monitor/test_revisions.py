"""Revisions: late readings change what an incident says of its peak, by the oracle, wherever batches end."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.assembly import assemble
from monitor.columns import Messages
from monitor.config import parse
from monitor.errors import InvalidConfiguration
from monitor.modelfile import Incidents
from monitor.state import Position, decode_entry, decode_position, encode_entry, encode_metadata
from monitor.wire import scores_batch
from tests import models
from tests.naive import NaiveIncidents, NaiveWindows

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
SECOND = 10**9
WHERE = ("tocsin.readings", 0)
BOUND_S, IDLE_S, LATENESS_S = 20, 30, 1
QUIET, LOUD = 0.1, 3.0
LIMIT = float(np.float32(1.2))  # of a model whose limit rises with each raise, at 4000 a day
INCIDENTS = Incidents(days=1.0, rates=((40_000.0, 0.6), (4000.0, 1.2), (40.0, 2.4)), clear=0.8)


def configuration(bound_s=BOUND_S, lateness_s=LATENESS_S, reset_s=86_400, **detector):
    return parse(
        {
            "input": {
                "encoding": "arrow",
                "idle_limit_s": IDLE_S,
                "reset_after_s": reset_s,
                "allowed_lateness_s": lateness_s,
                "revision_bound_s": bound_s,
            },
            "detectors": [
                {
                    "name": "d",
                    "model": "unused",
                    "assets": ["*"],
                    "alarm_budget_per_day": 4000,
                    **models.STEADY,
                }
                | detector
            ],
        }
    )


def arrow(*readings):
    """One message with readings (asset, second, a, b)."""
    asset, second, a, b = zip(*readings, strict=True)
    ts = pa.array([T0 + each for each in second], pa.timestamp("s", "UTC"))
    batch = pa.record_batch(
        {"asset": list(asset), "ts": ts, "a": pa.array(a, pa.float64()), "b": pa.array(b, pa.float64())}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


class Run:
    """The pipeline over a log of messages, in batches, with restarts."""

    def __init__(self, log, config=None, **model):
        self.log, self.at = [arrow(*message) for message in log], 0
        self.config, self.model = config or configuration(), model
        self.outputs, self.state = [], {}
        self.position = Position(0, 0)
        self._start()

    def _start(self):
        made = assemble(self.config, {"d": models.model(**self.model)})
        self.decoder, self.pipeline = made.decoder, made.pipeline
        entries = [(key, decode_entry(encode_entry(entry))) for key, entry in self.state.items()]
        self.pipeline.assign(WHERE, self.position, entries)

    def _feed(self, first, end):
        values, count = self.log[first:end], end - first
        batch = Messages(*WHERE, end, list(range(first, end)), [-1] * count, values, [None] * count, [()] * count)
        return self.pipeline.step({WHERE: (self.decoder.decode(batch), end)})

    def reads(self, count=None):
        """Read so many messages, all that are left for None; what comes out is delivered and committed."""
        end = len(self.log) if count is None else min(self.at + count, len(self.log))
        if end > self.at:
            self._keep(self._feed(self.at, end))
            self.at = end
        return self

    def falls_silent(self):
        self._keep(self.pipeline.close_silent([WHERE]))
        return self

    def _keep(self, output):
        self.outputs.append(output)
        self.state |= {key: entry for _, key, entry in output.state}
        position = output.positions[WHERE]
        self.position = decode_position(position.offset, encode_metadata(position))

    def restarts(self, batch=1000):
        """A new process: state and position as they were committed, windows from the low offset on."""
        self._start()
        for first in range(self.position.low, self.at, batch):
            refill = self._feed(first, min(first + batch, self.at))
            assert (refill.scores, refill.transitions, refill.counts.late) == ([], [], 0)
        return self

    @property
    def told(self):
        return [told for output in self.outputs for told in output.transitions]

    @property
    def transitions(self):
        return [told.transition for told in self.told]

    def count(self, name):
        return sum(getattr(output.counts, name) for output in self.outputs)

    def scores(self):
        rows = [
            row for output in self.outputs for _, scores in output.scores for row in scores_batch(scores).to_pylist()
        ]
        return {(row["asset"], row["window_end"].timestamp() - T0): row["score"] for row in rows}


def readings(first, end, value, asset="p", missing=()):
    """A message a second, [first, end), both channels of this value."""
    return [[(asset, second, value, value)] for second in range(first, end) if second not in missing]


def late(second, value, other=None, asset="p"):
    return [(asset, second, value, value if other is None else other)]


def by_asset(told):
    """Transitions in their order within each asset: between assets no order is promised."""
    return sorted(told, key=lambda each: each.asset)


def kinds(run):
    return [transition.kind for transition in run.transitions]


def facts(transition):
    """Number, state and peak of a transition's incident, times in s."""
    incident = transition.incident
    return incident.seq, transition.after, incident.peak.end / SECOND - T0, round(incident.peak.score, 4)


# ------------------------------------------------------------------------------------------------ one incident

LOUD_FROM_20 = readings(0, 20, QUIET) + readings(20, 30, LOUD, missing=(24,))


def test_a_late_reading_raises_the_peak_of_an_open_incident():
    run = Run([*LOUD_FROM_20, late(24, 30.0)]).reads()
    raised, revised = run.transitions
    assert (raised.kind, revised.kind) == ("raised", "revised")
    assert facts(revised) == (2, "unacknowledged", 25, (30 + 3 + 3 + 3) / 4)
    assert (revised.before, revised.after) == ("unacknowledged", "unacknowledged")
    assert revised.incident.start == raised.incident.start
    assert revised.window == revised.incident.peak
    assert revised.incident.peak.p_value < raised.incident.peak.p_value
    assert (run.count("late"), run.count("revisions")) == (1, 1)


def test_a_late_reading_that_replaces_a_value_lowers_the_peak_to_the_next_highest():
    log = [*readings(0, 20, QUIET), *readings(20, 22, 4.0), late(22, 50.0), *readings(23, 30, LOUD), late(22, LOUD)]
    run = Run(log).reads()
    raised, *_, revised = run.transitions
    assert facts(revised) == (2, "unacknowledged", 25, (4 + 3 + 3 + 3) / 4)
    assert raised.incident.seq == 1


def test_channels_of_a_revised_incident_are_those_of_its_new_peak():
    run = Run([*LOUD_FROM_20, late(24, 1.0, 90.0)]).reads()
    assert [each.channel for each in run.transitions[0].incident.channels] == ["a", "b"]
    first, second = run.transitions[1].incident.channels
    assert (first.channel, second.channel) == ("b", "a")
    assert first.share == pytest.approx(99 / (99 + 10))
    assert (first.seen, first.expected, first.unit) == (pytest.approx((3 + 90) / 2), 0.0, "mm/s")


def test_a_cleared_incident_is_revised_and_stays_cleared():
    run = Run([*LOUD_FROM_20, *readings(30, 40, QUIET), late(24, 30.0)]).reads()
    assert kinds(run) == ["raised", "cleared", "revised"]
    cleared, revised = run.transitions[1:]
    assert facts(revised)[:3] == (3, "returned", 25)
    assert (revised.before, revised.after, revised.active) == ("returned", "returned", False)
    assert (revised.incident.start, revised.incident.last_over) == (
        cleared.incident.start,
        cleared.incident.last_over,
    )


def test_beyond_the_bound_a_late_reading_is_only_counted():
    inside = Run([*LOUD_FROM_20, *readings(30, 46, QUIET), late(25, 30.0)]).reads()
    beyond = Run([*LOUD_FROM_20, *readings(30, 47, QUIET), late(25, 30.0)]).reads()
    assert kinds(inside) == ["raised", "cleared", "revised"]
    assert kinds(beyond) == ["raised", "cleared"]
    assert beyond.count("late") == 1


def test_without_a_bound_nothing_is_revised_and_nothing_is_kept():
    run = Run([*LOUD_FROM_20, late(24, 30.0)], configuration(bound_s=0)).reads()
    assert kinds(run) == ["raised"]
    assert run.count("late") == 1
    [entry] = [entry for key, entry in run.state.items() if key.asset == "p"]
    assert entry.alarm.incident.heights == ()
    assert b"height" not in encode_entry(entry)


def test_a_late_reading_that_wins_no_cell_changes_nothing():
    run = Run([*LOUD_FROM_20, late(24, None), late(26, None)]).reads()
    assert kinds(run) == ["raised"]


def test_a_window_that_is_revised_below_the_peak_is_no_event_and_is_remembered():
    """What was highest is taken back; the window that a late reading had raised in between is the highest then."""
    log = [*readings(0, 20, QUIET), *readings(20, 34, LOUD, missing=(21, 28))]
    run = Run([*log, late(28, 40.0), late(21, 20.0), late(28, 0.0)]).reads()
    assert kinds(run) == ["raised", "revised", "revised"]
    first, second = run.transitions[1:]
    assert facts(first)[2:] == (29, (40 + 3 * 3) / 4)
    assert facts(second)[2:] == (25, (20 + 3 * 3) / 4)


def test_a_late_reading_before_or_after_the_incident_revises_nothing():
    log = readings(0, 20, QUIET, missing=(10,)) + readings(20, 30, LOUD) + readings(30, 40, QUIET, missing=(37,))
    run = Run([*log, late(37, 50.0)]).reads()
    assert kinds(run) == ["raised", "cleared"]


def test_neither_scores_nor_delays_change():
    log = [*LOUD_FROM_20, late(24, QUIET), late(25, QUIET), *readings(30, 40, QUIET)]
    on = Run(log, configuration(on_delay_s=2, off_delay_s=6)).reads()
    off = Run(log, configuration(bound_s=0, on_delay_s=2, off_delay_s=6)).reads()
    assert on.scores() == off.scores()
    kept = [each for each in on.transitions if each.kind != "revised"]
    assert [(each.kind, each.window, each.incident.start) for each in kept] == [
        (each.kind, each.window, each.incident.start) for each in off.transitions
    ]
    assert on.count("revisions") > 0


def test_late_readings_of_one_message_make_one_revision():
    together = [("p", 24, 20.0, 20.0), ("q", 0, QUIET, QUIET), ("p", 25, 30.0, 30.0)]
    one = Run([*LOUD_FROM_20, together]).reads()
    two = Run([*LOUD_FROM_20, *([each] for each in together)]).reads()
    assert kinds(one) == ["raised", "revised"]
    assert kinds(two) == ["raised", "revised", "revised"]
    assert facts(one.transitions[-1])[1:] == facts(two.transitions[-1])[1:]


def test_an_empty_window_within_an_incident_is_made_by_late_readings():
    log = readings(0, 20, QUIET) + readings(20, 24, LOUD) + readings(36, 42, LOUD)
    run = Run([*log, [("p", second, 40.0, 40.0) for second in range(26, 30)]], configuration(off_delay_s=60)).reads()
    assert facts(run.transitions[-1]) == (2, "unacknowledged", 29, 40.0)


def test_each_incident_has_its_own_revisions():
    log = readings(0, 10, QUIET) + readings(10, 14, LOUD) + readings(14, 20, QUIET) + readings(20, 28, LOUD)
    run = Run([*log, late(12, 30.0), late(21, 60.0), late(12, 40.0)]).reads()
    starts = [transition.incident.start for transition in run.transitions if transition.kind == "revised"]
    assert kinds(run)[:3] == ["raised", "cleared", "raised"]
    assert len(set(starts)) == 2
    assert starts[0] == starts[-1]


# --------------------------------------------------------------------------------------------------- restarts


def test_what_an_incident_remembers_comes_back_after_a_restart():
    log = [*LOUD_FROM_20, *readings(30, 40, QUIET), late(24, 30.0), late(24, 0.0)]
    straight, broken = Run(log).reads(), Run(log).reads(38).restarts(3).reads(1).restarts(3).reads()
    assert kinds(straight) == ["raised", "cleared", "revised", "revised"]
    assert broken.told == straight.told
    assert broken.position == straight.position


def test_an_incident_that_began_without_a_bound_is_never_revised():
    run = Run([*LOUD_FROM_20, late(24, 30.0)], configuration(bound_s=0)).reads(28)
    run.config = configuration()
    run.restarts().reads()
    assert kinds(run) == ["raised"]


def test_an_incident_is_not_revised_by_a_bound_that_was_raised_since():
    run = Run([*LOUD_FROM_20, *readings(30, 40, QUIET), late(24, 30.0)], configuration(bound_s=4)).reads(38)
    run.config = configuration()
    run.restarts().reads()
    assert kinds(run) == ["raised", "cleared"]


def test_readings_of_assets_without_an_incident_hold_the_low_offset_no_further_back():
    quiet = readings(0, 60, QUIET)
    assert Run(quiet).reads().position == Run(quiet, configuration(bound_s=0)).reads().position
    held = Run([*LOUD_FROM_20, *readings(30, 44, QUIET)]).reads().position
    let_go = Run([*LOUD_FROM_20, *readings(30, 70, QUIET)]).reads().position
    assert held.low < 22
    assert let_go.low > 60


# ----------------------------------------------------------------------------------------------------- oracle


@st.composite
def logs(draw):
    """Messages of two pumps with bursts, gaps that are filled late, silent spells; some carry several readings."""
    now, log = 0, []
    for _ in range(draw(st.integers(1, 60))):
        message = []
        for _ in range(draw(st.sampled_from([1, 1, 1, 2, 5]))):
            now += draw(st.sampled_from([0, 1, 1, 1, 2, 9, 45] if draw(st.integers(0, 3)) == 0 else [0, 1, 1]))
            second = max(now - draw(st.sampled_from([0, 0, 0, 1, 3, 6, 12, 24])), 0)
            values = [draw(st.sampled_from([0.1, 0.1, 2.0, 3.0, 5.0, None])) for _ in range(2)]
            message.append((draw(st.sampled_from(["p", "p", "q"])), second, *values))
        log.append(message)
    return log


def scored(rows):
    """Score of a window by hand: the mean absolute value of each channel, summed; None with too little observed."""
    values = np.array(rows, np.float32)
    return float(models.score(values[None], ["score"])[0][0]) if (~np.isnan(values)).mean() >= 0.5 else None


def explained(rows, stride):
    """What is told of a window's channels: their shares, and what was seen in the last buckets."""
    values = np.array(rows, np.float32)
    shares = models.score(values[None], ["channel_score"])[0][0]
    seen = [[value for value in column if not np.isnan(value)] for column in values[-stride:].T]
    return [
        (round(float(share), 5), len(each) and round(float(np.mean(each)), 5))
        for share, each in zip(shares, seen, strict=True)
    ]


def p_value(score):
    return max(0.1 * np.exp(-(score - 0.9) / 0.1), 1e-30) if score > 0.9 else 1 - score


def oracle(bound_s, lateness_s, raise_after, clear_after, shape, reset_s=86_400, lifts=False):
    window, stride, period_s = shape
    windows = NaiveWindows(
        period_s * SECOND, window, stride, lateness_s * SECOND, IDLE_S * SECOND, 2, reset_s * SECOND
    )
    raise_p, most = 4000 / 86400 * stride * period_s, 2 * math.ceil(window / stride) + 16
    clear_p = 2 * raise_p
    if lifts:
        raise_p, clear_p = p_value(LIMIT), p_value(INCIDENTS.clear)
    return NaiveIncidents(
        windows,
        scored,
        lambda rows: explained(rows, stride),
        p_value,
        raise_p,
        clear_p,
        raise_after,
        clear_after,
        bound_s * SECOND,
        most,
        4,
        (LIMIT, 2.0, 4000 / 86_400e9) if lifts else None,
    )


def as_oracle(run, stride_s):
    """What was told, as the oracle tells it: sorted by asset, between which no order is promised."""
    found = []
    for each in run.told:
        told, incident = each.transition, each.transition.incident
        peak, first = incident.peak, incident.start + stride_s * SECOND
        found.append(
            (told.kind, each.asset, told.window.end, first, incident.last_over, incident.seq, peak.end, peak.score)
        )
    return sorted(found, key=lambda event: event[1])


@settings(max_examples=60, deadline=None)
@given(
    logs(),
    st.sampled_from([2, 5, 20, 60]),
    st.sampled_from([0, 1]),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from([(4, 2, 1), (4, 2, 1), (5, 1, 1), (3, 3, 1), (2, 5, 1), (3, 2, 2)]),
    st.sampled_from([86_400, 40]),
    st.booleans(),
    st.data(),
)
def test_incidents_are_those_of_the_oracle_wherever_batches_end_and_restarts_fall(
    log, bound_s, lateness_s, raise_after, clear_after, shape, reset_s, lifts, data
):
    if reset_s < 60:  # a reset has its place between two messages
        log = [[reading] for message in log for reading in message]
    window, stride, period_s = shape
    stride_s = stride * period_s
    delays = {"on_delay_s": stride_s * (raise_after - 1), "off_delay_s": stride_s * (clear_after - 1)}
    config = configuration(bound_s, lateness_s, reset_s, **delays)
    calibration = replace(models.metadata().calibration, incidents=INCIDENTS if lifts else None)
    run = Run(log, config, window=window, stride=stride, period_ms=1000 * period_s, calibration=calibration)
    naive = oracle(bound_s, lateness_s, raise_after, clear_after, shape, reset_s, lifts)
    while run.at < len(log):
        first = run.at
        run.reads(data.draw(st.integers(1, 30)))
        for message in log[first : run.at]:
            naive.message([(name, (T0 + second) * SECOND, values) for name, second, *values in message])
        happens = data.draw(st.sampled_from(["nothing", "nothing", "restart", "silence"]))
        if happens == "restart":
            run.restarts(data.draw(st.integers(1, 9)))
        elif happens == "silence":
            run.falls_silent()
            naive.end()
    assert as_oracle(run, stride_s) == sorted((event[:-1] for event in naive.events), key=lambda event: event[1])
    assert run.count("late") == naive.windows.late


@settings(max_examples=40, deadline=None)
@given(logs(), st.data())
def test_a_restart_changes_neither_channels_nor_state_nor_position(log, data):
    straight, broken = Run(log), Run(log)
    while straight.at < len(log):
        count = data.draw(st.integers(1, 30))
        straight.reads(count)
        broken.reads(count).restarts(data.draw(st.integers(1, 9)))
    assert by_asset(broken.told) == by_asset(straight.told)
    assert broken.state == straight.state
    assert (broken.position.offset, broken.position.stream) == (straight.position.offset, straight.position.stream)


@settings(max_examples=40, deadline=None)
@given(logs(), st.data())
def test_what_was_delivered_but_not_committed_is_the_same_when_it_is_delivered_again(log, data):
    commit, crash = sorted(data.draw(st.tuples(st.integers(0, len(log)), st.integers(0, len(log)))))
    run, straight = Run(log).reads(commit), Run(log).reads()
    position = run.position
    run.reads(crash - commit)
    run.position, run.at = position, commit
    run.restarts().reads()
    assert by_asset(run.told) == by_asset(straight.told)


def test_a_bound_within_the_allowed_lateness_is_refused():
    with pytest.raises(
        InvalidConfiguration, match=r"input.revision_bound_s: 5 is not longer than the allowed lateness"
    ):
        configuration(bound_s=5, lateness_s=5)


def test_snapshots_of_windows_and_revisions_exclude_each_other():
    with pytest.raises(InvalidConfiguration, match=r"delivery.snapshots: .* revisions"):
        parse({"input": {"revision_bound_s": 60}, "delivery": {"snapshots": "here"}})
