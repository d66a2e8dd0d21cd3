"""The dashboard's entry script: Streamlit runs it from top to bottom for each viewer and each click."""

import sys
from functools import partial

import streamlit as st

from dashboard.components import STATIC
from dashboard.views.asset import asset_page
from dashboard.views.fleet import fleet_page
from dashboard.views.shared import shared

# Streamlit's own spacing is made for documents; a wall of tiles wants the room.
STYLE = """
<style>
  .stMainBlockContainer { padding: 4.1rem clamp(0.75rem, 2vw, 2.5rem) 1rem; max-width: none; }
  [data-testid="stStatusWidget"] { display: none; }
  .stApp [data-stale="true"] { opacity: 1 !important; transition: none !important; }
</style>
"""


def main(config_path: str) -> None:
    """Draw the page that the address names."""
    st.set_page_config(page_title="Tocsin", page_icon=str(STATIC / "icon.svg"), layout="wide")
    st.logo(str(STATIC / "logo.svg"), size="large")
    st.html(STYLE)
    all_viewers = shared(config_path)
    asset = st.Page(partial(asset_page, all_viewers), title="Asset", url_path="asset", icon=":material/show_chart:")
    fleet = st.Page(
        partial(fleet_page, all_viewers, asset),
        title="Fleet",
        url_path="fleet",
        icon=":material/grid_view:",
        default=True,
    )
    st.navigation([fleet, asset], position="top").run()


main(sys.argv[1])
