"""The configuration file: what is unknown, wrong or missing is refused with its path, in one sentence."""

import math

import pytest

from monitor.config import Asset, Config, load, parse
from monitor.errors import InvalidConfiguration

DETECTOR = {"name": "pumps", "model": "models/pumps", "assets": ["pump-*"]}

FULL = """
[kafka]
bootstrap_servers = "broker-1:9092,broker-2:9092"
security_protocol = "SASL_SSL"
sasl_plain_password = {env = "TOCSIN_TEST_PASSWORD"}
ssl_password = {file = "secret.txt"}

[topics]
readings = "plant.readings"

[input]
encoding = "arrow"
ts_unit = "us"
allowed_lateness_s = 2.5
idle_limit_s = 60
max_ahead_s = 60
max_message_bytes = 2000000
max_assets = 10

[delivery]
group = "plant"
instance_id = "a"
assignor = "range"

[scoring]
provider = "cpu"
threads = 2
max_batch = 100

[telemetry]
host = "0.0.0.0"
port = 0
log_level = "warning"

[[detectors]]
name = "pumps"
model = "models/pumps"
assets = ["pump-*"]
alarm_budget_per_day = 0.1
on_delay_s = 10
off_delay_s = 30
deadband = 4
publish_expected = true

[[detectors]]
name = "line-2"
model = "/opt/models/line"
labels = {line = "2"}

[[assets]]
match = "pump-*"
labels = {site = "north", line = "2"}
weight = 2
runbook = "https://wiki/pumps"
"""


def refused(document):
    with pytest.raises(InvalidConfiguration) as caught:
        parse(document)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def full(tmp_path, monkeypatch):
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "open sesame")
    (tmp_path / "secret.txt").write_text("hush\n")
    (tmp_path / "tocsin.toml").write_text(FULL)
    return load(tmp_path / "tocsin.toml")


def test_a_full_file_is_read(full):
    assert full.topics.readings == "plant.readings"
    assert full.topics.scores == "tocsin.scores"
    assert (full.input.encoding, full.input.idle_limit_s) == ("arrow", 60.0)
    assert full.delivery.instance_id == "a"
    assert [detector.name for detector in full.detectors] == ["pumps", "line-2"]
    assert full.detectors[1].labels == {"line": "2"}
    assert full.assets == (
        Asset(match="pump-*", labels={"site": "north", "line": "2"}, weight=2.0, runbook="https://wiki/pumps"),
    )


def test_an_empty_file_is_all_defaults(tmp_path):
    (tmp_path / "tocsin.toml").write_text("")
    assert load(tmp_path / "tocsin.toml") == Config()


def test_asset_cannot_be_reset_before_it_is_idle():
    assert parse({"input": {"idle_limit_s": 60, "reset_after_s": 60}}).input.reset_after_s == 60
    assert refused({"input": {"idle_limit_s": 60, "reset_after_s": 59}}) == (
        "input.reset_after_s: 59 is less than input.idle_limit_s (60), but an asset is idle before it is reset"
    )


def test_secrets_come_from_the_environment_and_from_files_beside_the_configuration(full):
    assert full.kafka["sasl_plain_password"] == "open sesame"
    assert full.kafka["ssl_password"] == "hush"
    assert full.kafka["security_protocol"] == "SASL_SSL"


def test_folder_of_snapshots_is_relative_to_the_file(tmp_path):
    (tmp_path / "tocsin.toml").write_text('[delivery]\nsnapshots = "kept"\n')
    assert load(tmp_path / "tocsin.toml").delivery.snapshots == str(tmp_path / "kept")


