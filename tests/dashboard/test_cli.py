"""The command: what it says, and how it ends."""

import socket
import subprocess
import sys
from pathlib import Path

from dashboard.cli import streamlit_options

ASK_MODULES = "import sys, dashboard.cli; print('streamlit' in sys.modules, 'kafka' in sys.modules)"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "dashboard.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_help_has_an_example_and_waits_for_nothing() -> None:
    told = run("--help")
    assert told.returncode == 0
    assert "tocsin-dashboard --config tocsin.toml" in told.stdout
    modules = subprocess.run([sys.executable, "-c", ASK_MODULES], capture_output=True, text=True, check=True)
    assert modules.stdout.split() == ["False", "False"]


def test_a_missing_configuration_is_one_sentence(tmp_path: Path) -> None:
    told = run("--config", str(tmp_path / "none.toml"))
    assert told.returncode == 1
    assert told.stderr.strip() == f"{tmp_path / 'none.toml'}: No such file or directory"


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "tocsin.toml"
    config.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = run("--config", str(config), "--port", str(taken.getsockname()[1]))
    assert told.returncode == 1
    assert "choose another --port" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def test_the_server_is_private_unless_it_is_told_otherwise() -> None:
    options = streamlit_options("127.0.0.1", 8501)
    assert options["server_address"] == "127.0.0.1"
    assert options["server_enableAgentApi"] is False
    assert options["browser_gatherUsageStats"] is False
