"""`tocsin demo`: start everything, replay recorded data, tell how it went, end everything."""

import contextlib
import importlib.util
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from rich.console import Console

from monitor.admin import create_topics
from monitor.broker import EmbeddedBroker, die_with_parent, free_port
from monitor.config import Config, load
from monitor.datafiles import merge_recordings, read_recording
from monitor.demo.figures import Arrivals, Figures, figures
from monitor.errors import FatalError
from monitor.recording import Recording
from monitor.replay import Progress, replay, replay_producer
from monitor.topics import Topics

DATA = Path(__file__).parent / "data" / "smd"
PARTITIONS = 4
START_LIMIT_S = 60.0

CONFIG = """\
# Written by `tocsin demo`; every setting that is not here has its default.
[kafka]
bootstrap_servers = "{bootstrap}"

[topics]
{topics}

[delivery]
group = "{run}"
instance_id = "demo-1"
assignor = "range"      # the embedded broker knows no cooperative assignment,
guarantee = "at-least-once"     # and its readers skip what follows a transaction that was aborted

[input]
idle_limit_s = 3600

[telemetry]
port = {telemetry}

[dashboard]
daemons = ["http://127.0.0.1:{telemetry}"]
"""

DETECTOR = """
[[detectors]]
name = "{asset}"
model = "models/{asset}"
assets = ["{asset}"]
alarm_budget_per_day = 1
on_delay_s = 240
off_delay_s = 960
publish_expected = true
"""


def run_demo(
    folder: Path,
    headless: bool,
    seconds: float,
    speed: float | None = None,
    port: int = 8501,
    address: str | None = None,
) -> int:
    """Run the demo in `folder`, on the broker at `address` or an embedded one; returns the exit code.

    Readings are replayed for `seconds`, by default at the speed at which all of them pass. Headless, it ends
    with them and prints one JSON object as its last line; else it stays until Ctrl-C.
    """
    _check_packages()
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    recordings = {path.name: path for path in sorted(DATA.iterdir()) if path.is_dir()}
    folder.mkdir(parents=True, exist_ok=True)
    with _until_signal() as stop, contextlib.ExitStack() as ending:
        kind = "yours" if address else "embedded"
        address = address or ending.enter_context(EmbeddedBroker()).bootstrap
        screen.print(f"broker     {address} ({kind})")
        config = _write_config(folder, address, list(recordings))
        create_topics(config, PARTITIONS)
        for asset, path in recordings.items():
            _train(screen, folder, asset, path / "train.parquet", stop)
        daemon = ending.enter_context(_child(folder, "daemon", ["monitor.cli", "run", "--config", "tocsin.toml"]))
        _await(f"http://127.0.0.1:{config.telemetry.port}/readyz", daemon, folder / "daemon.log", stop)
        screen.print(f"daemon     ready, {len(recordings)} detectors; its log: {folder / 'daemon.log'}")
        port = port if _is_free(port) else free_port()
        command = ["dashboard.cli", "--config", "tocsin.toml", "--port", str(port)]
        dashboard = ending.enter_context(_child(folder, "dashboard", command))
        _await(f"http://127.0.0.1:{port}/_stcore/health", dashboard, folder / "dashboard.log", stop)
        screen.print(f"[bold]dashboard  http://127.0.0.1:{port}[/]")
        recording = merge_recordings([read_recording(path / "test.parquet") for path in recordings.values()])
        span_s = (int(recording.ts[-1]) - int(recording.ts[0])) / 1e9
        speed = speed or span_s / seconds
        screen.print(
            f"replay     {len(recording)} readings of {len(recordings)} machines, {speed:,.0f} times real time"
        )
        arrivals = ending.enter_context(Arrivals(config))
        sent = _replay(screen, config, recording, speed, seconds, stop)
        if not stop.is_set():
            arrivals.await_scores(until_ns=sent.event_time_ns, timeout_s=15)
        if not headless and not stop.is_set():
            screen.print("all sent; the screen stays until Ctrl-C")
            stop.wait()
        ended = _end(daemon)
        told = figures(config, recording, sent.event_time_ns, arrivals, exit_code=ended)
    _summary(screen, told)
    print(msgspec.json.encode(told).decode(), flush=True)
    return told.exit


def _check_packages() -> None:
    """The demo's own packages, named before anything is started."""
    missing = [name for name in ("noida_db", "torch", "lightning", "streamlit") if not importlib.util.find_spec(name)]
    if missing:
        raise FatalError(f"the demo needs {', '.join(missing)}: pip install 'tocsin[demo]'")


def _write_config(folder: Path, address: str, assets: list[str]) -> Config:
    """The demo's configuration; its topics are new ones, so that a broker with others in use is left in peace."""
    file = folder / "tocsin.toml"
    run = f"tocsin-demo-{secrets.token_hex(3)}"
    names = "\n".join(f'{each} = "{run}.{each}"' for each in Topics.__struct_fields__)
    text = CONFIG.format(bootstrap=address, topics=names, run=run, telemetry=free_port())
    file.write_text(text + "".join(DETECTOR.format(asset=asset) for asset in assets), encoding="utf-8")
    return load(file)


def _train(screen: Console, folder: Path, asset: str, data: Path, stop: threading.Event) -> None:
    """Fit a model as a user would, with its progress bar on this screen."""
    if stop.is_set():
        raise KeyboardInterrupt
    screen.print(f"training   {asset}, on {data.parent.name}/{data.name}")
    command = [sys.executable, "-m", "training.cli", "fit", str(data), "--name", asset, "--out", "models"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    if stop.is_set():
        raise KeyboardInterrupt
    if done.returncode:
        raise FatalError(f"training {asset} ended with exit code {done.returncode}")
    screen.print(f"           {done.stdout.strip()}")


@contextlib.contextmanager
def _child(folder: Path, name: str, module: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, its output in a log file; it is ended with the demo, however that ends."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is this process's to pass on, in the right order
            preexec_fn=die_with_parent,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end, force it after 10 s; its exit code, 0 for an orderly one."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _await(address: str, process: subprocess.Popen[bytes], log: Path, stop: threading.Event) -> None:
    """Wait until an address answers 200; raises with the end of the log where the process ends instead."""
    deadline = time.monotonic() + START_LIMIT_S
    while not stop.is_set():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").splitlines() or ["no output"]
            raise FatalError(f"{log.stem} did not start: {lines[-1]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
            if answer.status == 200:
                return
        stop.wait(0.1)
    raise KeyboardInterrupt


def _replay(
    screen: Console, config: Config, recording: Recording, speed: float, seconds: float, stop: threading.Event
) -> Progress:
    """Send the recording, for at most `seconds`, with a progress bar; returns what was sent."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    last_ns = int(recording.ts[0]) + int(seconds * speed * 1e9)
    part = recording.take(recording.ts <= last_ns)
    columns = [TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    producer = replay_producer(config)
    try:
        with Bar(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
            task = bar.add_task("", total=len(part))
            return replay(
                part,
                producer,
                config.topics.readings,
                speed,
                on_progress=lambda progress: bar.update(task, completed=progress.sent),
                wait=stop.wait,
            )
    finally:
        producer.close(timeout=5)


def _summary(screen: Console, told: Figures) -> None:
    screen.print(
        f"\n{told.readings} readings, {told.windows} windows scored, {told.incidents} incidents: {told.detected} of "
        f"{told.labelled_anomalies} labelled anomalies detected, {told.false_alarms} false alarms; a score is "
        f"readable {told.latency_p99_ms:.0f} ms (p99) after the reading that closes its window"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one interrupts at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
