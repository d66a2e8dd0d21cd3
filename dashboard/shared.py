"""What all viewers share: made once, when the server starts, before the first one comes."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dashboard.commands import Commands
from dashboard.deadletters import DeadLetters
from dashboard.feed import Feed
from dashboard.health import Daemons
from dashboard.live import Plant
from dashboard.models import Shelves
from dashboard.names import ChannelNames
from dashboard.payload import status_line
from dashboard.poller import Poller
from dashboard.tickets import Tickets
from monitor.config import Config, asset_facts

SECRET_BYTES = 32
SHELVES_S, DAEMONS_S, LETTERS_S = 10.0, 5.0, 5.0


@dataclass(frozen=True)
class Shared:
    """The parts of the dashboard that every page is given; `login` tells whether people have to log in."""

    config: Config
    plant: Plant
    feed: Feed
    names: ChannelNames
    tickets: Tickets
    commands: Commands
    login: bool
    shelves: Poller
    daemons: Poller
    letters: Poller
    labels: Callable[[str], Mapping[str, str]]  # of an asset, such as its site

    def status(self, now_s: float) -> dict[str, Any]:
        """What the foot of every page says of the feed."""
        return status_line(self.plant, self.feed.status, now_s)


def make_shared(config: Config, login: bool) -> Shared:
    """All parts; the feed is not yet started."""
    plant = Plant()
    given = str(config.dashboard.ticket_secret)
    tickets = Tickets(given.encode() or secrets.token_bytes(SECRET_BYTES), config.dashboard.ticket_s)
    names = ChannelNames(config.detectors)
    return Shared(
        config,
        plant,
        Feed(config, plant),
        names,
        tickets,
        Commands(config, plant.book),
        login,
        shelves=Poller("models", Shelves(config.detectors).read, SHELVES_S),
        daemons=Poller("daemons", Daemons(config.dashboard.daemons, time.time).read, DAEMONS_S),
        letters=Poller("dead-letters", DeadLetters(config).read, LETTERS_S),
        labels=lru_cache(maxsize=50_000)(lambda asset: asset_facts(config, asset).labels),
    )


_current: list[Shared] = []


def set_current(shared: Shared) -> None:
    """Make these the parts of this process; the server does so before the first page is drawn."""
    _current[:] = [shared]


def current() -> Shared:
    """The parts of this process."""
    return _current[0]
