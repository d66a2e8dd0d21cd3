"""Earlier incidents that look like one: neighbours in the model's latent space. Pure functions.

Shapes: N earlier incidents, K latent size.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.events import IncidentEvent

MOST_MATCHES = 12


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier incident and how far it is: the root mean square of differences in standard deviations."""

    event: IncidentEvent
    distance: float


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest first; `compared` incidents had a vector, `without` had none, `others` are of other models."""

    matches: tuple[Match, ...]
    compared: int
    without: int
    others: int


def similar(incident: IncidentEvent, known: Iterable[IncidentEvent], most: int = MOST_MATCHES) -> Found:
    """Incidents of the same detector and model version that began before, nearest in latent space first.

    Vectors of different versions are of different spaces and are never compared.
    """
    earlier = [e for e in known if e.detector == incident.detector and _is_before(e, incident)]
    same = [e for e in earlier if e.model_version == incident.model_version]
    usable = [e for e in same if _is_usable(e, len(incident.latent))] if _is_usable(incident, 1) else []
    distances = standard_distances(
        np.array(incident.latent, np.float64),
        np.array([e.latent for e in usable], np.float64).reshape(len(usable), len(incident.latent)),
    )
    order = np.argsort(distances, kind="stable")[:most]
    return Found(
        matches=tuple(Match(usable[n], float(distances[n])) for n in order),
        compared=len(usable),
        without=len(same) - len(usable),
        others=len(earlier) - len(same),
    )


def standard_distances(query: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of a query (K,) to vectors (N, K), each dimension in its own standard deviations; (N,).

    The deviations are those of the query and the vectors together; a dimension in which all agree tells nothing.
    """
    if not len(vectors):
        return np.empty(0)
    together = np.vstack([vectors, query])
    deviation = together.std(axis=0)
    tells = (np.ptp(together, axis=0) > 0) & (deviation > 0)  # the deviation of equal numbers may be rounding alone
    if not tells.any():
        return np.zeros(len(vectors))
    differences = (vectors[:, tells] - query[tells]) / deviation[tells]
    result: NDArray[np.float64] = np.sqrt((differences**2).mean(axis=1))
    return result


def _is_before(event: IncidentEvent, incident: IncidentEvent) -> bool:
    return event.incident_id != incident.incident_id and event.start <= incident.start


def _is_usable(event: IncidentEvent, at_least: int) -> bool:
    """Whether an incident has a vector of finite numbers, of the length that is compared."""
    size = len(event.latent)
    return size >= max(at_least, 1) and bool(np.isfinite(event.latent).all())
