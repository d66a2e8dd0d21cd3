"""Every registered family keeps every law."""

from collections.abc import Callable

import pytest

from tests.laws import LAWS, fitted
from training.models import FAMILIES
from training.scorer import Scorer


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def scorer(family: str) -> Scorer:
    return fitted(family)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_family_keeps_the_law(family: str, scorer: Scorer, law: Callable[[str, Scorer], None]) -> None:
    law(family, scorer)
