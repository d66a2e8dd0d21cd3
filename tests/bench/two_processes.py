"""Two daemons against one: readings by CPU second of both together, in one consumer group on 8 partitions."""

import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import children
from tests.bench.children import Child
from tests.bench.workload import ASSETS, Log, configuration, fill, say
from tests.kafka_cluster import unique

PARTITIONS = 8
HELD = 1_200_000  # readings that daemons may read while they wait for each other, and while the last one is measured
TIMEOUT_S = 180.0


def measure(bootstrap: str, model: Path, log: Log, processes: int, warm: int, measured: int) -> dict[str, Any]:
    """Start the daemons, let them share the partitions, then measure each between two of its batches.

    Each counts its own readings and CPU time; one that has finished goes on working until all have.
    """
    group = unique("group")
    base = configuration(bootstrap, model, log, "kafka-python")
    children.run("tests.bench.tocsin_run", {"mode": "topics", "config": base, "topic_partitions": PARTITIONS})
    with ExitStack() as stack:
        members = []
        for number in range(processes):
            delivery = {**base["delivery"], "group": group, "instance_id": f"{group}-{number}"}
            job = {
                "mode": "throughput",
                "config": {**base, "delivery": delivery},
                "create": False,
                "partitions": PARTITIONS // processes,
                "warm": warm // processes,
                "measured": measured // processes,
            }
            members.append(stack.enter_context(Child("tests.bench.tocsin_run", job)))
        for member in members:
            member.hear(TIMEOUT_S)
        for member in members:
            member.say({"go": True})
        told = [member.hear(TIMEOUT_S) for member in members]
    readings, cpu = sum(each["readings"] for each in told), sum(each["cpu_s"] for each in told)
    wall_rate = sum(each["readings"] / each["wall_s"] for each in told)
    return {"readings": readings, "cpu_s": cpu, "per_cpu_s": readings / cpu, "per_wall_s": wall_rate}


def compare(bootstrap: str, model: Path, rounds: int, measured: int) -> dict[str, Any]:
    """One and two processes in turn; medians and their ratio."""
    warm = measured // 4
    log = fill(bootstrap, "json", PARTITIONS, ASSETS, (2 * (warm + measured) + HELD) // ASSETS)
    runs: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for number in range(rounds):
        for processes in runs:
            told = measure(bootstrap, model, log, processes, warm, measured)
            runs[processes].append(told)
            rate = told["per_cpu_s"]
            say(f"round {number + 1}: {processes} process(es) together: {rate:,.0f} readings a CPU-second")
    medians = {processes: statistics.median(each["per_cpu_s"] for each in told) for processes, told in runs.items()}
    wall = {processes: statistics.median(each["per_wall_s"] for each in told) for processes, told in runs.items()}
    return {"one": medians[1], "two": medians[2], "ratio": medians[2] / medians[1], "wall": [wall[1], wall[2]]}