def test_model_paths_are_relative_to_the_file(full, tmp_path):
    assert [detector.model for detector in full.detectors] == [str(tmp_path / "models/pumps"), "/opt/models/line"]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"inputs": {}}, "`inputs`"),
        ({"input": {"encodin": "json"}}, "`encodin` - at `input`"),
        ({"kafka": {}, "telemetry": {"hosts": ""}}, "`hosts` - at `telemetry`"),
        ({"topics": {"reading": "r"}}, "`reading` - at `topics`"),
        ({"detectors": [DETECTOR, DETECTOR | {"name": "b", "budget": 1}]}, "`budget` - at `detectors[1]`"),
        ({"assets": [{"match": "*", "label": {}}]}, "`label` - at `assets[0]`"),
    ],
)
def test_unknown_setting_is_refused_with_its_path(document, path):
    assert refused(document) == f"there is an unknown field {path}"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"input": []}, "`input`"),
        ({"input": {"encoding": "xml"}}, "`input.encoding`"),
        ({"input": {"max_assets": 0}}, "`input.max_assets`"),
        ({"input": {"max_assets": 1.5}}, "`input.max_assets`"),
        ({"input": {"allowed_lateness_s": -1}}, "`input.allowed_lateness_s`"),
        ({"input": {"allowed_lateness_s": math.inf}}, "`input.allowed_lateness_s`"),
        ({"input": {"idle_limit_s": 0}}, "`input.idle_limit_s`"),
        ({"input": {"idle_limit_s": math.nan}}, "`input.idle_limit_s`"),
        ({"input": {"max_ahead_s": 1e12}}, "`input.max_ahead_s`"),
        ({"telemetry": {"port": 70_000}}, "`telemetry.port`"),
        ({"telemetry": {"port": "9464"}}, "`telemetry.port`"),
        ({"detectors": [DETECTOR | {"name": "two words"}]}, "`detectors[0].name`"),
        ({"detectors": [DETECTOR | {"model": ""}]}, "`detectors[0].model`"),
        ({"detectors": [DETECTOR | {"alarm_budget_per_day": 0}]}, "`detectors[0].alarm_budget_per_day`"),
        ({"detectors": [DETECTOR | {"alarm_budget_per_day": math.inf}]}, "`detectors[0].alarm_budget_per_day`"),
        ({"detectors": [DETECTOR | {"on_delay_s": math.inf}]}, "`detectors[0].on_delay_s`"),
        ({"detectors": [DETECTOR | {"deadband": 0.5}]}, "`detectors[0].deadband`"),
        ({"detectors": [{"name": "a"}]}, "`model` - at `detectors[0]`"),
        ({"assets": [{"match": "*", "weight": 0}]}, "`assets[0].weight`"),
        ({"kafka": 3}, "`kafka`"),
    ],
)
def test_wrong_type_or_range_is_refused_with_its_path(document, path):
    assert refused(document).endswith(path)


@pytest.mark.parametrize(
    "secret",
    [
        {"env": "TOCSIN_NO_SUCH_VARIABLE"},
        {"env": 3},
        {"file": 3},
        {"file": "no-such-file"},
        {"file": "a\x00b"},
        {"file": "."},
        {},
        {"path": "x"},
        {"env": "HOME", "file": "x"},
    ],
    ids=str,
)
def test_secret_that_cannot_be_had_is_refused_with_its_path(secret):
    assert refused({"kafka": {"sasl_plain_password": secret}}).startswith("kafka.sasl_plain_password: ")


def test_secret_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfiguration, match=r"^kafka.ssl_password: .* is no text file$"):
        parse({"kafka": {"ssl_password": {"file": "key"}}}, base=tmp_path)


def test_two_detectors_of_one_name_are_refused():
    assert refused({"detectors": [DETECTOR, DETECTOR]}) == "detectors: the name 'pumps' stands twice"


def test_detector_that_watches_nothing_is_refused():
    assert "needs `assets` or `labels`" in refused({"detectors": [{"name": "a", "model": "m"}]})


@pytest.mark.parametrize("content", [b"[input", b"a = 1\na = 2", b"\xff\xfe", None], ids=str)
def test_file_that_is_none_or_no_toml_is_refused_with_its_name(tmp_path, content):
    file = tmp_path / "tocsin.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidConfiguration) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(InvalidConfiguration, match="directory"):
        load(tmp_path)
