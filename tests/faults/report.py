"""Results as a line, as a page, and as the one JSON object."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.faults.runner import FAULTS
from tests.faults.stage import Result

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- measured by make faults: begin -->", "<!-- measured by make faults: end -->"
COUNTS = ("kills", "lost", "duplicated", "wrong", "open_transactions")


def line(result: Result) -> str:
    """One fault for the person who waits; what was noted follows, indented."""
    counts = ", ".join(f"{name.replace('_', ' ')} {getattr(result, name)}" for name in COUNTS)
    head = f"{'ok    ' if result.passed else 'FAILED'} {result.name}: {counts}"
    recovery = f", slowest recovery {result.slowest_recovery_s:.1f} s" if result.slowest_recovery_s else ""
    return "\n         ".join([f"{head}{recovery} ({result.took_s:.0f} s)", *result.notes])


def summary(results: Sequence[Result]) -> str:
    """All faults as one JSON object."""
    return json.dumps(
        {
            "faults": len(results),
            "passed": sum(each.passed for each in results),
            "kills": sum(each.kills for each in results),
            "lost": sum(each.lost for each in results),
            "duplicated": sum(each.duplicated for each in results),
            "wrong": sum(each.wrong for each in results),
            "open_transactions": sum(each.open_transactions for each in results),
            "slowest_recovery_s": round(max((each.slowest_recovery_s for each in results), default=0.0), 2),
        }
    )


def page(results: Sequence[Result], client: str, took_s: float) -> str:
    """The measured part of RESULTS.md."""
    versions = f"kafka-python {version('kafka-python')}, confluent-kafka {version('confluent-kafka')}"
    rows = [
        f"| {each.name} | {'yes' if each.passed else '**no**'} | "
        + " | ".join(str(getattr(each, name)) for name in COUNTS)
        + f" | {each.slowest_recovery_s:.1f} | {each.took_s:.0f} |"
        for each in results
    ]
    told = [
        f"- **{each.name}**: {FAULTS[each.name].sentence} Measured: {'; '.join(noted(each)) or 'nothing else'}."
        for each in results
    ]
    return "\n".join(
        [
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}; the daemon's client: {client}; "
            f"the whole took {took_s / 60:.0f} minutes.",
            "",
            f"| fault | passed | {' | '.join(COUNTS).replace('_', ' ')} | slowest recovery, s | took, s |",
            "| --- " * (len(COUNTS) + 4) + "|",
            *rows,
            "",
            *told,
        ]
    )


def noted(result: Result) -> list[str]:
    """The first line of each note: behind that of an error stand logs."""
    return [note.partition("\n")[0] for note in result.notes]


def write(text: str) -> None:
    """Put the text between the markers of RESULTS.md; the rest of that page is left as it is."""
    before, rest = RESULTS.read_text().split(BEGIN, 1)
    _, after = rest.split(END, 1)
    RESULTS.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
