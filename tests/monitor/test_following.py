"""Models that change while the daemon runs: a good one takes over between two steps, a bad one never serves."""

import itertools
import json
import re
import time
import weakref

import msgspec
import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import LogCapture

from monitor.assembly import assemble, load_models, watch
from monitor.columns import Messages
from monitor.config import parse
from monitor.errors import InvalidModel
from monitor.following import Following
from monitor.modelfile import Channel, set_current
from monitor.scored import ScoredWindows
from monitor.scoring import Model, load_model
from monitor.serving import Recent, Serving
from monitor.state import Position
from monitor.telemetry import Metrics
from monitor.wire import scores_batch
from tests import models
from tests.monitor.test_pipeline import plants

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
WHERE = ("tocsin.readings", 0)
QUIET, LOUD = 0.2, 9.0
DETECTOR = {"name": "d", "model": "unused", "assets": ["pump-*"]}
RULES = {"alarm_budget_per_day": 4000, "on_delay_s": 2, "off_delay_s": 4} | models.STEADY


def watched_by(config, model, most):
    """The first detector with a model."""
    return watch(config, config.detectors[0], model, most)


def logger(told):
    """A logger of every level, whatever another test has configured."""
    return structlog.wrap_logger(None, processors=[told], wrapper_class=structlog.BoundLogger)


class Plant:
    """One pump, a detector on a model directory or file, and what follows it; the test is the clock."""

    def __init__(
        self,
        folder,
        model=None,
        scoring=(),
        within_s=60.0,
        prepare=lambda model: model,
        clock=time.perf_counter,
        **detector,
    ):
        self.folder = folder
        self.root = models.write_model(folder)
        named = {
            "name": "d",
            "model": str(model or self.root),
            "assets": ["pump-*"],
            "alarm_budget_per_day": 4000,
            **models.STEADY,
        }
        config = parse({"input": {"ts_unit": "s"}, "scoring": dict(scoring), "detectors": [named | detector]})
        self.made = assemble(config, load_models(config))
        self.made.pipeline.assign(WHERE, Position(0, 0), [])
        self.metrics, self.told = Metrics(), LogCapture()
        log = logger(self.told)
        self.following = Following(config, self.made, log, self.metrics, prepare, within_s, clock)
        self.second = 0
        self.outputs = []

    def reads(self, *values):
        """One step over a reading a second, the same value on both channels."""
        lines = [
            json.dumps({"asset": "pump-1", "ts": T0 + self.second + i, "values": {"a": value, "b": value}}).encode()
            for i, value in enumerate(values)
        ]
        first, count = self.second, len(lines)
        self.second += count
        offsets = list(range(first, first + count))
        batch = Messages(*WHERE, self.second, offsets, [-1] * count, lines, [None] * count, [()] * count)
        output = self.made.pipeline.step({WHERE: (self.made.decoder.decode(batch), self.second)})
        self.following.between_steps(output)
        self.outputs.append(output)
        return output

    def write(self, version, edit=lambda proto: None, **changes):
        return models.write_version(self.folder, models.metadata(version=version, **changes), edit)

    def promote(self, version):
        """Point at a version, and look."""
        set_current(self.root, version)
        self.following.look()

    def events(self, name):
        return [entry for entry in self.told.entries if entry["event"] == name]

    def counted(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels or {"detector": "d"}) or 0

    def scored(self, *outputs):
        """(window end, version, score) of every window, in the order of publication."""
        rows = [
            row
            for output in outputs or self.outputs
            for _, scores in output.scores
            for row in scores_batch(scores).to_pylist()
        ]
        return [(row["window_end"].timestamp() - T0, row["model_version"], row["score"]) for row in rows]

    def due(self):
        """Ends of the windows that its readings have closed so far."""
        return list(range(3, self.second, 2))

    def versions(self, *outputs):
        return [version for _, version, _ in self.scored(*outputs)]


@pytest.fixture
def plant(tmp_path):
    made = Plant(tmp_path)
    made.reads(*[QUIET] * 20)
    return made


# ----------------------------------------------------------------------------------------------- a good one serves


