"""SKAB: 30 runs of a pump test bench; of each the first 400 rows to learn from, the rest to test on."""

import functools
from pathlib import Path

from tests.bench.quality_recipe import Figures, Settings, beside, counted, days, evaluated, pooled, read, recipe
from training.drift import drifting
from training.stretches import Stretch

FOLDERS = "valve1", "other"
TRAINED = 400  # rows, as the data set's own leaderboard has it
QUANTILE = 0.99  # of the baselines' training scores


def cases(settings: Settings) -> list[str]:
    """The runs, by folder and number."""
    found = [path for folder in FOLDERS for path in (settings.data / "skab" / folder).glob("*.parquet")]
    return [
        f"{path.parent.name}/{path.stem}"
        for path in sorted(found, key=lambda path: (path.parent.name, int(path.stem)))
    ]


@functools.cache
def drifting_channels(data: Path) -> tuple[str, ...]:
    """Channels that drift on this bench, as the first rows of its runs show together: they are assets of one type."""
    runs = [read(path) for folder in FOLDERS for path in sorted((data / "skab" / folder).glob("*.parquet"))]
    parts = [Stretch(str(number), 0, rows.values[:TRAINED]) for number, rows in enumerate(runs)]
    return tuple(name for name, drifts in zip(runs[0].channels, drifting(parts), strict=True) if drifts)


def run(case: str, settings: Settings) -> Figures:
    """One run, at one false alarm in as much time as it was learnt from: so much these rows can vouch for."""
    rows = read(settings.data / "skab" / f"{case}.parquet")
    train, test = rows.take(slice(0, TRAINED)), rows.take(slice(TRAINED, None))
    found, details = evaluated(
        train, test, 1 / days(train), recipe(settings, drifting=drifting_channels(settings.data))
    )
    return {
        **counted(details.flagged, details.labels),
        "vus_pr": found.vus_pr,
        "auc_pr": found.auc_pr,
        "f1": found.f1,
        "false_alarm_rate": found.false_alarm_rate,
        "missed_rate": found.missed_rate,
        "alarms": found.alarms,
        "left_out": list(found.channels_left_out),
        "seconds": found.seconds,
        "beside": beside(train, test, details.channels, QUANTILE),
    }


def figures(results: dict[str, Figures]) -> dict[str, float]:
    """Pooled over the rows of all runs."""
    over_all = pooled(list(results.values()))
    return {f"skab_{name}": value for name, value in over_all.items()}
