"""The step over columns: what is scored, what rings, what is kept, and that a restart changes none of it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.assembly import assemble
from monitor.columns import Messages
from monitor.config import parse
from monitor.state import Close, Position
from monitor.wire import scores_batch
from tests import models

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
WHERE = ("tocsin.readings", 0)
RESET_AFTER_S = 40


def configuration(guarantee="exactly-once", **detector):
    return parse(
        {
            "delivery": {"guarantee": guarantee},
            "input": {"ts_unit": "s", "idle_limit_s": 30, "reset_after_s": RESET_AFTER_S},
            "detectors": [
                {
                    "name": "d",
                    "model": "unused",
                    "assets": ["pump-*"],
                    "alarm_budget_per_day": 4000,
                    **models.STEADY,
                }
                | detector
            ],
        }
    )


def assembly(config=None, **model):
    config = config or configuration()
    return assemble(config, {detector.name: models.model(**model) for detector in config.detectors})


def wide(asset, second, *values, names=("a", "b")):
    return json.dumps({"asset": asset, "ts": T0 + second, "values": dict(zip(names, values, strict=True))}).encode()


def messages(values, first_offset=0, where=WHERE):
    count = len(values)
    offsets = list(range(first_offset, first_offset + count))
    return Messages(*where, first_offset + count, offsets, [-1] * count, list(values), [None] * count, [()] * count)


def feed(made, values, first_offset=0):
    batch = messages(values, first_offset)
    columns = made.decoder.decode(batch)
    return made.pipeline.step({WHERE: (columns, batch.next_offset)}), columns


def started(made, position=None, state=()):
    made.pipeline.assign(WHERE, position or Position(0, 0), state)
    return made


def scores_of(output):
    rows = [row for _, scores in output.scores for row in scores_batch(scores).to_pylist()]
    return {(row["asset"], row["window_end"].timestamp() - T0): row for row in rows}


def test_closed_windows_are_scored_with_p_value_and_limit():
    made = started(assembly())
    output, _ = feed(made, [wide("pump-1", second, 0.2, 0.6) for second in range(8)])
    found = scores_of(output)
    assert sorted(end for _, end in found) == [3, 5, 7]
    assert found["pump-1", 7]["score"] == pytest.approx(0.4)
    assert found["pump-1", 7]["p_value"] == pytest.approx(0.6)
    assert found["pump-1", 7]["channel_scores"] == pytest.approx([0.1, 0.3])


def test_window_with_too_little_observed_is_not_scored_and_counts_as_such():
    made = started(assembly(min_observed=0.9))
    output, _ = feed(made, [wide("pump-1", second, 0.2, None) for second in range(8)])
    assert output.counts.windows == 4
    assert output.counts.windows_not_scored == 4
    assert output.scores == []


def test_one_event_is_one_incident_with_its_channels_in_order_of_contribution():
    made = started(assembly())
    quiet = [wide("pump-1", second, 0.1, 0.1) for second in range(20)]
    loud = [wide("pump-1", second, 1.0, 5.0) for second in range(20, 40)]
    calm = [wide("pump-1", second, 0.1, 0.1) for second in range(40, 60)]
    output, _ = feed(made, quiet + loud + calm)
    raised, cleared = output.transitions
    assert (raised.transition.kind, cleared.transition.kind) == ("raised", "cleared")
    assert (raised.transition.incident.seq, cleared.transition.incident.seq) == (1, 2)
    assert [c.channel for c in cleared.transition.incident.channels] == ["b", "a"]
    assert cleared.transition.incident.channels[0].seen == pytest.approx(5.0)
    assert cleared.transition.incident.channels[0].expected == 0.0
    assert T0 + 19 <= raised.transition.incident.start / 1e9 <= T0 + 22
    assert T0 + 39 <= cleared.transition.incident.last_over / 1e9 <= T0 + 44


def test_asset_without_a_detector_is_counted_and_is_no_dead_letter():
    made = started(assembly())
    output, columns = feed(made, [wide("valve-1", 0, 1.0, 1.0)])
    assert (output.counts.unwatched, columns.dead, output.scores) == (1, [], [])


def test_two_detectors_on_one_asset_have_their_own_channels_and_grids():
    config = parse(
        {
            "input": {"ts_unit": "s"},
            "detectors": [
                {"name": "fast", "model": "x", "assets": ["pump-*"]},
                {"name": "slow", "model": "y", "assets": ["pump-1"]},
            ],
        }
    )
    fast, slow = models.model(), models.model(channels=("b", "c"), window=2, stride=1, period_ms=5000)
    made = started(assemble(config, {"fast": fast, "slow": slow}))
    values = [wide("pump-1", s, 0.1, 0.2, 0.6, names="abc") for s in range(20)]
    output, _ = feed(made, [*values, wide("pump-2", 0, 1.0, 1.0)])
    by_detector = {scores.detector: scores for _, scores in output.scores}
    assert by_detector["fast"].score == pytest.approx([0.15] * len(by_detector["fast"].score))
    assert by_detector["slow"].score == pytest.approx([0.4] * len(by_detector["slow"].score))
    assert list(by_detector["slow"].window_end // 10**9 - T0) == [5, 10, 15]


def test_model_that_gives_nan_is_a_fault_of_the_model_and_never_normal():
    config = configuration()
    broken = models.model()
    broken = type(broken)(
        broken.metadata, "none", lambda w, outputs: [np.full_like(r, np.nan) for r in models.score(w, outputs)]
    )
    made = started(assemble(config, {"d": broken}))
    output, _ = feed(made, [wide("pump-1", second, 0.2, 0.6) for second in range(8)])
    assert [(fault.detector, fault.version, fault.windows) for fault in output.faults] == [("d", "1", 3)]
    assert output.scores == []


def test_silent_partition_is_closed_by_hand_and_the_close_is_kept():
    made = started(assembly())
    feed(made, [wide("pump-1", second, 0.2, 0.6) for second in range(8)])
    output = made.pipeline.close_silent([WHERE])
    assert sorted(end for _, end in scores_of(output)) == [9]
    [(_, key, entry)] = output.state
    assert key == ("tocsin.readings", "pump-1", "d")
    assert entry.closes[0].closed_to == T0 + 8


def test_reset_of_an_asset_is_counted_kept_and_lets_the_low_offset_move_on():
    made = started(assembly())
    feed(made, [wide("pump-1", second, 0.2, 0.6) for second in range(8)])
    output, _ = feed(made, [wide("pump-2", second, 0.2, 0.6) for second in range(8, 80)], 8)
    assert output.counts.resets == 1
    [(_, key, entry)] = output.state
    assert key.asset == "pump-1"
    assert entry.closes == (Close(8 + 30, 0, T0 + 8), Close(8 + 40, 0, T0 + 8, reset=True))
    assert output.positions[WHERE].low > 8 + 60


@st.composite
def plants(draw):
    """Readings of three pumps with bursts over the limit, out of order, late, missing, with silent spells.

    Some pumps bring theirs so late that they are idle, or reset, at once.
    """
    now, readings = 0, []
    for _ in range(draw(st.integers(1, 80))):
        now += draw(st.sampled_from([0, 0, 1, 1, 2, 9, 45]))
        value = draw(st.sampled_from([0.1, 0.1, 0.5, 3.0, None]))
        asset = draw(st.sampled_from(["pump-1", "pump-2", "pump-3"]))
        behind = draw(st.sampled_from([0, 0, 0, 1, 6, 35, 50]))
        readings.append(wide(asset, max(now - behind, 0), value, value))
    return readings


def run(readings, cuts, silent=(), restarts=(), **model):
    """What a run gives that reads up to each cut, where the clock may close it and it may restart.

    A refill is read in batches too, which end where offsets are divided by three.
    """
    config = configuration(on_delay_s=2, off_delay_s=4)
    made, outputs, state, at = started(assembly(config, **model)), [], {}, 0
    for cut in [*cuts, len(readings)]:
        outputs.append(feed(made, readings[at:cut], at)[0])
        if cut in silent:
            outputs.append(made.pipeline.close_silent([WHERE]))
        state |= {key: entry for output in outputs for _, key, entry in output.state}
        if cut in restarts:
            position = outputs[-1].positions[WHERE]
            made = started(assembly(config, **model), position, list(state.items()))
            for low in [position.low, *range(position.low // 3 * 3 + 3, cut, 3)]:
                refill, _ = feed(made, readings[low : min(low // 3 * 3 + 3, cut)], low)
                assert (scores_of(refill), refill.transitions, refill.counts.late) == ({}, [], 0)
        at = cut
    scores = [row for output in outputs for row in scores_of(output).items()]
    assert len(scores) == len(dict(scores)), "a window was scored twice"
    position = outputs[-1].positions[WHERE]
    assert position.low <= position.offset
    late, resets = (sum(getattr(output.counts, name) for output in outputs) for name in ("late", "resets"))
    return dict(scores), by_asset(outputs), (position.offset, position.stream), late, resets


def by_asset(outputs):
    """Transitions in their order within each asset: between assets no order is promised."""
    return sorted((told for output in outputs for told in output.transitions), key=lambda told: told.asset)


def test_close_that_an_old_reading_of_the_asset_itself_caused_is_repeated_behind_that_reading():
    readings = [wide("pump-2", 100, 1.0, 1.0), wide("pump-1", 66, 2.0, 2.0), wide("pump-1", 68, 3.0, 3.0)]
    readings += [wide("pump-1", 90, 4.0, 4.0)]
    assert run(readings, [2], restarts=[2]) == run(readings, [])


@settings(max_examples=200, deadline=None)
@given(plants(), st.data())
def test_restart_at_any_commit_gives_the_same_scores_events_and_position(readings, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(readings)), max_size=6)))
    some = st.sets(st.sampled_from(cuts)) if cuts else st.just(set())
    silent, restarts = data.draw(some), data.draw(some)
    assert run(readings, cuts, silent, restarts) == run(readings, sorted(silent), silent)


@settings(max_examples=200, deadline=None)
@given(plants(), st.data())
def test_outputs_that_were_delivered_but_not_committed_are_the_same_when_delivered_again(readings, data):
    """A crash between delivery and commit: state is ahead of the position, and every event keeps its id."""
    config = configuration("at-least-once", on_delay_s=2, off_delay_s=4)
    commit, crash = sorted(data.draw(st.tuples(st.integers(0, len(readings)), st.integers(0, len(readings)))))
    made = started(assembly(config))
    first, _ = feed(made, readings[:commit])
    lost, _ = feed(made, readings[commit:crash], commit)
    state = {key: entry for output in (first, lost) for _, key, entry in output.state}
    position = first.positions[WHERE]
    second = started(assembly(config), position, list(state.items()))
    feed(second, readings[position.low : commit], position.low)
    again, _ = feed(second, readings[commit:], commit)
    undisturbed, _ = feed(started(assembly(config)), readings)
    assert scores_of(first) | scores_of(again) == scores_of(undisturbed)
    assert by_asset([first, lost, again]) == by_asset([undisturbed])