def test_another_version_serves_from_the_next_step_on_and_no_window_is_missing(plant):
    plant.write("2", models.scaled(0.5))
    plant.promote("2")
    one = plant.reads(*[QUIET] * 10)
    two = plant.reads(*[QUIET] * 10)
    assert set(plant.versions(one)) == {"1"}
    assert set(plant.versions(two)) == {"2"}
    assert [end for end, _, _ in plant.scored()] == plant.due()
    scores = [score for _, _, score in plant.scored(two)]
    assert scores == pytest.approx([QUIET / 2] * len(scores))
    [told] = plant.events("model_serves")
    assert (told["detector"], told["from"], told["to"]) == ("d", "1", "2")
    assert plant.counted("tocsin_model_swaps_total") == 1
    assert plant.events("model_refused") == []


def test_limit_and_p_values_are_those_of_the_new_model(plant):
    other = models.Calibration(1000, 500.0, ((0.0, 0.0), (0.9, 9.0)), models.Tail(9.0, 0.1, 0.0, 1.0))
    plant.write("2", models.scaled(10), calibration=other)
    plant.promote("2")
    before, after = plant.reads(*[QUIET] * 2), plant.reads(*[QUIET] * 2)
    [[_, old]], [[_, new]] = before.scores, after.scores
    assert new.limit == pytest.approx(10 * old.limit)
    assert new.p_value == pytest.approx(old.p_value)


def test_incidents_are_told_by_the_channels_of_the_new_model(plant):
    channels = tuple(Channel(name, "furlong") for name in ("a", "b"))
    models.write_version(plant.folder, msgspec.structs.replace(models.metadata(version="2"), channels=channels))
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    [raised] = plant.reads(*[LOUD] * 8).transitions
    assert [channel.unit for channel in raised.transition.incident.channels] == ["furlong", "furlong"]


def test_pointing_back_takes_the_version_before(plant):
    plant.write("2")
    for version in ("2", "1", "2"):
        plant.promote(version)
        plant.reads(QUIET, QUIET)
        assert set(plant.versions(plant.reads(QUIET, QUIET))) == {version}
    assert [told["to"] for told in plant.events("model_serves")] == ["2", "1", "2"]


def test_pointing_back_before_the_next_step_takes_nothing(plant):
    plant.write("2")
    plant.promote("2")
    plant.promote("1")
    plant.reads(QUIET, QUIET)
    plant.reads(QUIET, QUIET)
    assert set(plant.versions()) == {"1"}
    assert plant.told.entries == []
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}


def test_what_serves_already_is_not_loaded_again(plant):
    plant.following.look()
    plant.promote("1")
    (plant.root / "1" / "model.onnx").touch()
    plant.following.look()
    plant.reads(QUIET, QUIET)
    assert plant.told.entries == []


def test_an_alarm_goes_on_through_a_swap_as_one_incident(tmp_path):
    plant = Plant(tmp_path, off_delay_s=4)
    plant.reads(*[QUIET] * 10, *[LOUD] * 10)
    plant.write("2", models.scaled(2))
    plant.promote("2")
    plant.reads(*[LOUD] * 10)
    plant.reads(*[LOUD] * 10, *[QUIET] * 20)
    raised, cleared = [told.transition for output in plant.outputs for told in output.transitions]
    assert (raised.kind, raised.window.model_version) == ("raised", "1")
    assert (cleared.kind, cleared.window.model_version) == ("cleared", "2")
    assert raised.incident.start == cleared.incident.start
    assert (raised.incident.seq, cleared.incident.seq) == (1, 2)


def test_a_file_given_itself_is_followed_too(tmp_path):
    file = tmp_path / "pumps.onnx"
    models.write_version(tmp_path).replace(file)
    plant = Plant(tmp_path, model=file)
    plant.reads(*[QUIET] * 10)
    plant.write("2").replace(file)
    plant.following.look()
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}


# ------------------------------------------------------------------------------------------------ a bad one does not


def truncated(share):
    def write(plant):
        file = plant.write("2")
        data = file.read_bytes()
        file.write_bytes(data[: round(share * len(data))])

    return write


def written(edit=lambda proto: None, **changes):
    return lambda plant: plant.write("2", edit, **changes)


def garbage(plant):
    plant.write("2").write_bytes(np.random.default_rng(1).bytes(5000))


def without_metadata(proto):
    del proto.metadata_props[:]


