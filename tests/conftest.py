"""Real parts for the tests: the embedded broker, Apache Kafka, recorded data; and names of their own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from monitor.broker import EmbeddedBroker
from tests.kafka_cluster import KafkaCluster, kafka_home, unique
from tests.require import require

# Tests run side by side: more threads than one each only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("tocsin", deadline=None)
hypothesis.settings.load_profile("tocsin")


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[str]:
    """Bootstrap address of an embedded broker, one for the run."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def kafka_home_folder() -> Path:
    """A folder with Apache Kafka's `libs/`, on a machine that has Java; skips where there is none."""
    home = kafka_home()
    require(home is not None, "Apache Kafka is missing: set KAFKA_HOME to a folder with libs/")
    require(shutil.which("java") is not None, "Apache Kafka needs Java 17 and there is no java on the PATH")
    assert home is not None
    return home


@pytest.fixture(scope="session")
def kafka_cluster(kafka_home_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One node of Apache Kafka, one for the run."""
    with KafkaCluster(kafka_home_folder, tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kafka_cluster_of_three(
    kafka_home_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaCluster]:
    """Three nodes, three copies of which two must be in sync: for faults; one for each test file."""
    with KafkaCluster(kafka_home_folder, tmp_path_factory.mktemp("kafka-3"), nodes=3) as cluster:
        yield cluster


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of a broker: the test runs once on the embedded one and once on Apache Kafka."""
    if request.param == "embedded":
        return str(request.getfixturevalue("embedded_broker"))
    return str(request.getfixturevalue("kafka_cluster").bootstrap)


@pytest.fixture
def topic() -> str:
    """A topic name that no other test uses."""
    return unique("readings")


@pytest.fixture
def group() -> str:
    """A consumer group name that no other test uses."""
    return unique("group")


@pytest.fixture(scope="session")
def tocsin_schemas() -> Path:
    """The folder of published schemas: TOCSIN_SCHEMAS, else the one beside the project; skips without."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "schemas"
    folder = Path(os.environ.get("TOCSIN_SCHEMAS") or beside)
    require((folder / "cloudevents-1.0.schema.json").is_file(), "published schemas are missing: set TOCSIN_SCHEMAS")
    return folder


@pytest.fixture(scope="session")
def tocsin_data() -> Path:
    """The folder of recorded data: TOCSIN_DATA, else the one beside the project; skips without."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TOCSIN_DATA") or beside)
    require((folder / "smd").is_dir(), "recorded data is missing: set TOCSIN_DATA")
    return folder
