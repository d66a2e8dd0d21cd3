"""Incidents that ring together are one group: who joins, who began it, and when it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.events import GroupEvent, to_ns
from monitor.grouping import Groups, Rules, cluster_of, step
from tests.notify.events import SECOND, acknowledged, cleared, event

RULES = Rules(window_s=300, by=("line", "site"))
LINE_2 = {"line": "2", "site": "north"}
LINE_3 = {"line": "3", "site": "north"}
SOUTH = {"line": "2", "site": "south"}


def told(*events, rules=RULES) -> list[GroupEvent]:
    groups = Groups()
    return [change for each in events for change in step(rules, groups, each)]


def test_second_asset_on_the_line_opens_a_group_with_the_first_as_origin():
    (group,) = told(event("a", 0), event("b", 100, priority="high"))
    assert (group.transition, group.seq, group.shared) == ("opened", 1, LINE_2)
    assert [member.asset for member in group.members] == ["a", "b"]
    assert (group.origin.asset, group.priority) == ("a", "high")
    assert (to_ns(group.detected), group.end) == (to_ns(event("b", 100).detected), None)


def test_origin_is_whose_incident_began_first_however_they_came():
    late, early = event("late", 50, start_s=40), event("early", 60, start_s=-30)
    assert told(late, early)[0].origin.asset == "early"


def test_more_join_and_the_group_closes_when_none_rings():
    changes = told(
        event("a", 0),
        event("b", 10),
        event("c", 20),
        cleared("a", 60, 0),
        cleared("b", 70, 10),
        cleared("c", 80, 20),
    )
    assert [(each.transition, each.seq) for each in changes] == [("opened", 1), ("joined", 2), ("closed", 3)]
    assert len({each.group_id for each in changes}) == 1
    assert changes[-1].end == changes[-1].detected
    assert not any(member.active for member in changes[-1].members)


@pytest.mark.parametrize(
    ("theirs", "shared"),
    [(LINE_2, LINE_2), (LINE_3, {"site": "north"}), (SOUTH, None), ({"line": "2"}, None), ({}, None)],
    ids=["same line", "same site", "line of that name elsewhere", "line of no site", "no labels"],
)
def test_labels_link_the_most_specific_first(theirs, shared):
    found = told(event("a", 0, labels=LINE_2), event("b", 10, labels=theirs))
    assert [each.shared for each in found] == ([] if shared is None else [shared])


def test_incident_joins_the_group_of_its_line_before_that_of_its_site():
    groups = Groups()
    for each in (event("a", 0, labels=LINE_3), event("b", 400, labels=LINE_2), event("c", 600, labels=LINE_3)):
        step(RULES, groups, each)
    found = cluster_of(groups, event("c", 600).incident_id)
    assert [member.asset for member in found.members] == ["b", "c"]  # a's window has passed
    assert (
        told(event("a", 0, labels=LINE_2), event("b", 1, labels={"line": "9"}), event("c", 2, labels=LINE_2))[
            0
        ].shared
        == LINE_2
    )


def test_window_is_from_the_first_raise():
    assert told(event("a", 0), event("b", 300)) != []
    assert told(event("a", 0), event("b", 301)) == []
    assert told(event("a", 0), event("b", 1), rules=Rules(window_s=0)) == []


@pytest.mark.parametrize("state", ["shelved", "suppressed", "out_of_service"])
def test_what_is_hidden_joins_nothing(state):
    hidden = event("b", 10, "raised", state, state, active=True)
    assert told(event("a", 0), hidden, event("c", 20))[0].members[1].asset == "c"


def test_two_incidents_of_one_asset_are_no_group():
    again = event("a", 50)
    assert told(event("a", 0), again) == []
    (group,) = told(event("a", 0), again, event("b", 60))
    assert [member.asset for member in group.members] == ["a", "a", "b"]


def test_alarm_that_comes_back_rings_in_its_group_again():
    groups = Groups()
    back = event("a", 40, "raised", "unacknowledged", "returned", start_s=0)
    for each in (event("a", 0), event("b", 10), cleared("a", 30, 0, state="returned"), back):
        step(RULES, groups, each)
    found = cluster_of(groups, event("a", 0).incident_id)
    assert [member.active for member in found.members] == [True, True]
    assert len(found.members) == 2


def test_incident_that_was_shelved_rings_no_more():
    changes = told(
        event("a", 0),
        event("b", 10),
        cleared("a", 20, 0),
        event("b", 30, "shelved", "shelved", "unacknowledged", start_s=10, active=True),
    )
    assert [each.transition for each in changes] == ["opened", "closed"]


def test_acknowledgement_is_remembered_of_each_member():
    groups = Groups()
    for each in (event("a", 0), event("b", 10), acknowledged("a", 20, 0)):
        step(RULES, groups, each)
    found = cluster_of(groups, event("b", 10).incident_id)
    assert found.acknowledged == [event("a", 0).incident_id]


@st.composite
def logs(draw):
    """Raises, acknowledgements and clears of a few assets on two lines and two sites, in order of time."""
    open_at, events, at = {}, [], 0
    for _ in range(draw(st.integers(0, 40))):
        at += draw(st.sampled_from([0, 10, 100, 301]))
        asset = draw(st.sampled_from("abcdef"))
        labels = {"line": "12"[ord(asset) % 2], "site": "ns"[ord(asset) % 3 == 0]}
        if asset not in open_at:
            open_at[asset] = at
            events.append(event(asset, at, labels=labels, start_s=at, seq=len(events) + 1))
        elif draw(st.booleans()):
            events.append(acknowledged(asset, at, open_at[asset], labels=labels))
        else:
            events.append(cleared(asset, at, open_at.pop(asset), labels=labels))
    return events


@given(logs())
def test_laws_of_groups(events):
    groups, changes = Groups(), []
    for each in events:
        changes += step(RULES, groups, each)
        for lead, cluster in groups.clusters.items():
            assert cluster.lead == lead
            assert {groups.lead_of[member.incident_id] for member in cluster.members} == {lead}
            assert not cluster.told or cluster.ringing
    by_group = {}
    for each in changes:
        by_group.setdefault(each.group_id, []).append(each)
    for group in by_group.values():
        assert [each.seq for each in group] == list(range(1, len(group) + 1))
        assert [each.transition for each in group][:1] == ["opened"]
        assert all(each.transition == "joined" for each in group[1:-1])
        for each in group:
            assert len({member.asset for member in each.members}) >= 2
            for member in each.members:
                labels = next(e.labels for e in events if e.incident_id == member.incident_id)
                assert each.shared.items() <= labels.items()
                assert abs(to_ns(member.start) - to_ns(each.members[0].start)) <= RULES.window_s * SECOND
        standing = {cluster.group_id for cluster in groups.clusters.values()}
        assert (group[-1].transition == "closed") == (group[0].group_id not in standing)
