"""What the quality benchmark measured, as the text of QUALITY.md: by run and pooled, means over seeds and spread."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import quality_budget, quality_nab, quality_skab, quality_smd
from tests.bench.quality_recipe import Figures, pooled
from training.measures.ranking import THRESHOLDS
from training.measures.ranking import WINDOW as VUS_WINDOW

PAGE = Path(__file__).with_name("QUALITY.md")
BESIDE = {"flag_everything": "flag everything", "last_value": "last-value distance", "windowed_pca": "windowed PCA"}
# name, what it is, target, whether more is better
TARGETS: tuple[tuple[str, str, float, bool], ...] = (
    ("skab_f1", "SKAB, F1 over the rows of 30 runs", 0.83, True),
    ("skab_false_alarm_rate", "SKAB, false-alarm rate of rows", 0.13, False),
    ("smd_vus_pr", "SMD, VUS-PR, mean of four", 0.80, True),
    ("smd_f1_fixed_limit", "SMD, F1 of rows at .25 alarms a day, mean of four", 0.60, True),
    ("smd_f1_third_best", "SMD, the same, third best of four", 0.20, True),
    ("smd_hit_rate_150", "SMD, hit rate at 150 %", 0.90, True),
    ("smd_hit_rate_100", "SMD, hit rate at 100 %", 0.75, True),
    ("smd_hit_rate_150_without", "SMD, hit rate at 150 % without machine-2-8", 0.87, True),
    ("budget_ratio_min", "alarms by budget, lowest of the sets", 0.5, True),
    ("budget_ratio_max", "alarms by budget, highest of the sets", 2.0, False),
    ("budget_ratio_single", "alarms by budget, highest of all series", 2.0, False),
    ("nab_score", "NAB, mean standard score of seven", 57.0, True),
    ("nab_above_windowed_gaussian", "NAB, series above the Windowed Gaussian", 5, True),
    ("mnist_bce_32", "MNIST, cross-entropy of 784-32-784", 0.1029, False),
)
SKAB_COLUMNS = {
    "f1": "F1",
    "false_alarm_rate": "false-alarm rate",
    "missed_rate": "missed",
    "vus_pr": "VUS-PR",
    "auc_pr": "AUC-PR",
    "alarms": "alarms",
}
SMD_COLUMNS = {
    "vus_pr": "VUS-PR",
    "auc_pr": "AUC-PR",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "alarms_per_day": "alarms a day",
    "false_alarms_per_day": "false a day",
    "events": "events",
    "events_detected": "detected",
    "delay_s_median": "delay, s",
}
NAB_COLUMNS = {
    "score": "Tocsin",
    "detections": "detections",
    "windowed_gaussian": "Windowed Gaussian",
    "windowed_pca": "windowed PCA",
    "last_value": "last-value distance",
    "flag_everything": "one alarm for ever",
}
BySeed = dict[int, dict[str, Figures]]


def page(
    results: dict[str, BySeed], of_seeds: list[dict[str, float]], failed: dict[str, str], family: str, took_s: float
) -> str:
    """The whole page; `failed` are cases with the reason."""
    tables = {"skab": skab, "smd": smd, "budget": budget, "nab": nab, "mnist": mnist}
    parts = [head(len(of_seeds), family, took_s), summary(of_seeds)]
    parts += [table(results[part]) for part, table in tables.items() if part in results]
    parts += [f"Not measured, since {case} failed: {reason}" for case, reason in failed.items()]
    return "\n\n".join(parts) + "\n"


def head(seeds: int, family: str, took_s: float) -> str:
    """How it was measured."""
    return (
        "# How well Tocsin detects\n\n"
        f"Written by `make quality`: {seeds} seed{'s' * (seeds > 1)}, {took_s / 60:.0f} minutes. Model family "
        f"`{family}` with its own window and stride; one recipe for all sets. Every figure comes from the "
        "daemon's own step; models and limits see no label. Nothing is point-adjusted. Where seeds make a difference "
        "figures are means, with the standard deviation over seeds behind ±; an ensemble draws nothing, and is "
        "measured once. VUS-PR has a window of "
        f"{VUS_WINDOW} rows and {THRESHOLDS} thresholds."
    )


def summary(of_seeds: list[dict[str, float]]) -> str:
    """Every target, what was measured, and whether it was missed."""
    lines = ["| figure | target | measured | |", "|---|---|---|---|"]
    means_ = means(of_seeds)
    for name, what, target, more in TARGETS:
        if name not in means_:
            continue
        met = means_[name] >= target if more else means_[name] <= target
        bound = f"{'at least' if more else 'at most'} {target:g}"
        lines.append(f"| {what} | {bound} | {spread([one[name] for one in of_seeds])} | {'' if met else 'missed'} |")
    return "\n".join(lines)


def skab(by_seed: BySeed) -> str:
    """Pooled, the baselines beside, and each run."""
    lines = [
        "## SKAB\n",
        f"The first {quality_skab.TRAINED} rows of each run to learn from, the rest to test on; one alarm "
        f"allowed in as much time as was learnt from. Baselines at the {quality_skab.QUANTILE} quantile of their "
        "training scores.\n",
        "| all rows; areas are means over runs | F1 | false-alarm rate | missed | VUS-PR | AUC-PR |",
        "|---|---|---|---|---|---|",
    ]
    lines.append(_pooled_row("Tocsin", [list(cases.values()) for cases in by_seed.values()]))
    for name, title in BESIDE.items():
        lines.append(
            _pooled_row(title, [[case["beside"][name] for case in cases.values()] for cases in by_seed.values()])
        )
    lines += ["", *_by_case(by_seed, SKAB_COLUMNS)]
    return "\n".join(lines)


def smd(by_seed: BySeed) -> str:
    """Each machine, ranking beside the baselines, attribution."""
    lines = ["## SMD\n", f"At {quality_smd.BUDGET:g} alarms a day, the limit from the training part alone.\n"]
    lines += _by_case(by_seed, SMD_COLUMNS)
    lines += ["", f"Baselines, F1 at the {quality_smd.QUANTILE} quantile of their training scores.\n"]
    lines += ["| machine | " + " | ".join(f"{title}: VUS-PR, AUC-PR, F1" for title in BESIDE.values()) + " |"]
    lines += ["|---" * (len(BESIDE) + 1) + "|"]
    first = next(iter(by_seed.values()))
    for name, case in first.items():
        cells = [_beside(case["beside"][one]) for one in BESIDE]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| hit rate | 150 % | 100 % | 150 %, without machine-2-8 | 100 %, without |",
        "|---|---|---|---|---|",
    ]
    for which, title in (("hits", "Tocsin"), ("hits_windowed_pca", "windowed PCA"), ("hits_random", "random")):
        cells = [
            spread([quality_smd.mean_hits(cases, which, percent, without) for cases in by_seed.values()])
            for without in ("", quality_smd.EVERYTHING)
            for percent in quality_smd.PERCENTS
        ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def budget(by_seed: BySeed) -> str:
    """Each set, then each series."""
    lines = [
        "## The alarm budget\n",
        f"The first {quality_budget.LEARNT:.0%} of each normal series to learn from, alarms on the rest. A set with "
        f"fewer than {quality_budget.LEAST} alarms expected is not measurable. The interval is the 95 % Poisson one, "
        "of the first seed.\n",
        "| set | series | alarms | expected | ratio | interval | largest single series |",
        "|---|---|---|---|---|---|---|",
    ]
    for which in quality_budget.SETS:
        found = [quality_budget.pooled(cases, which) for cases in by_seed.values()]
        one = found[0]
        ratio = spread([each["ratio"] for each in found])
        interval = f"{one['low']:.2f} to {one['high']:.2f}"
        lines.append(
            f"| {which} | {one['series']} | {spread([each['alarms'] for each in found])} | {one['expected']:.1f} | "
            + ("not measurable | " if math.isnan(one["ratio"]) else f"{ratio} | {interval} | ")
            + f"{one['worst']}: {spread([each['worst_ratio'] for each in found])} |"
        )
    lines += ["", "| series | alarms | expected |", "|---|---|---|"]
    for name, case in next(iter(by_seed.values())).items():
        if "refused" in case:
            lines.append(f"| {name} | no model: {case['refused']} | |")
            continue
        lines.append(f"| {name} | {_over_seeds(by_seed, name, 'alarms')} | {case['expected']:.1f} |")
    return "\n".join(lines)


def nab(by_seed: BySeed) -> str:
    """Each series beside the detectors without a model."""
    cuts = ", ".join(f"{cut:.0%}" for cut in quality_nab.CUTS)
    return "\n".join(
        [
            "## NAB realKnownCause\n",
            f"Standard score, nothing scored before the first {quality_nab.CUTS[0]:.0%}; fitted on the past at "
            f"{cuts} of the rows. Detectors without a model raise at the {quality_nab.QUANTILE} quantile of their "
            "own past, and clear at the one that is passed twice as often.\n",
            *_by_case(by_seed, NAB_COLUMNS, "mean"),
        ]
    )


def mnist(by_seed: BySeed) -> str:
    """The figures of the images."""
    found = means([cases["mnist"] for cases in by_seed.values()])
    rows = [f"| {name.removeprefix('mnist_').replace('_', ' ')} | {value:.4g} |" for name, value in found.items()]
    return "\n".join(["## MNIST\n", "| figure | |", "|---|---|", *rows])


def means(of_seeds: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the seeds."""
    return {name: float(np.mean([one[name] for one in of_seeds])) for name in of_seeds[0]} if of_seeds else {}