BAD = {
    "garbage": (garbage, "no ONNX file"),
    "empty": (truncated(0), "no ONNX file"),
    "half": (truncated(0.5), "no ONNX file"),
    "all but the end": (truncated(0.99), "ONNX|metadata"),
    "without metadata": (written(without_metadata), "metadata_props"),
    "other window": (written(window=8), r"window: 8; in service: 4. Another shape needs new windows: restart"),
    "other stride": (written(stride=4), "stride: 4; in service: 2"),
    "other period": (written(period_ms=500), "period_ms: 500; in service: 1000"),
    "other order": (written(channels=("b", "a")), "channel_names: b, a; in service: a, b"),
    "more channels": (written(channels=("a", "b", "c")), "channel_names: a, b, c; in service"),
    "nan": (written(models.giving(np.nan, above=1)), "no finite score"),
    "infinity": (written(models.giving(np.inf, above=1)), "no finite score"),
    "raising": (written(models.raising(above=1)), "does not run on recent windows: .*out of data bounds"),
    "slow": (written(models.looping(300_000)), "ms a window, scoring.slowest_ms allows 0.5"),
    "not there": (lambda plant: None, "No such file"),
    "same version": (
        lambda plant: models.write_version(plant.folder, edit=models.scaled(2)).parent.rename(plant.root / "2"),
        "version '1' serves already, with other content: give this file its own",
    ),
}


@pytest.mark.parametrize(("bad", "clause"), BAD.values(), ids=BAD.keys())
def test_a_bad_version_is_refused_once_with_its_clause_and_the_one_in_service_goes_on(tmp_path, bad, clause):
    plant = Plant(tmp_path, scoring={"slowest_ms": 0.5})
    plant.reads(*[QUIET] * 10, *[LOUD] * 4, *[QUIET] * 10)
    bad(plant)
    plant.promote("2")
    for _ in range(3):
        plant.following.look()
        plant.reads(*[QUIET] * 4)
    [told] = plant.events("model_refused")
    assert (told["detector"], told["serves"], told["log_level"]) == ("d", "1", "error")
    assert told["file"] == str(plant.root / "2" / "model.onnx")
    assert plant.counted("tocsin_model_refused_total") == 1
    assert re.search(clause, told["detail"]), told["detail"]
    assert [end for end, _, _ in plant.scored()] == plant.due()
    assert set(plant.versions()) == {"1"}
    assert plant.events("model_serves") == []
    plant.write("3")
    plant.promote("3")
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"3"}


@pytest.mark.parametrize("pointer", ["", "\n", "../1", "2 3", "\x00"])
def test_a_pointer_that_names_no_version_is_refused_once_and_taken_when_it_does(plant, pointer):
    plant.write("2")
    (plant.root / "current").write_text(pointer)
    plant.following.look()
    plant.following.look()
    [told] = plant.events("model_refused")
    assert "is no version" in told["detail"]
    assert told["file"] == str(plant.root)
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}


def test_a_pointer_that_is_gone_for_a_moment_changes_nothing_but_is_said(plant):
    (plant.root / "current").unlink()
    plant.following.look()
    plant.promote("1")
    plant.reads(QUIET, QUIET)
    assert len(plant.events("model_refused")) == 1
    assert set(plant.versions()) == {"1"}


def test_a_version_that_comes_after_its_pointer_and_in_pieces_serves_when_it_is_whole(plant):
    data = models.write_version(plant.folder / "elsewhere", models.metadata(version="2")).read_bytes()
    plant.promote("2")
    (plant.root / "2").mkdir()
    with (plant.root / "2" / "model.onnx").open("wb") as file:
        for piece in (data[:100], data[100:700], data[700:-1]):
            file.write(piece)
            file.flush()
            plant.following.look()
            plant.reads(QUIET, QUIET)
        assert set(plant.versions()) == {"1"}
        file.write(data[-1:])
    plant.following.look()
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}
    assert [end for end, _, _ in plant.scored()] == plant.due()


def test_a_copy_in_progress_beside_the_pointer_is_nobodys_business(plant):
    data = models.write_version(plant.folder / "elsewhere", models.metadata(version="2")).read_bytes()
    (plant.root / "2").mkdir()
    with (plant.root / "2" / "model.onnx").open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        plant.following.look()
        file.write(data[len(data) // 2 :])
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}
    assert plant.events("model_refused") == []


def test_a_file_that_is_written_anew_while_it_is_tried_is_not_judged_by_what_it_was(tmp_path):
    def clock():
        """Trials read it: in the middle of one the file is replaced."""
        plant.write("2", models.scaled(2))
        return time.perf_counter()

    plant = Plant(tmp_path, clock=clock)
    plant.write("2", models.giving(np.nan, above=0.1))
    plant.reads(*[QUIET] * 10)
    plant.promote("2")
    assert plant.told.entries == []
    plant.following.look()
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}


