"""Windows a second through a model alone, by batch size, on every provider of this machine.

    python -m tests.bench.gpu [--model PATH] [--seconds S] [--threads N]

The way is the daemon's: `load_model`, its buffer, `score` with the outputs that it asks for; medians of five runs.
Beside it stands what memory alone would allow, a plain copy of the same bytes in the same run: `link` is the time to
send the windows to the device and the results back, `memory` the time to move windows, results and weights within the
memory of the device, or of this machine for the CPU. Without --model the dense autoencoder of the benchmark is
trained, in single and in half precision. Without a GPU the CPU alone is measured, and that is said.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from monitor import cuda
from monitor.errors import InvalidConfiguration
from monitor.modelfile import resolve_model
from monitor.scoring import Floats, Model, load_model
from tests.bench import children
from tests.bench.workload import STRIDE, WINDOW, train

BATCHES = 64, 256, 1024, 4096, 16_384, 65_536
OUTPUTS = ("score", "channel_score")
RUNS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; times in seconds a batch, `ordinary` with windows that do not lie in a buffer."""

    precision: str
    provider: str
    batch: int
    score_s: float
    ordinary_s: float
    link_s: float
    memory_s: float

    @property
    def windows_per_s(self) -> float:
        """Windows a second, from a buffer."""
        return self.batch / self.score_s


def timed(call: Callable[[], object], seconds: float) -> float:
    """Seconds of one call: the median of five runs of as many calls as fit into a fifth of `seconds` each."""
    call()
    started = time.perf_counter()
    call()
    once = max(time.perf_counter() - started, 1e-7)
    calls = max(int(seconds / RUNS / once), 1)
    runs = []
    for _ in range(RUNS):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        runs.append((time.perf_counter() - started) / calls)
    return statistics.median(runs)


# -------------------------------------------------------------------------------------------------- plain copies


def copies_cpu(sent: int, returned: int, touched: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Calls that copy as many bytes as cross a link, of which a CPU has none, and as memory moves."""
    source, target = np.ones(touched, np.uint8), np.empty(touched, np.uint8)
    return lambda: None, lambda: np.copyto(target, source)


def copies_torch(sent: int, returned: int, touched: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same with CUDA, by PyTorch: from pinned memory to the device and back, and within the device."""
    import torch

    there = torch.empty(max(sent, returned), dtype=torch.uint8).pin_memory()
    device = torch.empty(max(sent, returned), dtype=torch.uint8, device="cuda")
    source, target = (torch.empty(touched, dtype=torch.uint8, device="cuda") for _ in range(2))

    def link() -> None:
        device[:sent].copy_(there[:sent], non_blocking=True)
        there[:returned].copy_(device[:returned], non_blocking=True)
        torch.cuda.synchronize()

    def memory() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    return link, memory


def copies_onnxruntime(sent: int, returned: int, touched: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same with CUDA, by ONNX Runtime, where PyTorch has no CUDA; float32, as long as the bytes say."""

    def on_device(size: int) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type([-(-size // 4)], np.float32, "cuda", 0)

    there, back = cuda.host_memory((-(-sent // 4),), 0), on_device(returned)
    device, source, target = on_device(sent), on_device(touched), on_device(touched)
    return lambda: (device.update_inplace(there), back.numpy()), lambda: target.update_inplace(source)


def copies_for(provider: str) -> Callable[[int, int, int], tuple[Callable[[], object], Callable[[], object]]]:
    """Which of them measures a provider."""
    if provider == "CPUExecutionProvider":
        return copies_cpu
    try:
        import torch
    except ImportError:
        return copies_onnxruntime
    return copies_torch if torch.cuda.is_available() else copies_onnxruntime


# -------------------------------------------------------------------------------------------------- measurements


def rows(path: Path, model: Model, seconds: float) -> Iterator[Row]:
    """One row for each batch size."""
    weights = sum(len(tensor.raw_data) for tensor in onnx.load(resolve_model(path)).graph.initializer)
    copies = copies_for(model.provider)
    for batch in BATCHES:
        buffer = filled(model, batch)
        ordinary = buffer.copy()
        returned = sum(result.nbytes for result in model.score(buffer, OUTPUTS))
        link, memory = copies(buffer.nbytes, returned, buffer.nbytes + returned + weights)
        yield Row(
            model.metadata.precision,
            model.provider.removesuffix("ExecutionProvider"),
            batch,
            timed(lambda: model.score(buffer, OUTPUTS), seconds),  # noqa: B023 - called at once
            timed(lambda: model.score(ordinary, OUTPUTS), seconds),  # noqa: B023
            timed(link, seconds / 4),
            timed(memory, seconds / 4),
        )


def filled(model: Model, count: int) -> Floats:
    """A buffer of so many windows: noise within the channels' ranges, and one value of a hundred missing."""
    random = np.random.default_rng(0)
    low, high = (
        np.array([getattr(channel, end) or 0.0 for channel in model.metadata.channels]) for end in ("low", "high")
    )
    some = random.uniform(low, np.maximum(high, low + 1e-3), (1024, model.metadata.window, len(low)))
    some[random.random(some.shape) < 0.01] = np.nan
    buffer = model.buffer(count)
    for first in range(0, count, len(some)):
        part = buffer[first : first + len(some)]
        part[:] = some[: len(part)]
    return buffer


def models(paths: list[Path], threads: int) -> Iterator[tuple[Path, Model]]:
    """Each model on each provider; what cannot be had is said."""
    for provider in ("cpu", "cuda"):
        try:
            loaded = [(path, load_model(path, provider, threads)) for path in paths]
        except InvalidConfiguration as error:
            print(f"Only the CPU is measured: {error}.", file=sys.stderr)
            return
        yield from loaded


def trained(folder: Path) -> list[Path]:
    """The benchmark's model in single and in half precision."""
    single = train(folder)
    sizes = ["--window", str(WINDOW), "--stride", str(STRIDE), "--epochs", "2", "--precision", "half"]
    command = ["fit", str(folder / "normal.parquet"), "--name", "half", "--out", str(folder), *sizes]
    children.run("tests.bench.train", {"command": command})
    return [single, folder / "half"]


def table(measured: list[Row]) -> Iterator[str]:
    """Lines of the table; `of memory` is how much of the speed of a plain copy, over link and memory, was reached."""
    yield f"{'precision':<10}{'provider':<9}{'batch':>7}{'windows/s':>13}{'us a window':>13}" + (
        f"{'no buffer':>11}{'link':>8}{'memory':>8}{'of memory':>11}"
    )
    for row in measured:
        us = (1e6 / row.batch * each for each in (row.score_s, row.ordinary_s, row.link_s, row.memory_s))
        own, ordinary, link, memory = us
        reached = (row.link_s + row.memory_s) / row.score_s
        yield f"{row.precision:<10}{row.provider:<9}{row.batch:>7}{row.windows_per_s:>13,.0f}{own:>13.3f}" + (
            f"{ordinary:>11.3f}{link:>8.3f}{memory:>8.3f}{reached:>11.1%}"
        )


def main() -> None:
    """Measure, print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model file or directory; default: one is trained")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; 0: as many as there are cores")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [options.model] if options.model else trained(Path(folder))
        measured = [
            row for path, model in models(paths, options.threads) for row in rows(path, model, options.seconds)
        ]
    print("\n".join(table(measured)))
    print(json.dumps([asdict(row) | {"windows_per_s": round(row.windows_per_s)} for row in measured]))


if __name__ == "__main__":
    main()
