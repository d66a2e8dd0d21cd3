"""The command `tocsin-dashboard`. Streamlit is imported only when the server starts: `--help` is quick."""

import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monitor.config import Config, load
from monitor.errors import FatalError, TocsinError

EXAMPLE = "Example: tocsin-dashboard --config tocsin.toml --port 8501"
THEMES = {
    "light": {"backgroundColor": "#f3f4f6", "secondaryBackgroundColor": "#ffffff", "textColor": "#1f2933",
              "borderColor": "#d5d9de", "primaryColor": "#52606d", "linkColor": "#334e68"},
    "dark": {"backgroundColor": "#14181c", "secondaryBackgroundColor": "#1d2329", "textColor": "#d8dee4",
             "borderColor": "#323a43", "primaryColor": "#9aa5b1", "linkColor": "#a9bccf"},
}  # fmt: skip

app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLE)
def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file of the daemon.")] = Path(
        "tocsin.toml"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on; only this machine can reach the default.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
) -> None:
    """Show the plant live in a browser, from the topics of scores and anomalies, until Ctrl-C.

    Without a login (the table auth in .streamlit/secrets.toml, beside the configuration or in this folder) it
    answers this machine only, where everyone may do everything.
    """
    settings = load(config)
    _check_free(host, port)
    run(settings, host, port, config.resolve().parent)


def run(config: Config, host: str, port: int, folder: Path) -> None:
    """Serve until SIGINT or SIGTERM; blocks, and must be called from the main thread."""
    from streamlit.logger import set_log_level

    set_log_level("ERROR")  # before the options, of which it would warn that they are options
    from dashboard.server import serve

    options = streamlit_options(host, port)
    serve(config, host, options, folder, f"Tocsin dashboard: http://{_display(host)}:{port}")


def streamlit_options(host: str, port: int) -> dict[str, Any]:
    """Settings of the server, by the names of its flags: quiet, private, and grey until something is wrong."""
    options: dict[str, Any] = {
        "server_address": host,
        "server_port": port,
        "server_headless": True,
        "server_enableStaticServing": True,
        "server_enableAgentApi": False,
        "server_fileWatcherType": "none",
        "server_runOnSave": False,
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        "client_showErrorDetails": "none",
        "logger_hideWelcomeMessage": True,
        "logger_level": "error",
    }
    return options | {f"theme_{t}_{name}": value for t, colours in THEMES.items() for name, value in colours.items()}


def _check_free(host: str, port: int) -> None:
    """Say in one sentence that the port is taken, before Streamlit does in many."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise FatalError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}; choose another --port."
        ) from None


def _display(host: str) -> str:
    return {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)


def main() -> None:
    """Entry point; what an operator can mend is one sentence and exit code 1."""
    try:
        app()
    except TocsinError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