def test_a_graph_that_never_ends_is_given_up(tmp_path):
    plant = Plant(tmp_path, within_s=0.3)
    plant.write("2", models.looping(2**62))
    plant.promote("2")
    [told] = plant.events("model_refused")
    assert "it has not ended within 0.3 s" in told["detail"]


def test_a_bad_model_of_one_detector_keeps_no_other_from_being_replaced(tmp_path):
    first, other = Plant(tmp_path / "one"), models.write_model(tmp_path / "two")
    config = parse(
        {
            "detectors": [
                {"name": "bad", "model": str(first.root), "assets": ["*"]},
                {"name": "good", "model": str(other), "assets": ["*"]},
            ]
        }
    )
    made, told = assemble(config, load_models(config)), LogCapture()
    following = Following(config, made, logger(told), Metrics())
    garbage(first)
    models.write_version(tmp_path / "two", models.metadata(version="2"))
    set_current(first.root, "2")
    set_current(other, "2")
    following.look()
    following.between_steps(first.reads(QUIET))
    assert [(entry["event"], entry["detector"]) for entry in told.entries] == [
        ("model_refused", "bad"),
        ("model_serves", "good"),
    ]


# ----------------------------------------------------------------------------------------------- faults in service


@pytest.mark.parametrize("edit", [models.giving(np.nan, 5), models.giving(-np.inf, 5), models.raising(5)])
def test_what_a_model_in_service_cannot_score_the_one_before_scores_in_the_same_step(plant, edit):
    plant.write("2", edit)
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    mixed = plant.reads(*[QUIET] * 6, *[LOUD] * 6, *[QUIET] * 6)
    after = plant.reads(*[QUIET] * 6)
    scored = plant.scored(mixed)
    assert [end for end, _, _ in plant.scored()] == plant.due()
    assert {version for _, version, score in scored if score > 5} == {"1"}
    assert set(plant.versions(after)) == {"1"}
    [fault] = mixed.faults
    assert (fault.detector, fault.version) == ("d", "2")
    assert fault.windows == fault.rescued == plant.versions(mixed).count("1")
    assert [told.transition.kind for told in mixed.transitions] == ["raised", "cleared"]
    [told] = plant.events("model_rolled_back")
    assert (told["from"], told["to"], told["log_level"]) == ("2", "1", "error")
    assert plant.counted("tocsin_model_rollbacks_total") == 1


def test_a_model_that_failed_in_service_is_not_taken_again_before_its_file_or_pointer_changes(plant):
    plant.write("2", models.giving(np.nan, 5))
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    plant.reads(*[LOUD] * 4)
    plant.following.look()
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"1"}
    assert len(plant.events("model_serves")) == 1
    plant.promote("2")
    [told] = plant.events("model_refused")
    assert "no finite score for" in told["detail"]  # for it is tried on the very windows that it failed on
    plant.write("2")
    plant.following.look()
    plant.reads(QUIET, QUIET)
    assert set(plant.versions(plant.reads(QUIET, QUIET))) == {"2"}


def test_a_window_that_neither_model_can_score_is_a_fault_and_nobody_goes_back(tmp_path):
    plant = Plant(tmp_path)
    plant.write("0", models.giving(np.inf, 5))
    plant.write("2", models.giving(np.nan, 5))
    for version in ("0", "2"):
        plant.promote(version)
        plant.reads(*[QUIET] * 4)
    output = plant.reads(*[LOUD] * 4)
    [fault] = output.faults
    assert (fault.version, fault.rescued) == ("2", 0)
    assert fault.windows > 0
    assert set(plant.versions(plant.reads(*[QUIET] * 10))) == {"2"}
    assert plant.events("model_rolled_back") == []


def test_a_window_that_no_call_survives_takes_no_other_window_with_it(tmp_path):
    models.write_model(tmp_path / "faulty", models.metadata(), models.raising(5))
    plant = Plant(tmp_path, model=tmp_path / "faulty" / "plain")
    output = plant.reads(*[QUIET] * 50, *[LOUD] * 4, *[QUIET] * 50)
    [fault] = output.faults
    lost = sorted(set(plant.due()) - {end for end, _, _ in plant.scored()})
    assert lost == list(range(lost[0], lost[-1] + 2, 2))
    assert 50 < lost[0] <= lost[-1] < 58
    assert fault.windows == len(lost)
    assert fault.rescued == 0


