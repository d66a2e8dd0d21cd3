"""What was measured, as text for RESULTS.md and as the figures of one JSON object."""

import os
import platform
import re
import statistics
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.bench.contestants import Contestant, Results

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- measured by make bench: begin -->", "<!-- measured by make bench: end -->"
PACKAGES = (
    "kafka-python",
    "crc32c",
    "confluent-kafka",
    "onnxruntime-gpu",
    "onnxruntime",
    "numpy",
    "pyarrow",
    "torch",
)
LOOP, LOOP_CONFLUENT = "loop-kafka-python-decode", "loop-confluent-decode"
ARROW = ("tocsin-arrow-kafka-python", "tocsin-arrow-confluent")


def figures(measured: dict[str, Any]) -> dict[str, float | None]:
    """The figures that are asked of this project; None for what was not measured."""
    results: Results = measured["results"]
    at_half = next((each for each in measured.get("latency", ()) if each["load"] == 0.5), None)
    json_confluent = "tocsin-json-confluent"
    found = {
        "json_kafka_python_vs_loop": results.ratio("tocsin-json-kafka-python", LOOP),
        "json_kafka_python_per_cpu_s": results.per_cpu_s("tocsin-json-kafka-python"),
        "json_confluent_vs_loop": results.ratio(json_confluent, LOOP_CONFLUENT),
        "json_confluent_vs_quix": results.ratio(json_confluent, "quix-window"),
        "json_confluent_vs_quix_state": results.ratio(json_confluent, "quix-state"),
        "json_confluent_vs_bytewax": results.ratio(json_confluent, results.best("bytewax-batch", "bytewax-item")),
        "json_confluent_per_cpu_s": results.per_cpu_s(json_confluent),
        "arrow_vs_onnxruntime": results.ratio(results.best(*ARROW, of="windows") or "", "onnxruntime", of="windows"),
        "memory_vs_rings": measured.get("memory", {}).get("ratio"),
        "two_processes_vs_one": measured.get("two", {}).get("ratio"),
        "latency_p99_ms": at_half["p99_ms"] if at_half else None,
    }
    return {name: None if value is None else float(f"{value:.4g}") for name, value in found.items()}


def text(measured: dict[str, Any], took_s: float) -> str:
    """The throughput part of the results page."""
    parts = [machine(took_s), throughput(measured), where_time_goes(measured), ratios(measured)]
    parts += [two(measured), latency(measured), memory(measured)]
    return "\n\n".join(part for part in parts if part)


