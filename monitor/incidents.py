"""Incidents: what one alarm was from its first window over the limit on, and its highest windows."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from monitor.events import Contribution, Priority
from monitor.level import Level, observe

MAX_PAST = 4  # incidents that are remembered once they were cleared
MAX_EXPLAINED = 3  # windows of an incident whose channels are kept, the highest ones


class Window(Struct, frozen=True):
    """One scored window of one asset: its end (ns), score, p-value and model version."""

    end: int
    score: float
    p_value: float
    model_version: str


class Height(Struct, frozen=True, omit_defaults=True):
    """A window of an incident that is, or may become, its peak.

    `late` is the offset of the last message whose late readings it was made with, -1 where it is as it was closed;
    `channels` are kept of the highest few.
    """

    window: Window
    late: int = -1
    channels: tuple[Contribution, ...] = ()


class Incident(Struct, frozen=True, omit_defaults=True):
    """One alarm since its first window over the limit; `seq` counts its published events.

    `heights` are its highest windows in order of time, among those over the limit and those that were revised;
    `revision_bound` (ns) is how far back readings were kept for it, 0: it is never revised; `level` is what its
    windows over the limit typically score; `priority` is that of its peak, since it was raised; `latent` is where its
    peak lies in the model's latent space, empty where that is not known.
    """

    start: int
    last_over: int
    peak: Window
    channels: tuple[Contribution, ...] = ()
    seq: int = 0
    heights: tuple[Height, ...] = ()
    revision_bound: int = 0
    level: Level | None = None
    priority: Priority = "low"
    latent: tuple[float, ...] = ()


class Seen(Struct, frozen=True):
    """What is known of a window besides its score: channels in falling order of contribution, latent vector."""

    channels: tuple[Contribution, ...] = ()
    latent: tuple[float, ...] = ()


def extended(
    known: Incident | None, window: Window, seen: Seen, stride_ns: int, revision_bound: int, most: int
) -> Incident:
    """The incident with one more window over the limit, of which the `most` highest are remembered."""
    level = observe(known.level if known else None, window.score, window.model_version)
    height = Height(window, -1, seen.channels)
    if known is None:
        first = Incident(window.end - stride_ns, window.end, window, seen.channels, level=level, latent=seen.latent)
        return with_heights(most, replace(first, revision_bound=revision_bound), [height])
    known = replace(known, last_over=window.end, level=level)
    if exceeds(window, known.peak):
        known = replace(known, peak=window, channels=seen.channels, latent=seen.latent)
    return with_heights(most, known, [*known.heights, height])


def with_heights(most: int, incident: Incident, heights: Sequence[Height]) -> Incident:
    """The incident with the `most` highest of these windows; with none where it is never revised."""
    if not incident.revision_bound:
        return incident
    kept = sorted(heights, key=lambda height: height.window.end)
    while len(kept) > most:
        kept.remove(min(kept, key=rank))
    explained = [height for height in kept if height.channels]
    if len(explained) > MAX_EXPLAINED:
        lower = sorted(explained, key=rank)[:-MAX_EXPLAINED]
        kept = [replace(height, channels=()) if height in lower else height for height in kept]
    return replace(incident, heights=tuple(kept))


def rank(height: Height) -> tuple[float, float, int]:
    """What puts windows in the order of their height, of several models too; of equal ones the first is higher."""
    return -height.window.p_value, height.window.score, -height.window.end


def exceeds(window: Window, peak: Window) -> bool:
    """Whether a window is higher than the peak so far: by its score, or by its p-value where the models differ."""
    if window.model_version == peak.model_version:
        return window.score > peak.score
    return window.p_value < peak.p_value