def spread(values: list[float]) -> str:
    """The mean, and the standard deviation where seeds make a difference; a dash where nothing was measured."""
    if len(set(values)) > 1:
        return f"{_number(float(np.mean(values)))} ± {_number(float(np.std(values, ddof=1)))}"
    return "-" if not values else str(values[0]) if isinstance(values[0], int) else _number(values[0])


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _over_seeds(by_seed: BySeed, case: str, name: str) -> str:
    return spread([cases[case][name] for cases in by_seed.values() if name in cases[case]])


def _by_case(by_seed: BySeed, columns: dict[str, str], last: str = "") -> list[str]:
    """A row for each case, over the seeds, of columns by their titles; at last the means over the cases."""
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in next(iter(by_seed.values())):
        lines.append(f"| {name} | " + " | ".join(_over_seeds(by_seed, name, column) for column in columns) + " |")
    if last:
        means_ = [
            means([{name: case[name] for name in columns} for case in cases.values()]) for cases in by_seed.values()
        ]
        lines.append(f"| {last} | " + " | ".join(spread([one[name] for one in means_]) for name in columns) + " |")
    return lines


def _pooled_row(title: str, by_seed: list[list[Figures]]) -> str:
    found = [pooled(cases) for cases in by_seed]
    cells = [spread([one[name] for one in found]) for name in ("f1", "false_alarm_rate", "missed_rate")]
    for area in ("vus_pr", "auc_pr"):
        cells.append(spread([float(np.mean([case[area] for case in cases])) for cases in by_seed]))
    return f"| {title} | " + " | ".join(cells) + " |"


def _beside(figures: dict[str, Any]) -> str:
    return f"{figures['vus_pr']:.3f}, {figures['auc_pr']:.3f}, {pooled([figures])['f1']:.3f}"
