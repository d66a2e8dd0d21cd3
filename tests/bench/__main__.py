"""The benchmark: Tocsin, its limits and its peers on one machine, against Apache Kafka.

    make bench              everything, medians of five; writes the throughput part of tests/bench/RESULTS.md
    make bench QUICK=1      under five minutes; the last line is one JSON object of what was measured
    make bench ONLY=latency one part: throughput, two-processes, latency, memory, or the name of a contestant

Each measured process is fresh; CPU time is user and system time of all its threads, the broker's is not in it.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import children, contestants, latency, memory, report, two_processes
from tests.bench.contestants import FULL, QUICK, Contestant, Results, Setup
from tests.bench.workload import say, train
from tests.kafka_cluster import KafkaCluster, kafka_home

PARTS = ("throughput", "two-processes", "latency", "memory")
LOADS = (0.1, 0.5, 0.8)
PEERS = children.ROOT / ".venv" / "peers" / "bin" / "python"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*PARTS, *(each.name for each in contestants.contestants())]
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs; RESULTS.md is left as it is")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"a part of: {', '.join(names)}"
    )
    parser.add_argument("--profile", action="store_true", help="Tocsin's runs only: where a reading's time goes")
    parser.add_argument("--rounds", type=int, help="runs of each contestant")
    parser.add_argument("--broker", help="bootstrap address; default: Apache Kafka is started from KAFKA_HOME")
    parser.add_argument("--model", type=Path, help="model directory; default: one is trained")
    parser.add_argument("--peers", type=Path, default=PEERS, help="interpreter that has the packages of peers.txt")
    return parser.parse_args()


@contextlib.contextmanager
def broker(address: str | None, folder: Path) -> Iterator[str]:
    """The broker that is measured against; SystemExit with a sentence where there is none."""
    if address:
        yield address
        return
    home = kafka_home()
    if home is None:
        raise SystemExit("Apache Kafka is missing: set KAFKA_HOME to a folder with libs/, or BROKER to an address.")
    if shutil.which("java") is None:
        raise SystemExit("Apache Kafka needs Java 17, and there is no java on the PATH; or set BROKER to an address.")
    with KafkaCluster(home, folder) as cluster:
        yield cluster.bootstrap


def chosen(options: argparse.Namespace) -> tuple[list[Contestant], set[str]]:
    """The contestants and the parts that the command line asks for."""
    everybody = contestants.contestants()
    if options.profile:
        return [each for each in everybody if each.name.startswith("tocsin")], {"throughput"}
    if not options.only:
        return [each for each in everybody if each.quick or not options.quick], set(PARTS)
    some = everybody if "throughput" in options.only else [each for each in everybody if each.name in options.only]
    if "onnxruntime" in options.only and not any(each.name.startswith("tocsin-arrow") for each in some):
        some = [contestants.tocsin("arrow", "kafka-python"), *some]  # it makes the batches
    if "latency" in options.only and not some:
        some = [contestants.tocsin("json", "kafka-python")]  # the loads are shares of what it takes
    return some, set(options.only) & set(PARTS)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that was asked for, part by part."""
    some, parts = chosen(options)
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds, slow_rounds=options.rounds)
    with broker(options.broker, folder / "kafka") as bootstrap:
        model = options.model or train(folder)
        measured: dict[str, Any] = {"results": Results(), "contestants": some}
        if some:
            encodings = {"arrow" if each.name.startswith("tocsin-arrow") else "json" for each in some}
            setup: Setup = contestants.prepare(bootstrap, model, sizes, options.peers, encodings)
            measured["results"] = contestants.compete(setup, some)
        if "two-processes" in parts:
            rounds_of_two, readings = (2, 300_000) if options.quick else (sizes.rounds, 600_000)
            measured["two"] = two_processes.compare(bootstrap, model, rounds_of_two, readings)
        from_full_topic = measured["results"].per_wall_s("tocsin-json-kafka-python")
        if "latency" in parts and from_full_topic:
            if options.quick:
                capacity, loads, seconds = latency.SHARES[-1] * from_full_topic, (0.5,), (15.0, 20.0)
            else:
                capacity, loads, seconds = latency.capacity(bootstrap, model, from_full_topic), LOADS, (60.0, 60.0)
            measured["latency"] = [
                {"load": load, **latency.measure(bootstrap, model, load * capacity, *seconds)} for load in loads
            ]
        if "memory" in parts:
            assets = (100, 100_000) if options.quick else (100, 10_000, 100_000)
            measured["memory"] = memory.grow(bootstrap, model, assets)
    return measured


def main() -> None:
    options = arguments()
    if not options.peers.exists():
        say(f"the peers are left out: {options.peers} is missing; `make bench` installs it")
    began = time.monotonic()
    with children.ended_in_order(), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kafka").mkdir()
        try:
            measured = measure(options, Path(folder))
        except children.ChildError as error:
            raise SystemExit(f"the benchmark has stopped: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit("interrupted") from None
    text = report.text(measured, time.monotonic() - began)
    print(text)
    complete = not (options.quick or options.only or options.profile)
    if complete:
        report.write(text)
    print(json.dumps(report.figures(measured)))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
