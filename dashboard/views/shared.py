"""What every page is given: the parts of the dashboard that all viewers share."""

from dataclasses import dataclass

from dashboard.feed import Feed
from dashboard.live import Plant
from dashboard.names import ChannelNames
from monitor.config import Config

UPDATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Made once with the app."""

    config: Config
    plant: Plant
    feed: Feed
    names: ChannelNames


def nothing() -> None:
    """Streamlit names a component's events by their callbacks; those with this one are read from the result."""
