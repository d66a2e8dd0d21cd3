"""The daemon in a measured process, put together as `tocsin run` does it.

Jobs: `throughput` reads a filled topic, counts and tells; with `partitions` it waits until it owns so many, says so,
and begins when told to. `topics` only creates the output topics. `memory` reads a topic to its end and tells the
process's memory. `serve` is `tocsin run`.
"""

import dataclasses
import selectors
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monitor.admin import create_topics
from monitor.assembly import Assembly, assemble, load_models
from monitor.config import Config, parse
from monitor.daemon import Daemon
from monitor.process import rest, settle
from monitor.scoring import Floats, Model
from monitor.service import serve
from monitor.telemetry import configure_logging
from monitor.transport import clients
from tests.bench.measure import Meter, finish, read_job, tell
from tests.bench.stages import Stages

HELD_S = 0.25  # between two turns of a daemon that waits for the others
IDLE_S = 3.0  # that a daemon whose memory is measured has nothing to read


def build(config: Config, stages: Stages, batches: list[int]) -> tuple[Daemon, Assembly]:
    """A daemon whose parts are clocked; `batches` gets the number of windows of each call of the model."""

    def watched(model: Model) -> Model:
        score = stages.timed("model", model.score)

        def counted(windows: Floats, outputs: tuple[str, ...]) -> Sequence[Floats]:
            batches.append(len(windows))
            result: Sequence[Floats] = score(windows, outputs)
            return result

        return dataclasses.replace(model, score=counted)

    log = configure_logging(config.telemetry.log_level)
    models = {name: watched(model) for name, model in load_models(config).items()}
    settle()
    assembly, transport = assemble(config, models), clients.connect(config)
    stages.watch(assembly, transport)
    return Daemon(config, assembly, transport, log, rest=rest), assembly


def throughput(config: Config, job: dict[str, Any]) -> None:
    """Count readings and CPU time between two batches; what was counted can be told only once."""
    stages, batches = Stages(), list[int]()
    daemon, assembly = build(config, stages, batches)
    if "partitions" in job:
        _held_until_told(daemon, assembly, job["partitions"])
    meter = Meter(job["warm"], job["measured"])
    windows = over = 0
    while meter.result is None:
        counts = daemon.turn().counts
        was_running = meter.running
        meter.add(counts.readings)
        if was_running:
            windows, over = windows + counts.windows, over + counts.windows_over_limit
        elif meter.running:
            stages.start()
            batches.clear()
    told = {**meter.result, "windows": windows, "over_limit": over, "stages": stages.shares(), "batches": batches}
    if "partitions" not in job:
        finish(told)
    tell(told)
    while True:  # the others are still measured, beside a process as busy as before; the driver ends this one
        daemon.turn()


def _held_until_told(daemon: Daemon, assembly: Assembly, partitions: int) -> None:
    """Turn slowly until this process owns so many partitions and the driver, told of it, says go."""
    owned = told = False
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while not (owned and selector.select(0)):
            daemon.turn()
            owned = len(assembly.pipeline.partitions) == partitions
            if owned and not told:
                tell({"owns": partitions})
                told = True
            time.sleep(HELD_S)


def memory(config: Config, readings: int) -> None:
    """Read all of a topic, idle for a while, and tell resident memory, now and at its highest, in bytes."""
    daemon, _ = build(config, Stages(), [])
    done = 0
    while done < readings:
        done += daemon.turn().counts.readings
    rested = time.monotonic() + IDLE_S
    while time.monotonic() < rested:
        daemon.turn()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    resident, highest = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    finish({"readings": done, "resident": resident, "highest": highest})


def main() -> None:
    job = read_job()
    config = parse(job["config"])
    if job.get("create", True):
        create_topics(config, job.get("topic_partitions", 4))
    match job["mode"]:
        case "throughput":
            throughput(config, job)
        case "topics":
            finish({"created": True})
        case "memory":
            memory(config, job["readings"])
        case "serve":
            tell({"serving": True})
            serve(config)


if __name__ == "__main__":
    main()
