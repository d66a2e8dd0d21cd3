"""The two parts of the page that Streamlit does not have: the wall of tiles and the live charts.

Their code is in `static/`, which the server hands out under `app/static`; only a loader of a few lines goes
with each update, since Streamlit sends a component's inline code again every time.
"""

import hashlib
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

STATIC = Path(__file__).parent / "static"

LOADER = """
const module = import(new URL("app/static/{file}?v={digest}", document.baseURI).href);
export default async function (component) {{
  return (await module).default(component);
}}
"""


def live_component(name: str) -> ComponentRenderer:
    """The component whose module is `static/<name>.js`; declared anew for every run, as Streamlit wants it."""
    return st.components.v2.component(f"tocsin_{name}", js=LOADER.format(file=f"{name}.js", digest=_digest()))


@cache
def _digest() -> str:
    """Changes with any file in `static/`, so that a browser never mixes two versions."""
    files = sorted(STATIC.iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()[:12]
