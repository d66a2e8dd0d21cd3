"""The standard's figures on the dashboard: the same whatever order the partitions are read in."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dashboard.ledger import Ledger
from dashboard.payload_performance import performance_sections, whole_number
from monitor.annunciations import Norms, Performance, step
from monitor.events import IncidentEvent, to_ns
from monitor.performance import figures
from tests.dashboard.control_room import alarm, at

NORMS = Norms(days=2)
NOW_NS = to_ns(at(2000))


def course(asset: str, start: int, priority: str = "low") -> list[IncidentEvent]:
    """An alarm that rings and returns to normal, unacknowledged, and is then acknowledged."""
    raised = replace(alarm(asset, start=start, priority=priority), detected=at(start + 1))
    cleared = replace(raised, transition="cleared", state="returned", previous_state="unacknowledged")
    cleared = replace(cleared, active=False, seq=2, detected=at(start + 5), end=at(start + 5))
    done = replace(cleared, transition="acknowledged", state="normal", previous_state="returned", seq=3)
    return [raised, cleared, replace(done, detected=at(start + 6), decided=at(start + 6))]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1500)), min_size=1, max_size=12, unique=True), st.randoms()
)
def test_the_figures_do_not_depend_on_the_order_of_reading(made: list[tuple[int, int]], random: object) -> None:
    events = [event for asset, start in made for event in course(f"pump-{asset}", start)]
    events = list({event.event_id: event for event in events}.values())
    in_order = sorted(events, key=lambda event: (event.detected, event.event_id))
    known = Performance()
    for event in in_order:
        step(NORMS, known, event, to_ns(event.detected))
    expected = figures(NORMS, known, NOW_NS)
    ledger, shuffled = Ledger(), list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for event in shuffled:
        ledger.add(event, to_ns(event.detected))
        ledger.figures(NORMS, to_ns(event.detected))
    assert ledger.figures(NORMS, NOW_NS) == expected
    assert sum(sum(counts.values()) for _, counts in ledger.bins(2, NOW_NS)) == expected.annunciations


def test_an_event_that_comes_again_counts_once() -> None:
    ledger = Ledger()
    raised = course("pump-1", 0)[0]
    assert ledger.add(raised, 0)
    assert not ledger.add(raised, 0)
    found = ledger.figures(NORMS, NOW_NS)
    assert found is not None
    assert found.annunciations == 1


def test_what_does_not_fit_goes_from_the_oldest() -> None:
    ledger = Ledger(most=10)
    for n in range(12):
        ledger.add(course(f"pump-{n}", n * 10)[0], 0)
    assert ledger.dropped == 2
    begins = ledger.bins(2, to_ns(at(120)))
    assert sum(sum(counts.values()) for _, counts in begins) == 10


def test_nothing_that_happened_is_no_figure() -> None:
    assert Ledger().figures(NORMS, NOW_NS) is None
    assert performance_sections(None, [], 1, 1, 0)["ready"] is False


def test_the_page_has_each_figure_with_what_is_recommended() -> None:
    ledger = Ledger()
    for event in [*course("pump-1", 0, "high"), *course("pump-1", 100), *course("a/b", 300)]:
        ledger.add(event, to_ns(event.detected - timedelta(seconds=1)))
    shown = performance_sections(ledger.figures(NORMS, NOW_NS), ledger.bins(2, NOW_NS), 2, 3, 0)
    by_name = {each["name"]: each for each in shown["figures"]}
    assert by_name["priority_high"]["value"] == 0.3333
    assert by_name["flood_share"]["recommended"] == "under 1 %"
    assert [(each["asset"], each["count"]) for each in shown["top"]] == [("pump-1", 2), ("a/b", 1)]
    assert sum(shown["bins"]["high"]) == 1
    assert shown["bins"]["bound"] == 30
    assert shown["facts"]["annunciations"] == 3


def test_a_number_in_an_address_is_one_of_those_that_are_offered() -> None:
    assert [whole_number(text, (1, 2, 7), 1) for text in ("7", "3", "-1", "x", "", "٧", "9" * 5000)] == [
        7, 1, 1, 1, 1, 7, 1,
    ]  # fmt: skip
