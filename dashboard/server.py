"""The process: Streamlit's app with the live routes beside it, behind the guard, on one event loop."""

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config as streamlit_config
from streamlit.errors import StreamlitSecretNotFoundError
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web import bootstrap
from streamlit.web.server.starlette.starlette_server import UvicornRunner

from dashboard.files import Files
from dashboard.guard import Guard
from dashboard.hub import Hub
from dashboard.route import Live
from dashboard.shared import Shared, make_shared, set_current
from dashboard.streams import make_stream
from monitor.config import Config
from monitor.errors import FatalError, InvalidConfiguration

SCRIPT = Path(__file__).with_name("app.py")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(config: Config, host: str, options: dict[str, Any], folder: Path, greeting: str) -> None:
    """Serve until SIGINT or SIGTERM; blocks, and must be called from the main thread."""
    streamlit_config._main_script_path = str(SCRIPT)
    bootstrap.load_config_options(options)
    secrets = [*streamlit_config.get_option("secrets.files"), str(folder / ".streamlit" / "secrets.toml")]
    options["secrets_files"] = list(dict.fromkeys(secrets))
    if config.dashboard.origins:
        options["server_corsAllowedOrigins"] = list(config.dashboard.origins)
    bootstrap.load_config_options(options)
    has_login = login_is_configured()
    if not has_login and host not in LOOPBACK:
        raise FatalError(
            f"Without a login the dashboard listens to this machine only, and {host} is for others too: put [auth] "
            "into .streamlit/secrets.toml, as deploy/dashboard-secrets.toml shows, or leave out --host."
        )
    shared = make_shared(config, has_login)
    set_current(shared)
    shared.feed.start()
    print(greeting, flush=True)
    bootstrap._prepare_asgi_app_run_context(str(SCRIPT), [], options, server_mode="starlette-app-direct")
    # uvicorn ends in good order and then sends itself the signal again, for handlers that are not its own.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    logging.getLogger("uvicorn.error").addFilter(_Refusals())
    UvicornRunner(make_app(shared)).run()


def make_app(shared: Shared) -> st.App:
    """Streamlit's pages, the live routes, and the guard before both."""
    hub = Hub(partial(make_stream, shared), shared.status)
    live = Live(hub, shared)
    guard = Middleware(Guard, origins=shared.config.dashboard.origins, local_only=not shared.login)

    @asynccontextmanager
    async def lifespan(_app: st.App) -> AsyncIterator[None]:
        yield
        await hub.stop()
        shared.commands.close()

    return st.App(SCRIPT, routes=[*live.routes(), *Files(shared).routes()], middleware=[guard], lifespan=lifespan)


def login_is_configured() -> bool:
    """Whether Streamlit's secrets have a provider to log in at.

    Raises InvalidConfiguration where there are secrets that cannot be read or are not whole: a login that somebody
    wanted must not turn into none.
    """
    try:
        auth = secrets_singleton._parse().get("auth")
    except StreamlitSecretNotFoundError as error:
        if getattr(error, "error_id", "") == "no-secrets-found":
            return False
        raise InvalidConfiguration(f"Streamlit's secrets: {error}") from None
    if auth is None:
        return False
    missing = [name for name in ("redirect_uri", "cookie_secret") if not auth.get(name)]
    if missing:
        raise InvalidConfiguration(f"Streamlit's secrets, [auth]: {' and '.join(missing)} missing")
    return True


class _Refusals(logging.Filter):
    """Keeps uvicorn from calling it an error that a handshake was answered with a status."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing handshake" not in record.getMessage()
