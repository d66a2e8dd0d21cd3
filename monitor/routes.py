"""Which detectors watch an asset: a route is such a set, and readings of one route share a block of columns."""

from collections.abc import Callable, Sequence

import numpy as np

from monitor.arrays import Ints

UNWATCHED = 0  # the route of assets that no detector watches


class Routes:
    """Routes as assets show them: route 0 is nobody's, others are numbered when first needed."""

    def __init__(self, matches: Sequence[Callable[[str], bool]], channels: Sequence[tuple[str, ...]]) -> None:
        """`matches[d]` tells whether detector d watches an asset, `channels[d]` are its model's channels."""
        self._matches = list(matches)
        self._detector_channels = [tuple(names) for names in channels]
        self._number: dict[tuple[int, ...], int] = {(): UNWATCHED}
        self._columns: dict[tuple[int, int], Ints] = {}
        self.channels: list[tuple[str, ...]] = [()]

    def of(self, asset: str) -> int:
        """Route of an asset."""
        detectors = tuple(number for number, matches in enumerate(self._matches) if matches(asset))
        known = self._number.get(detectors)
        if known is not None:
            return known
        self._number[detectors] = route = len(self.channels)
        names = dict.fromkeys(name for number in detectors for name in self._detector_channels[number])
        self.channels.append(tuple(names))
        place = {name: i for i, name in enumerate(names)}
        for number in detectors:
            self._columns[number, route] = np.array([place[name] for name in self._detector_channels[number]])
        return route

    def columns(self, detector: int, route: int) -> Ints | None:
        """Columns of a route's values that a detector's channels are, None where it does not watch that route."""
        return self._columns.get((detector, route))
