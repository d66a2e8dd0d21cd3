"""The fault suite in its shortest form: each fault that has one."""

from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.catalogue import FAULTS
from tests.faults.runner import run
from tests.faults.stage import ground

pytestmark = [pytest.mark.slow, pytest.mark.kafka]
SHORT = [each for each in FAULTS.values() if each.forms["short"] is not None]


@pytest.fixture(scope="module")
def prepared(kafka_home_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """A cluster behind a proxy, one for the file."""
    with ground(kafka_home_folder, tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.mark.parametrize("fault", SHORT, ids=[each.name for each in SHORT])
def test_outputs_are_exactly_what_they_must_be_through(fault, prepared, tmp_path: Path) -> None:
    result = run(fault, "short", *prepared, tmp_path, "kafka-python")
    assert result.passed, report.line(result)
