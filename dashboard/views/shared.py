"""What every page is given: the parts of the dashboard that all viewers share."""

from dataclasses import dataclass
from functools import cache

from dashboard.feed import Feed
from dashboard.live import Plant
from dashboard.names import ChannelNames
from monitor.config import Config, load

UPDATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Made once with the app."""

    config: Config
    plant: Plant
    feed: Feed
    names: ChannelNames


@cache
def shared(config_path: str) -> Shared:
    """Start the feed, once in the life of the process; the server does so before the first viewer comes."""
    config = load(config_path)
    plant = Plant()
    feed = Feed(config, plant)
    feed.start()
    return Shared(config, plant, feed, ChannelNames(config.detectors))


def nothing() -> None:
    """Streamlit names a component's events by their callbacks; those with this one are read from the result."""