def machine(took_s: float) -> str:
    """On what, with which versions."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    peers = [line.replace("==", " ") for line in _peers() if line.startswith(("quixstreams", "bytewax", "confluent"))]
    size = f"{os.cpu_count()} cores, {memory_bytes / 2**30:.0f} GiB"
    return (
        f"{_processor()}, {size}, Python {platform.python_version()}, Apache Kafka beside it; producers and what is "
        f"measured share the machine; the whole took {took_s / 60:.0f} minutes.\n"
        f"{', '.join(found)}; the peers have {', '.join(peers)}."
    )


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _peers() -> list[str]:
    return RESULTS.with_name("peers.txt").read_text().splitlines()


def throughput(measured: dict[str, Any]) -> str:
    """A row for each contestant."""
    results: Results = measured["results"]
    rows = [_row(each, results) for each in measured["contestants"] if results.runs.get(each.name)]
    if not rows:
        return ""
    head = (
        "| what | a CPU-second, median (least to most) | CPU, µs each | wall, µs each | runs |\n"
        "| --- | --- | --- | --- | --- |"
    )
    return "\n".join([head, *rows])


def _row(each: Contestant, results: Results) -> str:
    runs = results.runs[each.name]
    rates = sorted(run["readings"] / run["cpu_s"] for run in runs)
    wall = statistics.median(run["wall_s"] / run["readings"] for run in runs)
    median = statistics.median(rates)
    unit = "windows" if each.unit == "windows" else "readings"
    spread = f"{rates[0]:,.0f} to {rates[-1]:,.0f}"
    return f"| {each.title} | {median:,.0f} {unit} ({spread}) | {1e6 / median:.2f} | {1e6 * wall:.2f} | {len(runs)} |"


def where_time_goes(measured: dict[str, Any]) -> str:
    """Tocsin's CPU time by part, µs a reading."""
    results: Results = measured["results"]
    mine = [
        (each.title, results.runs[each.name])
        for each in measured["contestants"]
        if each.name.startswith("tocsin") and results.runs.get(each.name)
    ]
    if not mine:
        return ""
    parts = list(mine[0][1][0]["stages"])
    lines = [
        "Where a reading's CPU time goes, in microseconds (medians of each part, so that sums differ a little):",
        "",
        f"| | {' | '.join(parts)} |",
        "| --- " * (len(parts) + 1) + "|",
    ]
    for title, runs in mine:
        cells = [1e6 * statistics.median(run["stages"][part] / run["readings"] for run in runs) for part in parts]
        lines.append(f"| {title} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return "\n".join(lines)


def ratios(measured: dict[str, Any]) -> str:
    """Tocsin by each limit and each peer."""
    results: Results = measured["results"]
    pairs = [
        ("tocsin-json-kafka-python", LOOP, "kafka-python's loop that only decodes"),
        ("tocsin-json-confluent", LOOP_CONFLUENT, "confluent's loop that only decodes"),
        *(
            (f"tocsin-json-{client}", name, title)
            for client in ("kafka-python", "confluent")
            for name, title in (
                ("quix-state", "Quix Streams, its state"),
                ("quix-window", "Quix Streams, its count window"),
                ("quix-memory", "Quix Streams, windows in memory"),
                ("bytewax-batch", "Bytewax, stateful_batch"),
                ("bytewax-item", "Bytewax, stateful_flat_map"),
                ("loop-torch", "the hand-written loop with PyTorch"),
            )
        ),
    ]
    titles = {each.name: each.title for each in measured["contestants"]}
    lines = [
        f"| {titles[mine]} | {title} | {ratio:.2f} |"
        for mine, other, title in pairs
        if (ratio := results.ratio(mine, other)) is not None
    ]
    for mine in ARROW:
        if (ratio := results.ratio(mine, "onnxruntime", of="windows")) is not None:
            lines.append(f"| {titles[mine]}, windows scored | ONNX Runtime alone | {ratio:.2f} |")
    return (
        "\n".join(["| | against | times as much in a CPU-second |", "| --- | --- | --- |", *lines]) if lines else ""
    )


def two(measured: dict[str, Any]) -> str:
    """Two processes against one."""
    if "two" not in measured:
        return ""
    told = measured["two"]
    return (
        f"Two daemons in one group on 8 partitions: {told['two']:,.0f} readings a CPU-second of both together, "
        f"one daemon {told['one']:,.0f}; ratio {told['ratio']:.3f}. By the wall clock {told['wall'][1]:,.0f} and "
        f"{told['wall'][0]:,.0f} readings a second, beside the broker on the same cores."
    )


def latency(measured: dict[str, Any]) -> str:
    """A row for each load."""
    if not measured.get("latency"):
        return ""
    rows = [
        f"| {each['load']:.0%} ({each['fed']:,.0f} readings a second) | {each['p50_ms']:.0f} ms "
        f"| {each['p99_ms']:.0f} ms | {each['events']:,} |"
        for each in measured["latency"]
    ]
    return "\n".join(
        [
            "From the append of the reading that closes a window to a `read_committed` consumer having its incident, "
            "by load, as a share of what the daemon keeps up with beside producer, broker and reader on these cores "
            "(kafka-python; a short run takes half of what it reads from a full topic for that):",
            "",
            "| load | p50 | p99 | events |",
            "| --- | --- | --- | --- |",
            *rows,
        ]
    )


def memory(measured: dict[str, Any]) -> str:
    """A row for each number of assets."""
    if "memory" not in measured:
        return ""
    told = measured["memory"]
    rows = [
        f"| {each['assets']:,} | {each['resident'] / 1e6:,.0f} MB | {each['highest'] / 1e6:,.0f} MB |"
        for each in told["sizes"]
    ]
    first, last = told["sizes"][0]["assets"], told["sizes"][-1]["assets"]
    return "\n".join(
        [
            "| assets | resident | at its highest |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"From {first:,} to {last:,} assets the process grows by {told['ratio']:.2f} times the bytes of the "
            "windows alone (64 buckets of 8 float32 values an asset).",
        ]
    )


def write(measured_text: str) -> None:
    """Put the text between the markers of RESULTS.md; the rest of that page is left as it is."""
    page = RESULTS.read_text()
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    RESULTS.write_text(f"{before}{BEGIN}\n{measured_text}\n{END}{after}")
