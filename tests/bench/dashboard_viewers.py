"""Many viewers of the live route in one process: what they get, how late, and whether it was changes or all.

Reads its job from standard input, tells one JSON line.
"""

import asyncio
import json
import time
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from dashboard.route import PROTOCOL
from dashboard.tickets import Tickets
from tests.bench.measure import cpu_s, read_job, tell

WARM_S = 5.0


class Viewer:
    """One open view; `slow_s` is how long it rests after each message."""

    def __init__(self, job: dict[str, Any], slow_s: float = 0.0) -> None:
        self.job, self.slow_s = job, slow_s
        self.arrived: list[tuple[float, float]] = []  # (wall clock, newest plant time), s
        self.bytes = 0
        self.wholes = 0
        self.gaps = 0

    async def run(self) -> None:
        """Look for as long as the job says."""
        ticket = Tickets(self.job["secret"].encode(), 3600.0).issue("bench", "viewer", time.time())
        url = f"{self.job['url'].replace('http', 'ws')}/live/{self.job['stream']}"
        ends_s = time.monotonic() + self.job["seconds"]
        async with connect(url, subprotocols=[PROTOCOL, ticket], max_size=None, compression=None) as socket:
            warm_s, last = time.monotonic() + WARM_S, 0
            while time.monotonic() < ends_s:
                text = await socket.recv()
                message = json.loads(text)
                last, before = message["seq"], last
                if time.monotonic() < warm_s:
                    await socket.send(json.dumps({"drawn": last}))
                    continue
                self.arrived.append((time.time(), message["status"]["newest_s"]))
                self.bytes += len(text)
                self.wholes += message["base"] is None
                self.gaps += message["base"] is not None and message["base"] != before
                await asyncio.sleep(self.slow_s)
                await socket.send(json.dumps({"drawn": last}))


async def look(job: dict[str, Any]) -> list[Viewer]:
    """All viewers at once."""
    viewers = [Viewer(job, job["slow_s"] if n < job["slow"] else 0.0) for n in range(job["viewers"])]
    await asyncio.gather(*(viewer.run() for viewer in viewers))
    return viewers


def percentiles(values: list[float]) -> dict[str, float]:
    """Median, 99th and highest in ms."""
    found = np.percentile(np.array(values) * 1000, [50, 99, 100]).round(1).tolist()
    return dict(zip(("p50", "p99", "most"), found, strict=True))


def main() -> None:
    """Look, and tell of the quick viewers; of slow ones only how they were served."""
    job = read_job()
    began_cpu_s = cpu_s()
    viewers = asyncio.run(look(job))
    slow, quick = viewers[: job["slow"]], viewers[job["slow"] :]
    apart = [b[0] - a[0] for v in quick for a, b in zip(v.arrived, v.arrived[1:], strict=False)]
    messages = sum(len(v.arrived) for v in quick)
    tell(
        {
            "messages": messages,
            "apart_ms": percentiles(apart),
            "bytes": round(sum(v.bytes for v in quick) / messages),
            "wholes": sum(v.wholes for v in quick),
            "gaps": sum(v.gaps for v in quick),
            "to_slow": {"messages": sum(len(v.arrived) for v in slow), "wholes": sum(v.wholes for v in slow)},
            "arrived": quick[0].arrived,
            "cpu_s": round(cpu_s() - began_cpu_s, 2),
        }
    )


if __name__ == "__main__":
    main()
