"""The standard's figures: by hand, and equal to what the whole event log gives."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.annunciations import MINUTE, Norms, Performance, bin_of, step
from monitor.events import to_ns
from monitor.performance import Figures, figures, judged
from tests import naive
from tests.notify.events import SECOND, T0, acknowledged, cleared, event

NORMS = Norms()
STATES = ["normal", "unacknowledged", "acknowledged", "returned", "latched", "latched_acknowledged", "shelved",
          "suppressed", "out_of_service"]  # fmt: skip


def told(*events, norms=NORMS):
    known = Performance()
    for each in events:
        step(norms, known, each, to_ns(each.detected))
    return known


def after(*events, at_s, norms=NORMS) -> Figures:
    return figures(norms, told(*events, norms=norms), T0 + round(at_s * SECOND))


def verdicts(found: Figures) -> dict[str, str]:
    return {each.name: each.verdict for each in judged(found)}


def raises(count, every_s, assets=1000):
    return [event(f"pump-{i % assets}", i * every_s) for i in range(count)]


def test_rates_are_of_an_hour_and_operator():
    one = after(*raises(24, 1800), at_s=12 * 3600)
    two = after(*raises(24, 1800), at_s=12 * 3600, norms=Norms(operators=2))
    assert (one.annunciations, one.per_hour, one.last_hour) == (24, 2.0, 1.0)
    assert two.per_hour == 1.0
    assert verdicts(one)["per_hour"] == "good"


@pytest.mark.parametrize(("every_s", "verdict"), [(600, "good"), (400, "fair"), (200, "bad")])
def test_rate_is_judged_as_the_standard_has_it(every_s, verdict):
    assert verdicts(after(*raises(100, every_s), at_s=100 * every_s))["per_hour"] == verdict


def test_flood_begins_with_the_eleventh_in_ten_minutes_and_ends_under_five():
    assert not after(*raises(10, 30), at_s=310).flooding
    flood = raises(11, 30)  # in five minutes
    assert after(*flood, at_s=310).flooding
    assert after(*flood, at_s=770).flooding  # 5 are left of the last 10 minutes
    over = after(*flood, at_s=900)
    assert not over.flooding
    assert over.flood_share * 60 == pytest.approx(8)  # minutes 5 to 12
    assert after(*flood, at_s=310, norms=Norms(operators=2)).flooding is False


def test_chattering_is_three_within_a_minute():
    def rung(every_s):
        pairs = [(event("p", i * every_s), cleared("p", i * every_s + 1)) for i in range(3)]
        return after(*[each for pair in pairs for each in pair], at_s=600).chattering

    assert rung(30) == ("pumps/p",)
    assert rung(31) == ()


def test_fleeting_is_what_clears_before_anybody_could_act_and_nobody_did():
    assert after(event(), cleared(at_s=59), at_s=60).fleeting == 1
    assert after(event(), cleared(at_s=60), at_s=60).fleeting == 0
    assert after(event(), acknowledged(at_s=20), cleared(at_s=59), at_s=60).fleeting == 0
    returned = cleared(at_s=59, state="returned", previous="unacknowledged")
    assert after(event(), returned, at_s=60).fleeting == 1


def test_stale_is_what_stands_for_more_than_a_day():
    day = 86_400
    assert after(event(), at_s=day).stale == ()
    assert after(event(), acknowledged(), at_s=day + 1).stale == ("pumps/pump-1",)
    assert after(event(), cleared(), at_s=day + 1).stale == ()


def test_what_is_hidden_now_is_counted_and_neither_rings_nor_is_acknowledged():
    shelved = event("a", 5, "shelved", "shelved", "unacknowledged", active=True)
    hidden = event("b", 6, "raised", "suppressed", "suppressed", active=True)
    out = event("c", 7, "taken_out_of_service", "out_of_service", "normal", active=False)
    found = after(event("a"), shelved, hidden, out, at_s=10)
    assert (found.shelved, found.suppressed, found.out_of_service) == (1, 1, 1)
    assert (found.annunciations, found.standing, found.unacknowledged) == (1, 2, 0)


def test_time_to_acknowledge_is_of_the_wall_clock():
    known = Performance()
    step(NORMS, known, event(), T0 + 5 * SECOND)  # told five seconds after its event time
    step(NORMS, known, acknowledged(at_s=65), T0 + 70 * SECOND)
    found = figures(NORMS, known, T0 + 80 * SECOND)
    assert found.acknowledged_median_s == pytest.approx(60, rel=0.05)


def test_without_any_alarm_there_are_no_shares():
    found = figures(NORMS, Performance(), T0)
    assert (found.annunciations, found.top, found.top_share, found.acknowledged_median_s) == (0, (), None, None)
    assert verdicts(found)["priority_low"] == "unknown"


def test_priorities_and_the_ten_most_frequent_have_their_shares():
    events = [event(f"p{i}", i * 600, priority="high" if i % 2 else "low") for i in range(20)]
    found = after(*events, event("p3", 13_000), at_s=13_000)
    assert found.top[0].alarm == "pumps/p3"
    assert found.top_share == pytest.approx(11 / 21)
    assert found.priorities == pytest.approx({"low": 11 / 21, "medium": 0, "high": 10 / 21})


def test_years_of_alarms_are_held_in_bounded_memory():
    known, norms = Performance(), Norms(days=30)
    for i in range(3000):  # eight years
        name = f"p{i}"
        step(norms, known, event(name, i * 86_400), 0)
        step(norms, known, cleared(name, i * 86_400 + 600), 0)
    assert len(known.days) <= 30
    assert len(known.alarms) <= 1
    assert sum(len(day.alarms) for day in known.days.values()) <= 30


def test_day_with_more_alarms_than_are_told_apart_is_still_counted_whole(monkeypatch):
    monkeypatch.setattr("monitor.annunciations.MAX_ALARMS_A_DAY", 5)
    found = after(*raises(20, 60), at_s=1200)
    assert (found.annunciations, len(found.top)) == (20, 5)


@st.composite
def logs(draw):
    """Events of three alarms in any order that people and machines could cause, some late."""
    states, events, at = {}, [], 0.0
    for _ in range(draw(st.integers(0, 40))):
        at += draw(st.sampled_from([0, 1, 20, 59, 60, 61, 400, 1800, 20_000, 90_000]))
        asset = draw(st.sampled_from("abc"))
        state = draw(st.sampled_from([*STATES, "unacknowledged", "normal"]))
        transition = "acknowledged" if "acknowledged" in state and draw(st.booleans()) else "raised"
        transition = draw(st.sampled_from([transition] * 5 + ["revised", "rejected"]))
        active = state in ("unacknowledged", "acknowledged") or draw(st.booleans())
        late = draw(st.sampled_from([0, 0, 0, 30, 4000]))
        events.append(
            event(
                asset, max(at - late, 0), transition, state, states.get(asset, "normal"), active=active,
                priority=draw(st.sampled_from(["low", "medium", "high"])),
            )
        )  # fmt: skip
        states[asset] = state
    return events, at + draw(st.sampled_from([0, 30, 86_400, 200_000]))


@settings(max_examples=200)
@given(logs(), st.sampled_from([0.2, 1.0]))
def test_figures_are_those_of_the_whole_event_log(log, operators):
    events, now_s = log
    norms, known = Norms(operators=operators, days=2), Performance()
    rows = [(to_ns(each.detected), T0 + i * 10**10, each) for i, each in enumerate(events)]
    for _, at, each in rows:
        step(norms, known, each, at)
    now = T0 + round(now_s * SECOND)
    found = msgspec.to_builtins(figures(norms, known, now))
    expected = naive.alarm_figures(rows, now, operators, days=2)
    found["top"] = [(each["alarm"], each["annunciations"], each["share"]) for each in found["top"]]
    for name in ("acknowledged_median_s", "acknowledged_p90_s"):
        exact, binned = expected.pop(name), found.pop(name)
        assert (exact is None) == (binned is None)
        assert exact is None or bin_of(exact) == bin_of(binned)
    assert found == {
        name: pytest.approx(value)
        if isinstance(value, float)
        else tuple(value)
        if name in found and isinstance(found[name], tuple)
        else value
        for name, value in expected.items()
    }


def test_asking_before_anything_rang_changes_nothing():
    known = Performance()
    found = figures(NORMS, known, T0 + 10**6 * MINUTE)  # a recording's time may be long before the clock's
    assert (found.observed_hours, found.per_hour, found.flood_share) == (0, 0, 0)
    assert known == Performance()
    step(NORMS, known, event(), T0)
    assert known.newest == T0


def test_asking_often_changes_nothing():
    known, before = told(*raises(30, 20)), told(*raises(30, 20))
    for second in range(0, 4000, 7):
        figures(NORMS, known, T0 + 600 * SECOND + second * SECOND)
    assert known == before
    asked = figures(NORMS, known, T0 + 100 * MINUTE)
    assert asked == figures(NORMS, told(*raises(30, 20)), T0 + 100 * MINUTE)
