"""Installations on the embedded broker and on Apache Kafka."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site, site

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(bootstrap: str, topic: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeSite]:
    """Makes an installation with settings of its own; the test runs once on each broker."""
    assignor = "cooperative-sticky" if request.node.callspec.params["bootstrap"] == "apache" else "range"
    with ExitStack() as stack:

        def make(**settings: Any) -> Site:
            return stack.enter_context(site(bootstrap, topic, tmp_path, assignor, **settings))

        yield make
