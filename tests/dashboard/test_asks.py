"""What a browser wishes: read strictly, and sent by who is logged in."""

import pytest

from dashboard.asks import read_ask
from monitor.errors import InvalidCommand

TARGETS = [{"asset": "pump-1", "detector": "pumps", "incident": "i"}]


def test_a_wish_is_read_with_its_targets() -> None:
    ask = read_ask({"id": "1", "action": "shelve", "targets": TARGETS, "reason": "known", "minutes": 30})
    assert (ask.action, ask.minutes, ask.targets[0].asset, ask.about_incident) == ("shelve", 30, "pump-1", False)
    assert read_ask({"action": "acknowledge", "targets": TARGETS}).about_incident


@pytest.mark.parametrize(
    "wish",
    [
        None,
        "acknowledge",
        {"action": "format", "targets": TARGETS},
        {"action": "acknowledge", "targets": []},
        {"action": "acknowledge", "targets": TARGETS * 1001},
        {"action": "acknowledge", "targets": [{"detector": "pumps"}]},
        {"action": "shelve", "targets": TARGETS, "minutes": -1},
        {"action": "shelve", "targets": TARGETS, "until": 1e18},
        {"action": "label", "targets": TARGETS, "label": "perhaps"},
        {"action": "shelve", "targets": TARGETS, "reason": {"$gt": ""}},
    ],
)
def test_a_wish_that_is_none_is_refused_with_a_reason(wish: object) -> None:
    with pytest.raises(InvalidCommand, match="not understood"):
        read_ask(wish)
