"""Neighbours in latent space, held against a slow and obvious search."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dashboard.similar import similar, standard_distances
from monitor.events import IncidentEvent
from tests.dashboard.control_room import alarm

NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))


def past(asset: str, start: int, *latent: float, **more: object) -> IncidentEvent:
    """An incident with a vector."""
    return replace(alarm(asset, "normal", start), latent=latent, end=alarm(asset, start=start + 9).start, **more)


def test_the_nearest_comes_first_and_never_the_incident_itself_or_a_later_one() -> None:
    incident = past("pump-1", 100, 1.0, 1.0)
    known = [incident, past("far", 10, 9.0, 9.0), past("near", 20, 1.1, 1.0), past("later", 200, 1.0, 1.0)]
    assert [match.event.asset for match in similar(incident, known).matches] == ["near", "far"]


def test_other_models_are_not_compared_and_missing_vectors_are_counted() -> None:
    incident = past("pump-1", 100, 1.0, 1.0)
    known = [
        past("old version", 10, 1.0, 1.0, model_version="6"),
        past("other detector", 10, 1.0, 1.0, detector="slow"),
        past("none", 10),
        past("broken", 10, float("nan"), 1.0),
        past("other size", 10, 1.0),
        past("good", 10, 2.0, 2.0),
    ]
    found = similar(incident, known)
    assert [match.event.asset for match in found.matches] == ["good"]
    assert (found.compared, found.without, found.others) == (1, 3, 1)


def test_an_incident_without_a_vector_has_no_neighbours() -> None:
    found = similar(past("pump-1", 100), [past("a", 10, 1.0)])
    assert found.matches == ()


def test_a_dimension_with_large_numbers_does_not_decide_alone() -> None:
    incident = past("pump-1", 100, 0.0, 0.0)
    known = [past("one unit off in the small one", 10, 0.0, 1.0), past("ninety off in the large one", 20, 90.0, 0.0)]
    known += [past(f"spread {n}", n, 1000.0 * n, 0.01 * n) for n in range(1, 4)]
    nearest_first = [match.event.asset for match in similar(incident, known).matches]
    assert nearest_first[0] == "ninety off in the large one"
    assert nearest_first[-1] == "one unit off in the small one"


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.tuples(
            st.lists(NUMBERS, min_size=k, max_size=k), st.lists(st.lists(NUMBERS, min_size=k, max_size=k), max_size=8)
        )
    )
)
def test_distances_are_those_of_the_slow_search(made: tuple[list[float], list[list[float]]]) -> None:
    query, vectors = made
    found = standard_distances(np.array(query), np.array(vectors).reshape(len(vectors), len(query)))
    rows = [*vectors, query]
    for vector, distance in zip(vectors, found, strict=True):
        squares = []
        for k in range(len(query)):
            column = [row[k] for row in rows]
            mean = sum(column) / len(column)
            deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
            if min(column) != max(column):
                squares.append(((vector[k] - query[k]) / deviation) ** 2)
        expected = math.sqrt(sum(squares) / len(squares)) if squares else 0.0
        assert math.isclose(distance, expected, rel_tol=1e-6, abs_tol=1e-9)
