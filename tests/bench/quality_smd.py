"""SMD: four servers, official parts; ranking, rows at a fixed alarm budget, and which channels are pointed at."""

import numpy as np
from numpy.typing import NDArray

from tests.bench.quality_recipe import Figures, Settings, beside, counted, evaluated, read, recipe
from training.labelled import Details
from training.measures.attribution import expected_by_chance, hit_rates
from training.measures.baselines import windowed_pca_channels

BUDGET = 0.25  # false alarms a day
QUANTILE = 0.999  # of the baselines' training scores
PERCENTS = 150, 100
EVERYTHING = "machine-2-8"  # where every channel is marked, so that any ranking scores 1


def cases(settings: Settings) -> list[str]:
    """The machines."""
    return sorted(path.parent.name for path in (settings.data / "smd").glob("*/train.parquet"))


def run(case: str, settings: Settings) -> Figures:
    """One machine."""
    folder = settings.data / "smd" / case
    train, test, truth = (read(folder / f"{part}.parquet") for part in ("train", "test", "test_channels"))
    found, details = evaluated(train, test, BUDGET, recipe(settings))
    marks = np.nan_to_num(truth.values) > 0
    pca = windowed_pca_channels(train.values, test.values)
    return {
        **counted(details.flagged, details.labels),
        "vus_pr": found.vus_pr,
        "auc_pr": found.auc_pr,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "alarms_per_day": found.alarms_per_day,
        "false_alarms_per_day": found.false_alarms_per_day,
        "events": found.events,
        "events_detected": found.events_detected,
        "delay_s_median": found.delay_s_median,
        "left_out": list(found.channels_left_out),
        "seconds": found.seconds,
        "hits": hits(every_channel(details, truth.channels), marks, details.labels),
        "hits_windowed_pca": hits(pca, marks, details.labels),
        "hits_random": {str(p): expected_by_chance(marks, details.labels, p).tolist() for p in PERCENTS},
        "beside": beside(train, test, details.channels, QUANTILE),
    }


def every_channel(details: Details, channels: list[str]) -> NDArray[np.float64]:
    """Channel scores (N, C) of these channels; those that the model leaves out rank last."""
    result = np.full((len(details.labels), len(channels)), np.nan)
    for number, name in enumerate(details.channels):
        result[:, channels.index(name)] = details.channel_score[:, number]
    return result


def hits(scores: NDArray[np.float64], marks: NDArray[np.bool_], labels: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Hit rate of each segment at each percentage, NaN where no channel is marked."""
    return {str(percent): hit_rates(scores, marks, labels, percent).tolist() for percent in PERCENTS}


def mean_hits(results: dict[str, Figures], which: str, percent: int, without: str = "") -> float:
    """Mean over all segments of the machines."""
    found = [rate for case, result in results.items() if case != without for rate in result[which][str(percent)]]
    return float(np.nanmean(found)) if found else float("nan")


def figures(results: dict[str, Figures]) -> dict[str, float]:
    """Means over machines, and over segments."""
    f1 = sorted((result["f1"] for result in results.values()), reverse=True)
    return {
        "smd_vus_pr": float(np.mean([result["vus_pr"] for result in results.values()])),
        "smd_auc_pr": float(np.mean([result["auc_pr"] for result in results.values()])),
        "smd_f1_fixed_limit": float(np.mean(f1)),
        "smd_f1_third_best": f1[2] if len(f1) > 2 else float("nan"),
        "smd_hit_rate_150": mean_hits(results, "hits", 150),
        "smd_hit_rate_100": mean_hits(results, "hits", 100),
        "smd_hit_rate_150_without": mean_hits(results, "hits", 150, EVERYTHING),
        "smd_hit_rate_100_without": mean_hits(results, "hits", 100, EVERYTHING),
    }
