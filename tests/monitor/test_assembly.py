"""From a configuration to what runs: who watches an asset, what is known of it, and what memory can hold."""

import json

import numpy as np
import pytest

from monitor.alarms import AlarmState
from monitor.assembly import assemble, asset_facts, load_models, matcher, watch
from monitor.columns import Messages
from monitor.config import Config, parse
from monitor.errors import InvalidConfiguration, InvalidModel
from monitor.output import Counts
from monitor.pipeline import score_windows
from monitor.scoring import Model
from monitor.serving import Serving
from monitor.state import Close, Position, StateEntry, StateKey
from tests import models

T0 = 1_767_225_600
WHERE = ("tocsin.readings", 0)
ASSETS = [
    {"match": "pump-*", "labels": {"site": "north", "kind": "pump"}, "weight": 2, "runbook": "https://pumps"},
    {"match": "*-7", "labels": {"site": "south"}},
]


def configuration(**changes):
    return parse({"detectors": [{"name": "d", "model": "m", "assets": ["pump-*"]}], "assets": ASSETS} | changes)


def watches(detector, *assets):
    config = configuration(detectors=[{"name": "d", "model": "m"} | detector])
    matches = matcher(config, config.detectors[0])
    return [asset for asset in assets if matches(asset)]


def readings(*values):
    """Messages of one asset, a second apart; a value for both of its channels."""
    made = [
        json.dumps({"asset": "pump-1", "ts": (T0 + second) * 1000, "values": {"a": value, "b": value}}).encode()
        for second, value in enumerate(values)
    ]
    count = len(made)
    return Messages(*WHERE, count, list(range(count)), [-1] * count, made, [None] * count, [()] * count)


def run(model, *values):
    made = assemble(configuration(), {"d": model})
    made.pipeline.assign(WHERE, Position(0, 0), [])
    batch = readings(*values)
    return made.pipeline.step({WHERE: (made.decoder.decode(batch), batch.next_offset)})


# -------------------------------------------------------------------------------------------------- who and what


def test_detector_watches_what_one_of_its_globs_matches():
    assets = ("pump-1", "PUMP-1", "pump-", "fan-12", "fan-1", "pumps")
    assert watches({"assets": ["pump-*", "fan-?"]}, *assets) == ["pump-1", "pump-", "fan-1"]


def test_detector_watches_what_has_all_of_its_labels():
    assets = ("pump-1", "pump-7", "fan-7", "fan-1")
    assert watches({"labels": {"site": "south"}}, *assets) == ["pump-7", "fan-7"]
    assert watches({"labels": {"site": "south", "kind": "pump"}}, *assets) == ["pump-7"]


def test_globs_and_labels_are_alternatives():
    assert watches({"assets": ["fan-1"], "labels": {"kind": "pump"}}, "fan-1", "fan-2", "pump-1") == [
        "fan-1",
        "pump-1",
    ]


def test_later_entries_of_an_asset_add_labels_and_set_its_weight():
    facts = asset_facts(configuration(), "pump-7")
    assert facts.labels == {"site": "south", "kind": "pump"}
    assert (facts.weight, facts.runbook) == (1.0, "https://pumps")
    facts = asset_facts(configuration(), "valve")
    assert (facts.labels, facts.weight, facts.runbook) == ({}, 1.0, "")


# ------------------------------------------------------------------------------------------------------- models


def test_models_are_loaded_by_detector(tmp_path):
    root = models.write_model(tmp_path)
    config = parse({"detectors": [{"name": "d", "model": root.name, "assets": ["*"]}]}, base=tmp_path)
    assert load_models(config)["d"].metadata == models.metadata()


def test_configuration_without_a_detector_is_refused():
    with pytest.raises(InvalidConfiguration, match="detectors"):
        load_models(Config())


def test_model_that_is_missing_is_refused_with_its_path(tmp_path):
    config = parse({"detectors": [{"name": "d", "model": "gone", "assets": ["*"]}]}, base=tmp_path)
    with pytest.raises(InvalidModel, match="gone"):
        load_models(config)


# ------------------------------------------------------------------------------------------------------- limits


def test_lateness_that_no_memory_could_keep_open_is_refused():
    with pytest.raises(InvalidConfiguration, match=r"^input.allowed_lateness_s: 864000 buckets of detector 'd'"):
        assemble(configuration(input={"allowed_lateness_s": 864_000}), {"d": models.model()})
    assert assemble(configuration(input={"allowed_lateness_s": 864_000}), {"d": models.model(period_ms=60_000)})


def test_state_of_more_assets_than_are_allowed_does_not_keep_a_partition_from_starting():
    made = assemble(configuration(input={"max_assets": 2}), {"d": models.model()})
    entry = StateEntry(1, AlarmState(), (Close(3, 0, T0),))
    state = [(StateKey(WHERE[0], f"pump-{i}", "d"), entry) for i in range(5)]
    made.pipeline.assign(WHERE, Position(10, 10), state)
    assert made.pipeline.partitions[WHERE].position() == Position(10, 10)


# -------------------------------------------------------------------------------------------- what is scored at all


@pytest.mark.parametrize("present", range(1, 11))
def test_window_with_exactly_the_least_share_observed_is_scored(present):
    model = models.model(channels=("a",), window=10, min_observed=present / 10)
    serving = Serving(watch(configuration(), configuration().detectors[0], model, most=2))
    windows = np.full((2, 10, 1), np.nan, np.float32)
    windows[0, :present], windows[1, : present - 1] = 0.5, 0.5
    where, counts, scored = np.arange(2), Counts(), []
    score_windows(serving, scored, counts, where, where, where, windows)
    assert ([part.row.tolist() for part in scored], counts.windows_not_scored) == ([[0]], 1)


@pytest.mark.parametrize("output", ["score", "channel_score"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_window_without_finite_scores_is_a_fault_and_rings_nothing(output, value):
    def score(windows, outputs):
        results = models.score(windows, outputs)
        if output in outputs:
            results[outputs.index(output)][...] = value
        return results

    found = run(Model(models.metadata(), "none", score), *[9.0] * 20)
    assert found.counts.windows > 5
    [fault] = found.faults
    assert fault.windows == found.counts.windows - found.counts.windows_not_scored
    assert (found.scores, found.transitions, found.counts.windows_over_limit) == ([], [], 0)
