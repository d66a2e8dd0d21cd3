"""Resident memory of a daemon by the number of its assets, lines full, allowed lateness of one bucket."""

from pathlib import Path
from typing import Any

from tests.bench import children
from tests.bench.workload import CHANNELS, PARTITIONS, STRIDE, WINDOW, configuration, fill, say

STEPS = WINDOW + 2 * STRIDE  # readings of each asset: its line has moved on
LEAST = 1_000_000  # readings in any of the topics, so that each size sees batches as large as any other


def ring_bytes(assets: int) -> int:
    """What the windows alone need: float32 values of every asset's last window."""
    return assets * WINDOW * CHANNELS * 4


def measure(bootstrap: str, model: Path, assets: int) -> dict[str, Any]:
    """Memory of a daemon that has read an Arrow topic with so many assets to its end."""
    log = fill(bootstrap, "arrow", PARTITIONS, assets, max(STEPS, LEAST // assets))
    rules = {"allowed_lateness_s": 1.0, "max_assets": 2 * assets}
    config = configuration(bootstrap, model, log, "kafka-python", input=rules)
    told = children.run("tests.bench.tocsin_run", {"mode": "memory", "config": config, "readings": log.readings})
    resident, highest = told["resident"] / 1e6, told["highest"] / 1e6
    say(f"{assets:>9,} assets: {resident:,.0f} MB resident, {highest:,.0f} MB at its highest")
    return {"assets": assets, **told}


def grow(bootstrap: str, model: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Memory at each size, and how many times the rings' own bytes the last needs more than the first."""
    runs = [measure(bootstrap, model, assets) for assets in sizes]
    more = runs[-1]["resident"] - runs[0]["resident"]
    return {"sizes": runs, "ratio": more / ring_bytes(sizes[-1])}
