"""What learning hands to the calibration: scores at their places in time."""

import numpy as np
import pytest

from training.learning import LONGEST_GAP, on_the_grid
from training.splits import Part

STEP = 4 * 1_000_000_000  # ns, of a stride of 4 at a period of 1 s


def part(places: list[int]) -> Part:
    return Part("a", 7 + np.array(places, np.int64) * STEP, np.zeros((len(places), 1, 1), np.float32))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([5], [0.0]),
        ([5, 6, 7], [0.0, 1.0, 2.0]),
        ([5, 8, 9], [0.0, np.nan, np.nan, 1.0, 2.0]),
    ],
)
def test_scores_stand_at_their_places_and_what_was_not_scored_is_missing(
    places: list[int], expected: list[float]
) -> None:
    found = on_the_grid(part(places), np.arange(len(places), dtype=np.float64), 1000, 4)
    np.testing.assert_array_equal(found, expected)


def test_a_long_gap_takes_no_more_than_its_limit() -> None:
    found = on_the_grid(part([0, 1, 10**6, 10**6 + 1]), np.arange(4.0), 1000, 4)
    assert np.flatnonzero(~np.isnan(found)).tolist() == [0, 1, 1 + LONGEST_GAP, 2 + LONGEST_GAP]
