"""Open windows of a partition on their way from one process to the next, without the readings that filled them."""

from dataclasses import dataclass
from typing import Any

Arrays = dict[str, Any]  # by name, the first axis of each the assets of a detector


@dataclass(slots=True)
class Rebuilt:
    """What reading up to `offset` gives: stream time there, and each detector's assets with their windows."""

    offset: int
    stream: int
    detectors: list[tuple[list[str], Arrays]]