def test_a_model_that_fails_always_is_asked_a_bounded_number_of_times(tmp_path):
    calls = []

    def score(windows, outputs):
        calls.append(len(windows))
        raise RuntimeError("the device is gone")

    serving = Serving(watched_by(parse({"detectors": [DETECTOR]}), Model(models.metadata(), "none", score), 999))
    where = np.arange(5000)
    assert len(serving.score(where, where, where, np.zeros((5000, 4, 2), np.float32)).row) == 0
    assert len(calls) <= 2 * 64
    [fault] = serving.take_faults()
    assert (fault.windows, fault.detail) == (5000, "RuntimeError: the device is gone")
    assert serving.take_faults() == []


@pytest.mark.parametrize("edit", [models.giving(np.nan, 5), models.raising(5)])
def test_windows_that_nobody_can_score_neither_count_nor_reset_an_alarms_delays(tmp_path, edit):
    models.write_model(tmp_path / "faulty", models.metadata(), edit)
    plant = Plant(tmp_path, model=tmp_path / "faulty" / "plain", on_delay_s=6, off_delay_s=6)
    over = 3.0
    kinds = []
    for values in ([QUIET] * 6, [over] * 4, [LOUD] * 8, [over] * 8, [LOUD] * 8, [QUIET] * 20):
        output = plant.reads(*values)
        kinds += [(told.transition.kind, told.transition.incident.start) for told in output.transitions]
    assert [kind for kind, _ in kinds] == ["raised", "cleared"]
    assert kinds[0][1] == kinds[1][1]  # what could not be scored in between has neither ended nor begun one
    assert all(score <= 5 for _, _, score in plant.scored())
    assert sum(fault.windows for output in plant.outputs for fault in output.faults) > 5


def test_an_explanation_that_fails_takes_no_score_and_no_alarm_away(tmp_path):
    plant = Plant(tmp_path)

    def break_reconstruction(proto):
        models.raising(5)(proto)
        for node in proto.graph.node:  # the score is the plain one again, and the reconstruction fails in its place
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    names[place] = {"score": "shifted", "plain": "score", "reconstruction": "rebuilt"}.get(name, name)
        for node in proto.graph.node:
            if node.op_type == "Unsqueeze" and node.input[0] == "shifted":
                node.input[0] = "score"
        helper = models.helper
        proto.graph.node.extend(
            [
                helper.make_node("ReduceSum", ["nothing"], ["one_number"], keepdims=0),
                helper.make_node("Add", ["rebuilt", "one_number"], ["reconstruction"]),
            ]
        )

    plant.write("2", break_reconstruction)
    plant.promote("2")
    plant.reads(QUIET, QUIET)
    output = plant.reads(*[LOUD] * 8)
    assert set(plant.versions(output)) == {"2"}
    [fault] = output.faults
    assert (fault.windows, "out of data bounds" in fault.detail) == (0, True)
    [raised] = output.transitions
    assert [each.expected for each in raised.transition.incident.channels] == [None, None]


def test_a_model_is_let_go_when_another_two_have_taken_over(tmp_path):
    kept = []
    plant = Plant(tmp_path, prepare=lambda model: kept.append(weakref.ref(model.score)) or model)
    for version in "2345":
        plant.write(version)
        plant.promote(version)
        plant.reads(QUIET, QUIET)
    assert [score() is not None for score in kept] == [False, False, True, True]


def test_a_refusal_says_what_loading_the_model_says(plant):
    garbage(plant)
    plant.promote("2")
    with pytest.raises(InvalidModel) as caught:
        load_model(plant.root)
    assert [told["detail"] for told in plant.events("model_refused")] == [str(caught.value)]


# ------------------------------------------------------------------------------------------------ by themselves


def times(factor):
    """A model whose scores, and whose calibration, are so many times as high: its p-values are those of the plain."""
    calibration = models.Calibration(
        1000, 500.0, ((0.0, 0.0), (0.9, 0.9 * factor)), models.Tail(0.9 * factor, 0.1, 0.0, 0.1 * factor)
    )

    def score(windows, outputs):
        found = models.score(windows, outputs)
        return [
            result * factor if name.endswith("score") else result for name, result in zip(outputs, found, strict=True)
        ]

    return Model(models.metadata(version=str(factor), calibration=calibration), "none", score)


