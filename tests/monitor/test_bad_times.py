"""Event times that are wrong: local, in another unit, from the future, late, or seen by a clock that steps."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations

import pyarrow as pa
import pytest

from monitor.columns import NS_PER
from tests.monitor.test_daemon import IDLE_LIMIT_S, Plant
from tests.monitor.test_pipeline import WHERE, assembly, feed, messages, started
from tests.monitor.test_pipeline import wide as reading
from tests.monitor.test_records import ARROW, JSON, NS, T0, arrow, decode, reasons, wide

S0 = T0 // 1000  # 2026-01-01T00:00:00Z, s
HOUR = 3600


def message(kind, ts):
    """One reading at this time: a number, a text, or an Arrow array of one."""
    if kind == JSON:
        return wide(ts=ts, a=1)
    return arrow(asset=["pump-1"], ts=ts if isinstance(ts, pa.Array) else [ts], a=[1.0])


def of_zone(unit, zone):
    return pa.array([S0 * 10**9 // NS_PER[unit]], pa.timestamp(unit, zone))


# ------------------------------------------------------------------------------------------------- units and zones


@pytest.mark.parametrize("kind", [JSON, ARROW])
@pytest.mark.parametrize(("sent", "configured"), list(permutations(NS_PER, 2)))
def test_a_number_in_another_unit_is_a_dead_letter_that_names_the_setting(kind, sent, configured):
    for second in (S0, 978_307_200, 4_070_908_800):  # 2026, 2001 and 2099
        columns = decode(message(kind, second * 10**9 // NS_PER[sent]), kinds=[kind], ts_unit=configured)
        assert (len(columns.ts), reasons(columns)) == (0, ["time_out_of_range"])
        assert f"in {configured} by `input.ts_unit`" in columns.dead[0].detail


@pytest.mark.parametrize(
    ("kind", "ts"),
    [
        (JSON, "2026-01-01T00:00:00"),
        (JSON, "2026-01-01 00:00:00.5"),
        *((ARROW, of_zone(unit, None)) for unit in NS_PER),
    ],
    ids=str,
)
def test_a_time_without_a_zone_is_a_dead_letter_and_never_a_guess(kind, ts):
    columns = decode(message(kind, ts), kinds=[kind])
    assert (len(columns.ts), reasons(columns)) == (0, ["wrong_type"])
    assert "zone" in columns.dead[0].detail


@pytest.mark.parametrize("unit", NS_PER)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "-03:30"])
def test_an_arrow_timestamp_is_the_same_moment_in_every_zone(unit, zone):
    assert decode(message(ARROW, of_zone(unit, zone)), kinds=[ARROW]).ts.tolist() == [T0 * NS]


@pytest.mark.parametrize(
    ("before", "after"),
    [  # clocks go forward, then back: local times that do not exist, or exist twice, are told apart by the offset
        ("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"),
        ("2026-10-25T02:59:59+02:00", "2026-10-25T02:00:00+01:00"),
        ("2026-03-29T02:30:00+01:00", "2026-03-29T02:30:01+01:00"),
    ],
)
def test_daylight_saving_moves_nothing_where_the_offset_is_told(before, after):
    first, second = decode(wide(ts=before, a=1), wide(ts=after, a=2)).ts.tolist()
    assert second - first == 10**9
    moment = datetime.fromisoformat(before)
    assert first == int(moment.timestamp()) * 10**9


@pytest.mark.parametrize("hours", [-12, -3.5, 0, 5.75, 14])
def test_an_offset_of_any_zone_is_the_same_moment(hours):
    moment = datetime.fromtimestamp(S0, UTC).astimezone(timezone(timedelta(hours=hours)))
    assert decode(wide(ts=moment.isoformat(), a=1)).ts.tolist() == [T0 * NS]


# ------------------------------------------------------------------------------------- the future, and what is late


@pytest.mark.parametrize("kind", [JSON, ARROW])
@pytest.mark.parametrize(
    ("ahead_s", "record_ms", "accepted"),
    [
        (0, T0, True),
        (1200, T0, True),
        (1201, T0, False),
        (HOUR, T0 + HOUR * 1000, True),
        (HOUR * 24 * 365, T0, False),
        (-HOUR * 24 * 365, T0, True),  # replayed history is no mistake
        (HOUR, -1, True),  # a record without a timestamp tells nothing
    ],
)
def test_a_reading_from_the_future_is_judged_by_its_records_timestamp(kind, ahead_s, record_ms, accepted):
    ts = (S0 + ahead_s) * 1000
    columns = decode(message(kind, ts), kinds=[kind], timestamps=[record_ms], max_ahead_s=1200)
    assert len(columns.ts) == accepted
    assert reasons(columns) == ([] if accepted else ["time_out_of_range"])


def test_a_reading_from_the_future_moves_no_watermark():
    made = started(assembly())
    ahead = reading("pump-1", 5 * HOUR, 0.2, 0.2)
    given = messages([*(reading("pump-1", second, 0.2, 0.2) for second in range(8)), ahead])
    given.timestamps = [T0] * 9
    columns = made.decoder.decode(given)
    output = made.pipeline.step({WHERE: (columns, 9)})
    assert reasons(columns) == ["time_out_of_range"]
    assert output.positions[WHERE].stream == (S0 + 7) * 10**9


def test_a_late_reading_is_counted_and_changes_no_window():
    on_time = [reading("pump-1", second, 0.2, 0.2) for second in range(8)]
    output, columns = feed(started(assembly()), [*on_time, reading("pump-1", 1, 9.0, 9.0)])
    assert (output.counts.late, columns.dead) == (1, [])
    undisturbed, _ = feed(started(assembly()), on_time)
    assert [scores.score.tolist() for _, scores in output.scores] == [
        scores.score.tolist() for _, scores in undisturbed.scores
    ]


# ------------------------------------------------------------------------------------------------ the daemon's clock


@pytest.mark.parametrize("step_s", [-HOUR * 24 * 365, -HOUR, HOUR, HOUR * 24 * 365 * 20])
def test_a_step_of_the_daemons_clock_changes_neither_windows_nor_what_is_accepted(step_s):
    straight, stepped = Plant(), Plant()
    for plant in (straight, stepped):
        plant.reads(0, *range(8))
    stepped.stepped_s = step_s
    for plant in (straight, stepped):
        plant.passes(1)
        plant.reads(0, *range(8, 12))
        plant.passes(IDLE_LIMIT_S + 1)
    assert stepped.ends(0) == straight.ends(0) == [3, 5, 7, 9, 11, 13]
    assert stepped.dead() == straight.dead() == []


def test_a_reading_from_the_future_is_refused_also_where_the_daemons_clock_is_there_already():
    plant = Plant()
    plant.stepped_s = 10 * HOUR
    plant.reads(0, 0, 5 * HOUR)
    assert [each["ts"] for each in plant.dead()] == [S0 + 5 * HOUR]
