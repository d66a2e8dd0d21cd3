"""The alarm budget on normal data held out in time: alarms that the daemon raises by those that it may.

Of each series the first 60 % are learnt from and the alarms on the rest are counted. Labels only choose the stretch
of a NAB series that is normal; the models never see them.
"""

import numpy as np
from scipy.stats import chi2

from monitor.errors import InvalidData
from monitor.recording import Recording
from tests.bench.quality_recipe import Figures, Settings, alarms_on, days, fitted, read, recipe
from training.measures.segments import segments

LEARNT = 0.6
LEAST = 20  # expected alarms, below which a ratio says nothing
SMD_BUDGET = 1.0  # a day
EXPECTED = 25.0  # alarms in the held-out part of a series elsewhere
SETS = "smd", "skab", "nab"


def cases(settings: Settings) -> list[str]:
    """The series, each as set/name."""
    smd = sorted(path.parent.name for path in (settings.data / "smd").glob("*/train.parquet"))
    nab = sorted(path.stem for path in (settings.data / "nab" / "realKnownCause").glob("*.parquet"))
    return [*(f"smd/{name}" for name in smd), "skab/anomaly-free", *(f"nab/{name}" for name in nab)]


def normal(case: str, settings: Settings) -> Recording:
    """The rows of a series that hold no anomaly: the longest stretch without a label."""
    which, name = case.split("/")
    file = {
        "smd": f"smd/{name}/train.parquet",
        "skab": f"skab/{name}/{name}.parquet",
        "nab": f"nab/realKnownCause/{name}.parquet",
    }[which]
    rows = read(settings.data / file)
    if rows.labels is None:
        return rows
    first, stop = max(segments(rows.labels == 0), key=lambda span: span[1] - span[0])
    return rows.take(slice(first, stop))


def run(case: str, settings: Settings) -> Figures:
    """One series: alarms, and how many its budget allows."""
    rows = normal(case, settings)
    cut = int(LEARNT * len(rows))
    train, test = rows.take(slice(0, cut)), rows.take(slice(cut, None))
    budget = SMD_BUDGET if case.startswith("smd/") else EXPECTED / days(test)
    try:
        model = fitted(train, recipe(settings))
    except InvalidData as error:
        return {"refused": str(error)}
    details = alarms_on(model, train, test, budget)
    return {"alarms": len(details.incidents.starts), "expected": budget * days(test), "budget": budget}


def interval(alarms: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean (Garwood 1936)."""
    low = chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    return float(low), float(chi2.ppf(0.975, 2 * alarms + 2) / 2)


def pooled(results: dict[str, Figures], which: str) -> Figures:
    """Of a set's series: alarms, expected, their ratio (NaN where it is not measurable) and its interval."""
    found = {case: one for case, one in results.items() if case.startswith(f"{which}/") and "alarms" in one}
    alarms, expected = (sum(one[name] for one in found.values()) for name in ("alarms", "expected"))
    measurable = expected >= LEAST
    low, high = interval(alarms)
    worst = max(found, key=lambda case: found[case]["alarms"] / found[case]["expected"], default="")
    return {
        "series": len(found),
        "alarms": alarms,
        "expected": expected,
        "ratio": alarms / expected if measurable else float("nan"),
        "low": low / expected if measurable else float("nan"),
        "high": high / expected if measurable else float("nan"),
        "worst": worst,
        "worst_ratio": found[worst]["alarms"] / found[worst]["expected"] if worst else float("nan"),
    }


def figures(results: dict[str, Figures]) -> dict[str, float]:
    """The lowest and the highest ratio of the sets that are measurable."""
    ratios = {which: pooled(results, which)["ratio"] for which in SETS}
    singles = [pooled(results, which)["worst_ratio"] for which in SETS]
    return {
        "budget_ratio_min": float(np.nanmin(list(ratios.values()))),
        "budget_ratio_max": float(np.nanmax(list(ratios.values()))),
        "budget_ratio_single": float(np.nanmax(singles)),
        **{f"budget_ratio_{which}": ratio for which, ratio in ratios.items()},
    }
