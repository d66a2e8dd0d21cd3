"""The dashboard's entry script: Streamlit runs it from top to bottom once for each page that somebody opens."""

from collections.abc import Callable
from functools import partial

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.components import STATIC
from dashboard.shared import current
from dashboard.views.alarms import alarms_page
from dashboard.views.asset import asset_page
from dashboard.views.fleet import fleet_page
from dashboard.views.health import health_page
from dashboard.views.live import current_user
from dashboard.views.login import login_page
from dashboard.views.models import models_page
from dashboard.views.performance import performance_page
from dashboard.views.similar import similar_page

FIRST_PAGE = "Fleet"
# Streamlit's own spacing is made for documents; a wall of tiles wants the room.
STYLE = """
<style>
  .stMainBlockContainer { padding: 4.1rem clamp(0.75rem, 2vw, 2.5rem) 1rem; max-width: none; }
  [data-testid="stStatusWidget"] { display: none; }
  .tocsin-lost [data-testid="stDialog"] { display: none; }
  .stApp [data-stale="true"] { opacity: 1 !important; transition: none !important; }
</style>
"""


def main() -> None:
    """Draw the page that the address names, for who is logged in."""
    st.set_page_config(page_title="Tocsin", page_icon=str(STATIC / "icon.svg"), layout="wide")
    st.logo(str(STATIC / "logo.svg"), size="large")
    st.html(STYLE)
    shared = current()
    user = current_user(shared)
    may_see = user is not None and user.role is not None

    def page(draw: Callable[..., None], title: str, icon: str, *more: StreamlitPage) -> StreamlitPage:
        drawn = partial(draw, shared, *more) if may_see else partial(login_page, user)
        return st.Page(
            drawn, title=title, url_path=title.lower(), icon=f":material/{icon}:", default=title == FIRST_PAGE
        )

    asset = page(asset_page, "Asset", "show_chart")
    similar = page(similar_page, "Similar", "compare_arrows", asset)
    pages = [
        page(fleet_page, FIRST_PAGE, "grid_view", asset),
        page(alarms_page, "Alarms", "notifications", asset, similar),
        asset,
        page(performance_page, "Performance", "speed"),
        similar,
        page(models_page, "Models", "inventory_2"),
        page(health_page, "Health", "monitor_heart"),
    ]
    st.navigation(pages, position="top" if may_see else "hidden").run()


main()
