"""The command: every help has an example, and what is wrong is said in one sentence, without a traceback."""

import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from typer.main import get_command

from monitor.broker import free_port
from monitor.check import check
from monitor.cli import app, main
from monitor.config import load
from monitor.modelfile import Channel, Incidents
from tests.e2e.site import tocsin
from tests.models import giving, metadata, write_model

COMMANDS = sorted(get_command(app).commands)
DETECTOR = '[[detectors]]\nname = "d"\nmodel = "plain"\nassets = ["*"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, a configuration without a broker, and files that are right and wrong."""
    write_model(tmp_path)
    (tmp_path / "tocsin.toml").write_text(
        f'[kafka]\nbootstrap_servers = "127.0.0.1:{free_port()}"\nbootstrap_timeout_ms = 300\n{DETECTOR}'
    )
    (tmp_path / "broken.toml").write_text("[kafka\n")
    (tmp_path / "unknown.toml").write_text(f"[input]\nidle_limit = 3\n{DETECTOR}")
    (tmp_path / "wrong.toml").write_text(f"[input]\nidle_limit_s = -3\n{DETECTOR}")
    (tmp_path / "client.toml").write_text(f"[kafka]\nbotstrap = 1\n{DETECTOR}")
    (tmp_path / "no-detector.toml").write_text("")
    (tmp_path / "no-model.toml").write_text(DETECTOR.replace("plain", "elsewhere"))
    (tmp_path / "secret.toml").write_text(f'[kafka]\nsasl_plain_password = {{env = "NOT_THERE"}}\n{DETECTOR}')
    ts = pa.array(np.arange(20) * 1000, pa.timestamp("ms", "UTC"))
    good = {"ts": ts, "a": pa.array(np.zeros(20)), "b": pa.array(np.zeros(20))}
    pq.write_table(pa.table(good), tmp_path / "good.parquet")
    pq.write_table(pa.table(good | {"b": pa.array(["x"] * 20)}), tmp_path / "text.parquet")
    pq.write_table(pa.table({"ts": ts, "z": pa.array(np.zeros(20))}), tmp_path / "other.parquet")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "file").write_text("in the way")
    return tmp_path


@dataclass(frozen=True)
class Told:
    """How a command ended, and what it said."""

    code: object
    stdout: str
    stderr: str


