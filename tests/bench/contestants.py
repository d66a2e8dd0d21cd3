"""Who is measured, on what, and how: each is a job for one process, run again in every round."""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import children
from tests.bench.fill import create
from tests.bench.workload import ASSETS, CLIENTS, PARTITIONS, STRIDE, Log, configuration, fill, say
from tests.kafka_cluster import unique

MAX_BATCHES = 2000
LEAST_SHARE = 0.8  # of the windows that readings give; an asset whose first window is not full yet has none


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `tail` lies behind what is measured, so that a client that reads ahead in the background
    is as far ahead at the end as at the beginning, and its work is neither counted twice nor left out."""

    rounds: int
    slow_rounds: int
    warm: int
    fast: int  # readings measured of a daemon or a loop
    slow: int  # of a peer
    tail: int
    arrow_warm: int
    arrow: int
    arrow_tail: int
    windows: int  # of ONNX Runtime alone


FULL = Sizes(5, 5, 100_000, 600_000, 200_000, 500_000, 500_000, 4_000_000, 1_500_000, 300_000)
QUICK = Sizes(2, 1, 150_000, 400_000, 40_000, 440_000, 400_000, 1_500_000, 1_000_000, 150_000)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every job needs: the broker, the model, the filled topics, the peers' interpreter."""

    bootstrap: str
    model: Path
    sizes: Sizes
    logs: dict[str, Log]
    peers: Path

    @property
    def onnx(self) -> str:
        """The model file that is in service."""
        return str(self.model / (self.model / "current").read_text().strip() / "model.onnx")


