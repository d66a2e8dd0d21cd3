"""What an endpoint is told, in which order, and that nothing is told twice or forgotten."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from msgspec.structs import replace

from monitor.annunciations import MINUTE
from monitor.events import Contribution, encode_event
from monitor.notify import notifier
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Outbox, done, settle, tick
from monitor.notify.settings import Endpoint, Notify
from monitor.notify.state import changes, encode, restored
from tests.notify.events import SECOND, T0, acknowledged, cleared, event

ALONE = {"labels": {}}


def endpoint(**settings) -> Endpoint:
    return Endpoint(**{"name": "e", "kind": "webhook", "url": "http://h"} | settings)


def told(*events, now=T0, **settings) -> Outbox:
    state, where = Notifier(), endpoint(**settings)
    for each in events:
        notifier.step(Notify(), [where], state, each, now, now)
    return state.boxes["e"]


def kinds(box) -> list[tuple[str, str]]:
    return [(item.kind, item.key) for item in box.items.values()]


def key(asset="pump-1", at_s=0.0) -> str:
    return event(asset, at_s).incident_id


def test_raise_acknowledge_and_clear_are_told_under_one_key():
    assert kinds(told(event(), acknowledged(), cleared())) == [
        ("raise", key()),
        ("acknowledge", key()),
        ("resolve", key()),
    ]


def test_escalation_is_told_again_with_what_was_told_before():
    box = told(event(), event(at_s=9, transition="escalated", previous="unacknowledged", start_s=0, priority="high"))
    update = box.items[2]
    assert (update.kind, update.key, update.alert.priority, update.previous.priority) == (
        "update",
        key(),
        "high",
        "low",
    )


def test_alarm_that_becomes_grave_enough_is_told_then():
    box = told(
        event(priority="low"),
        event(at_s=9, transition="escalated", previous="unacknowledged", start_s=0, priority="high"),
        cleared(start_s=0),
        min_priority="high",
    )
    assert [kind for kind, _ in kinds(box)] == ["raise", "resolve"]


@pytest.mark.parametrize(
    ("match", "expected"),
    [({}, 1), ({"line": "2"}, 1), ({"line": "3"}, 0), ({"asset": "pump-*", "site": "n*"}, 1), ({"detector": "x"}, 0)],
)
def test_labels_and_names_choose(match, expected):
    assert len(told(event(), match=match).items) == expected


def test_who_wants_no_end_is_told_none():
    box = told(event(), cleared(), send_resolved=False)
    assert [kind for kind, _ in kinds(box)] == ["raise"]
    assert box.open == {}


@pytest.mark.parametrize("state", ["shelved", "suppressed", "out_of_service"])
def test_what_is_hidden_is_over_for_who_was_told_and_never_begins(state):
    hidden = event(at_s=9, transition="shelved", state=state, previous="unacknowledged", start_s=0, active=True)
    assert [kind for kind, _ in kinds(told(event(), hidden))] == ["raise", "resolve"]
    assert kinds(told(event(state=state, previous=state, active=True))) == []
    back = event(at_s=20, transition="unshelved", previous=state, start_s=0)
    assert [kind for kind, _ in kinds(told(event(), hidden, back))] == ["raise", "resolve", "raise"]


def test_returned_is_over_and_latched_is_not():
    returned = cleared(state="returned", previous="unacknowledged")
    latched = cleared(state="latched", previous="unacknowledged")
    assert kinds(told(event(), returned))[-1] == ("resolve", key())
    assert kinds(told(event(), latched))[-1] == ("update", key())


def test_late_readings_and_labels_of_people_are_no_news():
    for transition in ("revised", "labelled", "rejected"):
        same = event(at_s=9, transition=transition, previous="unacknowledged", start_s=0)
        assert len(told(event(), same).items) == 1


def test_group_is_one_notification_under_the_key_of_the_first():
    log = [
        event("a", 0),
        event("b", 10, priority="high"),
        acknowledged("a", 20, 0),
        acknowledged("b", 30, 10, priority="high"),
        cleared("a", 40, 0),
        cleared("b", 50, 10),
    ]
    box = told(*log)
    lead = key("a")
    assert kinds(box) == [("raise", lead), ("update", lead), ("acknowledge", lead), ("resolve", lead)]
    update = box.items[2].alert
    assert (update.priority, update.together.incidents, update.together.origin) == ("high", 2, "a")
    assert update.identity == box.items[1].alert.identity
    assert box.open == {}
    apart = told(*log, group=False)
    assert [kind for kind, _ in kinds(apart)] == [
        "raise",
        "raise",
        "acknowledge",
        "acknowledge",
        "resolve",
        "resolve",
    ]


def test_people_who_read_messages_hear_of_a_group_and_of_what_is_graver_and_not_of_each_member():
    log = [event("a", 0), event("b", 1), event("c", 2), event("d", 3, priority="high"), event("e", 4)]
    chat = told(*log, kind="apprise", url="json://h")
    assert [(item.kind, item.alert.asset) for item in chat.items.values()] == [
        ("raise", "a"),
        ("update", "b"),
        ("update", "d"),
    ]
    assert len(told(*log).items) == 5


def test_webhook_is_sent_events_and_group_events_as_cloud_events(tocsin_schemas):
    schema = json.loads((tocsin_schemas / "cloudevents-1.0.schema.json").read_text())
    box = told(event("a", 0), event("b", 10), cleared("a", 20, 0), cleared("b", 30, 10))
    bodies = [json.loads(bytes(item.body)) for item in box.items.values()]
    for body in bodies:
        Draft7Validator(schema).validate(body)
    assert [body["type"] for body in bodies] == [
        "tocsin.incident.raised.v1",
        "tocsin.group.opened.v1",
        "tocsin.group.closed.v1",
    ]
    assert bodies[0]["data"]["asset"] == "a"
    assert bodies[0]["id"] == event("a", 0).event_id


def test_what_exceeds_the_rate_becomes_one_summary():
    rules = {"rate_per_minute": 2.0, "burst": 2, **ALONE}
    labels, where = rules.pop("labels"), endpoint(**rules)
    box = told(*[event(f"p{i}", i, labels=labels, priority="high" if i > 3 else "low") for i in range(6)], **rules)
    assert len(box.items) == 2
    assert (box.gathered.count, box.gathered.priorities) == (4, {"low": 2, "high": 2})
    tick(where, box, T0 + 29 * SECOND)
    assert len(box.items) == 2
    tick(where, box, T0 + 30 * SECOND)
    summary = box.items[3]
    assert (summary.kind, summary.summary.count, summary.summary.assets) == ("summary", 4, ("p2", "p3", "p4", "p5"))
    assert box.gathered.count == 0
    tick(where, box, T0 + 60 * MINUTE)
    assert len(box.items) == 3


def test_machines_are_told_of_everything_unless_it_is_set_otherwise():
    log = [event(f"p{i}", i, **ALONE) for i in range(100)]
    assert len(told(*log).items) == 100
    assert len(told(*log, kind="apprise", url="json://h").items) == 60
    box = told(*log, rate_per_minute=1.0, burst=10)
    assert (len(box.items), box.gathered.count) == (10, 90)


def test_what_was_only_in_a_summary_is_not_ended():
    box = told(event("a", **ALONE), event("b", 1, **ALONE), cleared("b", 2, 1, **ALONE), burst=1, rate_per_minute=1.0)
    assert kinds(box) == [("raise", key("a"))]


def test_more_than_may_wait_goes_into_the_summary_and_ends_are_still_told():
    log = [event(f"p{i}", i, **ALONE) for i in range(10)]
    log += [cleared(f"p{i}", 60, i, **ALONE) for i in range(10)]
    box = told(*log, max_pending=3)
    assert [kind for kind, _ in kinds(box)] == ["raise"] * 3 + ["resolve"] * 3
    assert box.gathered.count == 7
    tick(endpoint(max_pending=3), box, T0 + MINUTE)
    assert len(box.items) == 6
    for number in list(box.items):
        done(box, number)
    tick(endpoint(max_pending=3), box, T0 + MINUTE)
    assert [item.kind for item in box.items.values()] == ["summary"]


def test_of_a_time_before_there_was_anybody_to_tell_only_what_stands_is_news():
    box = told(
        event("a", **ALONE), cleared("a", 9, 0, **ALONE), event("b", 20, **ALONE), acknowledged("b", 30, 20, **ALONE)
    )
    settle(box)
    assert kinds(box) == [("raise", key("b", 20))]
    assert box.items[4].alert.state == "acknowledged"


def test_no_entry_is_larger_than_a_broker_takes_whatever_assets_are_called():
    state, largest = Notifier(), 0
    wide = tuple(Contribution("c" * 1000 + str(i), 0.01) for i in range(500))
    for i in range(600):
        name = f"{i:04}" + "\N{WRENCH}" * 245  # of four bytes each: the longest that an asset may have
        each = replace(event(name, i / 10), channels=wide)
        for told_of in notifier.step(Notify(), ENDPOINTS, state, each, T0, T0):
            largest = max(largest, len(encode_event(told_of)))
        if i % 50 == 0:
            largest = max(largest, *(len(encode(value) or b"") for _, value in changes(state)))
    largest = max(largest, *(len(encode(value) or b"") for _, value in changes(state)))
    assert 300_000 < largest < 900_000


STATES = ["unacknowledged", "acknowledged", "returned", "normal", "shelved", "latched", "suppressed"]


@st.composite
def logs(draw):
    """Events of a few alarms in any states, at any pace; `done` items and time in between."""
    state, start, steps, now = {}, {}, [], 0
    for number in range(draw(st.integers(0, 50))):
        now += draw(st.sampled_from([0, 1, 10, 40]))
        asset = draw(st.sampled_from("abcde"))
        before = state.get(asset, "normal")
        after = draw(st.sampled_from(STATES))
        if before == "normal":
            start[asset] = now
        transition = (
            "acknowledged" if after == "acknowledged" else "raised" if after == "unacknowledged" else "cleared"
        )
        labels = {"line": "12"[ord(asset) % 2]}
        each = event(
            asset, now, transition, after, before, start_s=start[asset], seq=number + 1, labels=labels,
            priority=draw(st.sampled_from(["low", "medium", "high"])),
        )  # fmt: skip
        state[asset] = after
        steps.append((now, each, draw(st.integers(0, 2))))
    return steps


ENDPOINTS = (
    endpoint(name="all"),
    endpoint(name="apart", group=False, rate_per_minute=6.0, burst=2),
    Endpoint(name="pager", kind="pagerduty", routing_key="k", rate_per_minute=6.0, burst=2),
    endpoint(name="few", min_priority="medium", max_pending=2, send_resolved=False),
)


@given(logs())
def test_laws_of_outboxes(log):
    state, sent = Notifier(), {each.name: [] for each in ENDPOINTS}
    kept = {}
    for now_s, each, take in log:
        now = T0 + now_s * SECOND
        notifier.step(Notify(), ENDPOINTS, state, each, now, now)
        notifier.let_pass(ENDPOINTS, state, now)
        for name, box in state.boxes.items():
            for number in list(box.items)[:take]:
                sent[name].append(box.items[number])
                done(box, number)
        keep(kept, state)
    for where in ENDPOINTS:
        box = state.boxes.get(where.name, Outbox())
        items = [*sent[where.name], *box.items.values()]
        assert [item.number for item in items] == list(range(1, len(items) + 1))
        by_key = {}
        for item in items:
            if item.summary is None:
                by_key.setdefault(item.key, []).append(item.kind)
        for name, told_of in by_key.items():
            assert told_of[0] == "raise"
            stands = False
            for kind in told_of:
                if where.send_resolved:
                    assert (kind == "raise") == (not stands)
                stands = kind != "resolve"
            assert not where.send_resolved or stands == (name in box.open)
        assert where.send_resolved or not any(item.kind == "resolve" for item in items)
    assert same(restored(kept.items(), sent)[0], state)


def keep(kept, state):
    """As the state topic, compacted."""
    for part, value in changes(state):
        data = encode(value)
        if data is None:
            kept.pop(part, None)
        else:
            kept[part] = data


def same(one: Notifier, other: Notifier) -> bool:
    """Whether two are equal in all that is kept."""
    for state in (one, other):
        for where in ENDPOINTS:
            state.boxes.setdefault(where.name, Outbox())
        state.performance.changed_days |= state.performance.days.keys()
        state.performance.changed_alarms |= state.performance.alarms.keys()
        state.groups.changed |= state.groups.clusters.keys()
        for box in state.boxes.values():
            box.changed_items |= box.items.keys()
            box.changed_open |= box.open.keys()
            box.changed = True
    found = [{part: encode(value) for part, value in changes(state)} for state in (one, other)]
    boxes = all(list(box.items) == list(other.boxes[name].items) for name, box in one.boxes.items())
    lingering = one.performance.lingering == other.performance.lingering
    return found[0] == found[1] and boxes and lingering and one.groups.lead_of == other.groups.lead_of
