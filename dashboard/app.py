"""The dashboard's entry script: Streamlit runs it from top to bottom once for each page that somebody opens."""

from functools import partial

import streamlit as st

from dashboard.components import STATIC
from dashboard.shared import current
from dashboard.views.asset import asset_page
from dashboard.views.fleet import fleet_page
from dashboard.views.live import current_user
from dashboard.views.login import login_page

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
    login = partial(login_page, user)
    asset = st.Page(
        partial(asset_page, shared) if may_see else login,
        title="Asset",
        url_path="asset",
        icon=":material/show_chart:",
    )
    fleet = st.Page(
        partial(fleet_page, shared, asset) if may_see else login,
        title="Fleet",
        url_path="fleet",
        icon=":material/grid_view:",
        default=True,
    )
    st.navigation([fleet, asset], position="top" if may_see else "hidden").run()


main()
