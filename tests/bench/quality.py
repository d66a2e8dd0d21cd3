"""How well models detect, on labelled data: the daemon's own step, limits from training alone, no point adjustment.

    make quality            five seeds of what draws at random; writes tests/bench/QUALITY.md
    make quality QUICK=1    one seed, under ten minutes on two cores; the last line is one JSON object
    python -m tests.bench.quality --only skab --only smd --seeds 2 --jobs 4

One recipe for all sets, that of `tocsin-train evaluate`. TOCSIN_DATA is the folder with skab, smd, nab and mnist.
"""

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from monitor.errors import TocsinError
from tests.bench import mnist, quality_budget, quality_nab, quality_report, quality_skab, quality_smd
from tests.bench.quality_recipe import Figures, Settings
from training.cli import FAMILY
from training.many import THREADS
from training.models import ENSEMBLE

PARTS: dict[str, ModuleType] = {
    "smd": quality_smd,
    "budget": quality_budget,
    "nab": quality_nab,
    "skab": quality_skab,
}
MNIST, FAILED = "mnist", "failed"
ASKED = (
    "skab_f1",
    "skab_false_alarm_rate",
    "smd_vus_pr",
    "smd_f1_fixed_limit",
    "smd_f1_third_best",
    "smd_hit_rate_150",
    "budget_ratio_min",
    "budget_ratio_max",
    "nab_score",
    "mnist_bce_32",
)

Task = tuple[str, str, Settings]  # part, case, how
Results = dict[str, dict[int, dict[str, Figures]]]  # part -> seed -> case -> figures


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "make quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed; QUALITY.md is left as it is")
    parser.add_argument("--only", action="append", choices=[*PARTS, MNIST], help="a part; may be repeated")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--family", default=FAMILY, help="another model family than the recipe's")
    parser.add_argument("--data", type=Path, help="folder with skab, smd, nab and mnist; default: TOCSIN_DATA")
    parser.add_argument("--page", type=Path, help="write the tables here, quick or not")
    return parser.parse_args()


def tasks(options: argparse.Namespace, data: Path) -> list[Task]:
    """All that is to be measured, what takes longest first."""
    wanted = options.only or [*PARTS, MNIST]
    found: list[Task] = []
    for seed in range(seeds(options)):
        settings = Settings(data, seed, options.family, options.quick)
        if MNIST in wanted:
            found.append((MNIST, MNIST, settings))
        once = seed > 0 and options.family == ENSEMBLE  # it draws nothing
        for part in (part for part in PARTS if part in wanted and not once):
            cases = PARTS[part].cases(settings)
            if not cases:
                raise SystemExit(f"{data}: the data of '{part}' is missing")
            found += [(part, case, settings) for case in cases]
    return found


def seeds(options: argparse.Namespace) -> int:
    """How many seeds are measured."""
    return 1 if options.quick else int(options.seeds)


def for_each_seed(results: Results, count: int) -> Results:
    """The same, where what was measured with the first seed alone, since it draws nothing, stands for every one."""
    return {
        part: by_seed if len(by_seed) == count else dict.fromkeys(range(count), by_seed[0])
        for part, by_seed in results.items()
    }


def run(task: Task) -> tuple[Task, Figures, float]:
    """Measure one case in this process, or say why it failed; the seconds that it took."""
    part, case, settings = task
    began = time.perf_counter()
    try:
        if part == MNIST:
            found = mnist.measure(settings.quick, settings.data / MNIST, None, settings.seed)
        else:
            found = PARTS[part].run(case, settings)
    except TocsinError as error:
        found = {FAILED: str(error)}
    return task, found, time.perf_counter() - began


def measure(todo: list[Task], jobs: int, say: Callable[[str], None]) -> Results:
    """Run all tasks in processes; results are in the order of the tasks."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    results: Results = {}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context) as pool:
        waiting = [pool.submit(run, task) for task in todo]
        try:
            for count, done in enumerate(concurrent.futures.as_completed(waiting), 1):
                (part, case, settings), found, seconds = done.result()
                results.setdefault(part, {}).setdefault(settings.seed, {})[case] = found
                say(f"{count}/{len(todo)} {part} {case}, seed {settings.seed}: {seconds:.0f} s")
        finally:
            pool.shutdown(cancel_futures=True)
    in_order = {part: [case for one, case, _ in todo if one == part] for part, _, _ in todo}
    return {
        part: {
            seed: {case: results[part][seed][case] for case in dict.fromkeys(cases)} for seed in sorted(results[part])
        }
        for part, cases in in_order.items()
    }


def sound(results: Results) -> tuple[Results, dict[str, str]]:
    """The parts of which every case was measured, and why the cases failed that were not."""
    failed = {
        f"{part} {case}, seed {seed}": found[FAILED]
        for part, by_seed in results.items()
        for seed, cases in by_seed.items()
        for case, found in cases.items()
        if FAILED in found
    }
    return {
        part: each for part, each in results.items() if not any(case.startswith(f"{part} ") for case in failed)
    }, failed


def figures(results: Results) -> list[dict[str, float]]:
    """The figures of each seed, by name."""
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    found = []
    for seed in seeds:
        of_seed: dict[str, float] = {}
        for part, by_seed in results.items():
            of_seed |= by_seed[seed][MNIST] if part == MNIST else PARTS[part].figures(by_seed[seed])
        found.append(of_seed)
    return found


def last_line(of_seeds: list[dict[str, float]]) -> str:
    """What is asked of this project, means over the seeds, as one JSON object; null where it was not measured."""
    means = quality_report.means(of_seeds)
    plain = {name: means.get(name, math.nan) for name in ASKED}
    return json.dumps({name: None if math.isnan(value) else round(value, 4) for name, value in plain.items()})


def main() -> None:
    options = arguments()
    data = options.data or (Path(os.environ["TOCSIN_DATA"]) if os.environ.get("TOCSIN_DATA") else None)
    if data is None or not data.is_dir():
        raise SystemExit(
            "the data is missing: set TOCSIN_DATA, or --data, to the folder with skab, smd, nab and mnist"
        )
    began = time.perf_counter()
    results = measure(tasks(options, data), options.jobs, lambda line: print(line, file=sys.stderr, flush=True))
    results, failed = sound(results)
    results = for_each_seed(results, seeds(options))
    of_seeds = figures(results)
    page = quality_report.page(results, of_seeds, failed, options.family, time.perf_counter() - began)
    print(page)
    where = options.page or (None if options.quick or options.only else quality_report.PAGE)
    if where:
        where.write_text(page, encoding="utf-8")
    print(last_line(of_seeds))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
