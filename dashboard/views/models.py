"""The models page: what is in service for each detector, by the model files' own words."""

from dashboard.shared import Shared
from dashboard.views.live import show_live


def models_page(shared: Shared) -> None:
    """Mount the cards."""
    show_live(shared, "models", "models")