def prepare(bootstrap: str, model: Path, sizes: Sizes, peers: Path, encodings: set[str]) -> Setup:
    """Fill the topics that the contestants read, one of each encoding."""
    readings = {
        "json": sizes.warm + sizes.fast + sizes.tail,
        "arrow": sizes.arrow_warm + sizes.arrow + sizes.arrow_tail,
    }
    logs = {name: fill(bootstrap, name, PARTITIONS, ASSETS, readings[name] // ASSETS) for name in sorted(encodings)}
    return Setup(bootstrap, model, sizes, logs, peers)


@dataclass(slots=True)
class Contestant:
    """One row of the table; `job` makes what its process is told, from the setup and what was measured so far."""

    name: str
    title: str
    module: str
    job: Callable[[Setup, "Results"], dict[str, Any] | None]
    peer: bool = False
    slow: bool = False
    unit: str = "readings"
    quick: bool = True


@dataclass(slots=True)
class Results:
    """What was measured, by contestant, in the order of the rounds."""

    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def per_cpu_s(self, name: str, of: str = "readings") -> float | None:
        """Median of a count by CPU second."""
        rates = [run[of] / run["cpu_s"] for run in self.runs.get(name, ())]
        return statistics.median(rates) if rates else None

    def per_wall_s(self, name: str) -> float | None:
        """Median of readings by second of wall time."""
        rates = [run["readings"] / run["wall_s"] for run in self.runs.get(name, ())]
        return statistics.median(rates) if rates else None

    def ratio(self, name: str, other: str | None, of: str = "readings", of_other: str = "readings") -> float | None:
        """One contestant's median by the other's; None where one was not measured."""
        mine, theirs = self.per_cpu_s(name, of), self.per_cpu_s(other, of_other) if other else None
        return mine / theirs if mine and theirs else None

    def best(self, *names: str, of: str = "readings") -> str | None:
        """Of these contestants the one that does most in a CPU-second."""
        measured = [name for name in names if self.runs.get(name)]
        return max(measured, key=lambda name: self.per_cpu_s(name, of) or 0.0, default=None)


def tocsin(encoding: str, client: str) -> Contestant:
    """The whole daemon."""

    def job(setup: Setup, results: Results) -> dict[str, Any]:
        sizes = setup.sizes
        warm, measured = (sizes.warm, sizes.fast) if encoding == "json" else (sizes.arrow_warm, sizes.arrow)
        config = configuration(setup.bootstrap, setup.model, setup.logs[encoding], client)
        return {"mode": "throughput", "config": config, "warm": warm, "measured": measured}

    title = f"Tocsin, {'JSON' if encoding == 'json' else 'Arrow'}, {client}"
    return Contestant(f"tocsin-{encoding}-{client}", title, "tests.bench.tocsin_run", job)


def loop(client: str, decode: bool) -> Contestant:
    """A client alone, or with a JSON decoder."""

    def job(setup: Setup, results: Results) -> dict[str, Any]:
        where = {"bootstrap": setup.bootstrap, "topic": setup.logs["json"].topic, "client": client, "decode": decode}
        return {"limit": "loop", **where, "warm": setup.sizes.warm, "measured": setup.sizes.fast}

    title = f"limit: {client} alone" + (" and a JSON decoder" if decode else "")
    return Contestant(f"loop-{client}" + ("-decode" if decode else ""), title, "tests.bench.limits", job)


def onnxruntime() -> Contestant:
    """The model alone, on batches of the sizes that the daemon made of Arrow messages."""

    def job(setup: Setup, results: Results) -> dict[str, Any] | None:
        measured = [runs[0]["batches"] for name, runs in results.runs.items() if name.startswith("tocsin-arrow")]
        if not measured:
            return None
        count = setup.sizes.windows
        batches = measured[0][:MAX_BATCHES]
        return {
            "limit": "onnxruntime",
            "model": str(setup.model),
            "batches": batches,
            "warm": count // 5,
            "measured": count,
        }

    return Contestant(
        "onnxruntime", "limit: ONNX Runtime alone, the same batches", "tests.bench.limits", job, unit="windows"
    )


def peer(name: str, title: str, module: str, variant: str = "", quick: bool = True, part: int = 1) -> Contestant:
    """Another program that does the same job, on fewer readings; `part` divides them where it is very slow."""

    def job(setup: Setup, results: Results) -> dict[str, Any]:
        output = unique("scores")
        create(setup.bootstrap, output, PARTITIONS)
        where = {"bootstrap": setup.bootstrap, "topic": setup.logs["json"].topic, "output": output, "group": output}
        sizes = setup.sizes
        counts = {"warm": sizes.warm // part, "measured": sizes.slow // part}
        return {**where, **counts, "model": setup.onnx, "variant": variant}

    return Contestant(name, title, module, job, peer=not module.endswith("torch"), slow=True, quick=quick)


def contestants() -> list[Contestant]:
    """All of them, in the order in which they run in each round."""
    quix, bytewax = "tests.bench.peers_quix", "tests.bench.peers_bytewax"
    return [
        *(tocsin(encoding, client) for encoding in ("json", "arrow") for client in CLIENTS),
        *(loop(client, decode) for client in CLIENTS for decode in (False, True)),
        onnxruntime(),
        peer("quix-state", "Quix Streams, window in its state", quix, "state"),
        peer("quix-window", "Quix Streams, its count window", quix, "window"),
        peer("quix-memory", "Quix Streams, window in memory, lost by a restart", quix, "memory", quick=False),
        peer("bytewax-batch", "Bytewax, stateful_batch, lost by a restart", bytewax, "batch"),
        peer("bytewax-item", "Bytewax, stateful_flat_map, lost by a restart", bytewax, "item", quick=False),
        peer("loop-torch", "kafka-python loop, deques, PyTorch, lost by a restart", "tests.bench.loop_torch", part=3),
    ]


def compete(setup: Setup, chosen: list[Contestant]) -> Results:
    """All contestants once in each round, so that what the machine does meanwhile meets them all."""
    results = Results()
    sizes = setup.sizes
    for number in range(sizes.rounds):
        for each in chosen:
            if each.slow and number >= sizes.slow_rounds:
                continue
            job = each.job(setup, results)
            if job is None or (each.peer and not setup.peers.exists()):
                continue
            told = children.run(each.module, job, str(setup.peers) if each.peer else sys.executable)
            if told.get("windows", told["readings"]) < LEAST_SHARE * told["readings"] / STRIDE:
                raise children.ChildError(
                    f"{each.name} scored {told['windows']} windows of {told['readings']} readings"
                )
            results.runs.setdefault(each.name, []).append(told)
            rate = told["readings"] / told["cpu_s"]
            say(f"round {number + 1}: {each.title:<52} {rate:>11,.0f} {each.unit} a CPU-second")
    return results