Call = Callable[[str], Told]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command in this process, which is quicker than one of its own."""

    def called(arguments: str) -> Told:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["tocsin", *arguments.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        return Told(ended.value.code, *capsys.readouterr())

    return called


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, call: Call) -> None:
    told = call(f"{command} --help")
    assert told.code == 0
    assert f"tocsin {command}" in told.stdout[told.stdout.index("Example:") :]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run -c missing.toml", "missing.toml: No such file or directory"),
        ("run -c broken.toml", "broken.toml: not valid TOML"),
        ("run -c unknown.toml", "idle_limit"),
        ("run -c wrong.toml", "input.idle_limit_s"),
        ("run -c client.toml", "kafka.botstrap"),
        ("run -c no-detector.toml", "[[detectors]]"),
        ("run -c no-model.toml", "elsewhere"),
        ("run -c secret.toml", "NOT_THERE"),
        ("check -c missing.toml", "missing.toml"),
        ("check -c broken.toml", "not valid TOML"),
        ("topics -c tocsin.toml", "127.0.0.1"),
        ("topics -c client.toml", "kafka.botstrap"),
        ("topics -c missing.toml", "missing.toml"),
        ("replay good.parquet -c tocsin.toml", "127.0.0.1"),
        ("replay missing.parquet -c tocsin.toml", "missing.parquet"),
        ("replay text.parquet -c tocsin.toml", "column 'b' is text"),
        ("replay empty.csv -c tocsin.toml", "empty.csv"),
        ("replay good.parquet -c tocsin.toml --encoding xml", "xml"),
        ("replay good.parquet -c tocsin.toml --speed 0", "speed"),
        ("simulate --hours 0.01 --period 0 --out out.parquet", "period_s"),
        ("simulate --hours 0.01 --out out.txt", "out.txt"),
        ("simulate --hours 0.01 --out missing/out.parquet", "missing/out.parquet"),
        ("simulate --hours 0.01 -c missing.toml", "missing.toml"),
        ("backtest good.parquet", "--model or --config"),
        ("backtest good.parquet --model missing", "missing"),
        ("backtest good.parquet --model file", "file"),
        ("backtest good.parquet --model plain --config tocsin.toml", "--model or --config"),
        ("backtest good.parquet --model plain --budget 0", "alarm_budget_per_day"),
        ("backtest good.parquet --model plain --out file", "file"),
        ("backtest missing.csv --model plain", "missing.csv"),
        ("backtest text.parquet --model plain", "column 'b' is text"),
        ("backtest other.parquet --model plain", "none of the model's channels"),
        ("backtest file --model plain", "file"),
        ("backtest good.parquet --model plain --accept pump", "--accept pump: give an asset and a time"),
        ("backtest good.parquet --model plain --accept pump@2026-01-01T00:00:00", "with its zone"),
        ("broker --data file", "file"),
        ("broker --host 203.0.113.1 --port 9", "203.0.113.1"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: Call, arguments: str, sentence: str
) -> None:
    monkeypatch.chdir(folder)
    told = call(arguments)
    assert told.code == 1
    assert sentence in told.stderr
    lines = [line for line in told.stderr.splitlines() if line]
    assert len(lines) == 1, told.stderr
    assert lines[0].startswith("tocsin: ")


@pytest.mark.parametrize(
    "arguments",
    [
        "topics --partitions 0",
        "simulate --assets 0",
        "broker --port 99999",
        "backtest",
        "replay",
        "nonsense",
        "run --x",
    ],
)
def test_option_out_of_range_is_a_usage_error(arguments: str, call: Call) -> None:
    told = call(arguments)
    assert told.code == 2
    assert "Traceback" not in told.stderr
    assert "Error" in told.stderr


def test_check_gives_each_verdict_a_line_and_fails_when_one_is_bad(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    told = tocsin("check")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    verdicts = [line.split(maxsplit=1) for line in told.stdout.splitlines()]
    assert {verdict for verdict, _ in verdicts} == {"ok", "bad"}
    assert next(text for verdict, text in verdicts if verdict == "bad").startswith("broker: ")


def test_without_a_command_the_help_is_shown() -> None:
    told = tocsin()
    assert "Usage" in told.stdout + told.stderr
    assert all(command in told.stdout + told.stderr for command in COMMANDS)


def test_backtest_says_what_its_model_could_not_score(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(folder)
    write_model(folder, metadata(min_observed=0.0), giving(np.nan, above=1.0))
    second = np.arange(40)
    value = pa.array(np.where(second < 20, 0.0, 9.0))
    ts = pa.array(second * 1000, pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table({"ts": ts, "a": value, "b": value}), folder / "loud.parquet")
    told = call("backtest loud.parquet --model plain")
    scored = pq.read_table(folder / "backtest" / "scores.parquet").num_rows
    windows = int(told.stdout.split(" windows")[0].split()[-1])
    assert 0 < scored < windows
    assert f"{windows - scored} windows have no score: model version '1' of detector 'backtest'" in told.stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_client_setting_of_the_daemons_own_is_refused_before_a_broker_is_asked(command: str, folder: Path) -> None:
    file = folder / "tocsin.toml"
    file.write_text(file.read_text().replace("[kafka]", "[kafka]\nacks = 0"))
    told = tocsin(command, "--config", str(file))
    assert told.returncode == 1
    assert "kafka.acks: the daemon sets this itself" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_backtest_accepts_a_lasting_level_as_normal_and_rings_for_worse(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(folder)
    second = np.arange(240)
    value = pa.array(np.select([second < 60, second < 180], [0.0, 9.0], 30.0))
    ts = pa.array(second * 1000, pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table({"ts": ts, "a": value, "b": value}), folder / "shift.parquet")
    told = call("backtest shift.parquet --model plain --asset pump --accept pump@1970-01-01T00:02:00Z")
    assert "1 alarms accepted as normal" in told.stderr
    events = [json.loads(line) for line in (folder / "backtest" / "incidents.jsonl").read_text().splitlines()]
    told_apart = [event for event in events if event["transition"] != "escalated"]
    found = [(event["transition"], event["reason"], event["detected"]) for event in told_apart]
    assert [each[:2] for each in found] == [("raised", ""), ("cleared", "accepted"), ("raised", "")]
    assert found[1][2] == "1970-01-01T00:02:00Z" < found[2][2]


@pytest.mark.parametrize(("budget", "told"), [(0.1, True), (0.5, False)])
def test_check_says_where_the_calibration_is_too_short_for_the_alarm_budget(
    folder: Path, budget: float, told: bool
) -> None:
    counted = Incidents(days=2.0, rates=((10.0, 1.0), (0.5, 2.0)), clear=0.9)
    write_model(folder, metadata(calibration=replace(metadata().calibration, incidents=counted)))
    file = folder / "tocsin.toml"
    file.write_text(f"{file.read_text()}alarm_budget_per_day = {budget}\n")
    verdict = next(check(load(file)))
    assert verdict.good
    sentence = "the alarm budget is 0.5 a day, not 0.1: the model was calibrated on 2 days"
    assert (sentence in verdict.text) == told


def test_check_says_which_channels_no_model_has_and_which_sensors_it_cannot_judge(folder: Path) -> None:
    file = folder / "tocsin.toml"
    file.write_text(f'{file.read_text()}\n[[channels]]\nmatch = "a"\nlow = 0\n\n[[channels]]\nmatch = "temp*"\n')
    found = [each for each in itertools.islice(check(load(file)), 4) if each.what.startswith(("sensors", "channels"))]
    assert [(each.what, each.good) for each in found] == [("sensors of d", True), ("channels 'temp*'", False)]


def test_check_says_of_how_many_channels_it_cannot_tell_whether_they_are_flat(folder: Path) -> None:
    channels = tuple(Channel(name, "mm/s", flat_s=seconds) for name, seconds in (("a", 0.0), ("b", 900.0)))
    write_model(folder, metadata(channels=channels, window=12))
    file = folder / "tocsin.toml"
    file.write_text(
        f'{file.read_text()}\n[[suppressions]]\nname = "off"\nassets = ["*"]\nchannel = "rpm"\nbelow = 1\n'
    )
    told = {each.what: each for each in itertools.islice(check(load(file)), 4)}
    assert told["sensors of d"].text.startswith("1 of 2 channels stood still in training for so long")
    assert not told["suppression 'off'"].good