def steps(readings, cuts, swapped):
    """Scores and transitions of a run in steps that end at these cuts, before each of which a model takes over."""
    config = parse({"input": {"ts_unit": "s", "idle_limit_s": 30}, "detectors": [DETECTOR | RULES]})
    made = assemble(config, {"d": times(1)})
    made.pipeline.assign(WHERE, Position(0, 0), [])
    scores, told = {}, []
    for number, (first, last) in enumerate(itertools.pairwise([0, *cuts, len(readings)])):
        factor = 1 + number if swapped else 1
        if swapped and number:
            made.pipeline.serve(0, watched_by(config, times(factor), 3))
        lines, offsets = readings[first:last], list(range(first, last))
        count = len(lines)
        batch = Messages(*WHERE, last, offsets, [-1] * count, lines, [None] * count, [()] * count)
        output = made.pipeline.step({WHERE: (made.decoder.decode(batch), last)})
        for _, record in output.scores:
            assert record.model_version == str(factor)
            for row in scores_batch(record).to_pylist():
                key = row["asset"], row["window_end"]
                assert key not in scores
                scores[key] = row["score"] / factor, row["limit"] / factor, row["p_value"]
        for each in output.transitions:
            assert each.transition.window.model_version == str(factor)
            incident = each.transition.incident
            told.append((each.asset, each.transition.kind, each.transition.window.end, incident.start, incident.seq))
    return scores, sorted(told)


@settings(max_examples=50)
@given(plants(), st.data())
def test_models_that_take_over_between_any_steps_change_no_window_no_p_value_and_no_incident(readings, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(readings)), max_size=4)))
    scores, told = steps(readings, cuts, swapped=True)
    expected, expected_told = steps(readings, cuts, swapped=False)
    assert told == expected_told
    assert scores.keys() == expected.keys()
    for key, found in scores.items():
        assert found == pytest.approx(expected[key], rel=1e-4)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=40))
def test_records_of_models_that_took_turns_hold_each_window_once_and_rise_in_time_for_each_asset(windows):
    rows, before = (np.array(part) for part in zip(*windows, strict=True))
    count = len(windows)
    bucket, numbers = np.arange(count), np.zeros(count, np.float32)
    matrix = np.zeros((count, 2), np.float32)
    over = np.zeros(count, np.bool_)
    scored = ScoredWindows(
        np.zeros(count, np.int64),
        rows,
        bucket,
        numbers,
        numbers,
        over,
        matrix,
        matrix,
        matrix,
        before,
        numbers,
        matrix,
        over,
        np.zeros((count, 0), np.bool_),
        np.full(count, None, object),
    )
    config = parse({"detectors": [DETECTOR]})
    serving = Serving(watched_by(config, models.model(version="1"), 9))
    serving.serve(watched_by(config, models.model(version="2"), 9))
    told = serving.tell([f"pump-{row}" for row in rows], bucket, scored)
    found = [
        (asset, int(end), record.model_version)
        for record in told
        for asset, end in zip(record.assets, record.window_end, strict=True)
    ]
    assert sorted(found, key=lambda each: each[1]) == [
        (f"pump-{row}", place, "1" if earlier else "2") for place, (row, earlier) in enumerate(windows)
    ]
    for name in {asset for asset, _, _ in found}:
        ends = [end for asset, end, _ in found if asset == name]
        assert ends == sorted(ends)
    assert len(told) <= 2 + max(np.count_nonzero(np.diff(before[rows == row])) for row in set(rows))


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([4, 300, 200_000]))
def test_recent_windows_are_few_and_were_scored_lately(calls, length):
    recent = Recent(models.metadata(channels=("a",), window=length))
    newest = 0
    for count in calls:
        numbers = np.arange(newest, newest + count, dtype=np.float32)
        recent.add(np.broadcast_to(numbers[:, None, None], (count, length, 1)))
        newest += count
    kept = recent.windows()
    assert len(kept) <= min(256, newest)
    assert len(kept) * length <= max(131_072, length)
    assert len(set(kept[:, 0, 0])) == len(kept)
    assert newest == 0 or newest - 1 in kept[:, 0, 0]
