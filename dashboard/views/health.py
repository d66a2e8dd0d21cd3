"""The health page: is the monitor itself well."""

from dashboard.shared import Shared
from dashboard.views.live import show_live


def health_page(shared: Shared) -> None:
    """Mount the figures of daemons, feed and dead letters."""
    show_live(shared, "health", "health")
