"""A real Alertmanager on loopback."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monitor.broker import die_with_parent, free_port

CONFIG = """\
route:
  receiver: hook
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - url: {hook}
        send_resolved: true
"""


def program() -> str | None:
    """Where it is, under either of its names."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@contextmanager
def alertmanager(folder: Path, hook: str) -> Iterator[str]:
    """Its address, while it runs; what it notifies goes to `hook`."""
    port, file = free_port(), folder / "alertmanager.yml"
    file.write_text(CONFIG.format(hook=hook))
    command = [
        str(program()), f"--config.file={file}", f"--storage.path={folder}", f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]  # fmt: skip
    with (folder / "alertmanager.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=die_with_parent)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "alertmanager.log").read_text())
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def alerts(url: str) -> list[dict[str, Any]]:
    """Alerts that it holds as active."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        return json.load(answer)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False
