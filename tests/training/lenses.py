"""Ensembles for tests, fitted to a small plant; N rows, C channels."""

import functools

import numpy as np
from numpy.typing import NDArray

from training.ensemble import LONG, SHORT, SINGLE, FittedEnsemble, Recipe, fit_ensemble
from training.stretches import Stretch

RECIPES = {"long": LONG, "short": SHORT, "single": SINGLE}
ROWS = {"long": 3200, "short": 900, "single": 900}
DAY = 1440.0  # windows
DEAD, STILL, WANDERING = 1, 2, 3  # places of odd channels in a plant that has them


def plant(rows: int, channels: int = 5, seed: int = 0, odd: bool = False) -> NDArray[np.float32]:
    """Rows (N, C) of a fast load cycle that all channels follow, each in its own units, with noise.

    Odd plants have a channel that dies in the middle, one that never moves, and one that wanders off.
    """
    random = np.random.default_rng(seed)
    t = np.arange(rows) + 1000 * seed
    gains = np.geomspace(0.1, 1000, channels)
    phases = np.linspace(0, 2, channels)
    load = np.sin(t[:, None] / 6 + phases) + 0.3 * np.sin(t[:, None] / 2.3)
    values = load + random.normal(0, 0.1, (rows, channels))
    if odd:
        values[rows // 2 :, DEAD] = np.nan
        values[:, STILL] = 0.5
        values[:, WANDERING] += np.cumsum(random.normal(0, 0.15, rows))
    return ((values + 3) * gains).astype(np.float32)


def parts(recipe: str, channels: int = 5, odd: bool = False, gaps: bool = False, assets: int = 1) -> list[Stretch]:
    """What an ensemble is fitted to."""
    found = []
    for asset in range(assets):
        values = plant(ROWS[recipe], channels, asset, odd)
        if gaps:
            random = np.random.default_rng(7)
            values[random.random(len(values)) < 0.05] = np.nan
            values[random.random(values.shape) < 0.1] = np.nan
        found.append(Stretch(f"a{asset}", 3, values))
    return found


@functools.cache
def fitted(recipe: str, channels: int = 5, odd: bool = False, gaps: bool = False, assets: int = 1) -> FittedEnsemble:
    """An ensemble of this recipe; the same arguments give the same one again."""
    return fit(RECIPES[recipe], parts(recipe, channels, odd, gaps, assets))


def fit(recipe: Recipe, given: list[Stretch], **changes: object) -> FittedEnsemble:
    """Fit with a window a row."""
    return fit_ensemble(given, recipe, 1, DAY, 0.5, **changes)  # type: ignore[arg-type]
