"""The oracle tells what is lost, doubled and wrong: what it passes must mean something."""

import json
from dataclasses import dataclass

import pyarrow as pa
import pytest

from monitor.config import Config, parse
from monitor.events import decode_event, encode_event
from tests.e2e.site import T0
from tests.faults.oracle import Verdict, judge, judge_witness
from tests.faults.reference import SCORES, Outputs, reference
from tests.models import write_model


@dataclass
class Read:
    """A record as librdkafka gives it, as far as the reference asks."""

    number: int
    body: bytes

    def offset(self):
        return self.number

    def timestamp(self):
        return 1, T0 * 1000

    def value(self):
        return self.body

    def key(self):
        return None

    def headers(self):
        return None


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of a detector with the smallest model."""
    model = str(write_model(tmp_path_factory.mktemp("model")))
    return parse({"detectors": [{"name": "pumps", "model": model, "assets": ["*"], "alarm_budget_per_day": 4000}]})


def outputs(config: Config) -> Outputs:
    """Of a pump that is loud for a while, with a message that is no reading."""
    bodies = [
        json.dumps({"asset": "pump-1", "ts": 1000 * (T0 + s), "values": {"a": v, "b": v}}).encode()
        for s in range(60)
        for v in [2.0 if 20 <= s < 40 else 0.1]
    ]
    records = [Read(number, body) for number, body in enumerate([*bodies, b"no reading"])]
    return reference(config, 1, [(("tocsin.readings", 0), records)])


def verdict(config: Config, change) -> tuple[int, int, int]:
    """Lost, duplicated and wrong, of outputs that were changed."""
    found = outputs(config)
    change(found)
    told = judge(outputs(config), found)
    return told.lost, told.duplicated, told.wrong


def rescored(found: Outputs, factor: float) -> None:
    rows = found.score_table().to_pylist()
    rows[3]["score"] *= factor
    found.scores = pa.Table.from_pylist(rows, SCORES).to_batches()


def retold(found: Outputs) -> None:
    event = found.events[0]
    found.events[0] = decode_event(encode_event(event).replace(b'"transition":"raised"', b'"transition":"cleared"'))


def test_outputs_have_scores_events_dead_letters_and_states(config: Config) -> None:
    found = outputs(config)
    assert len(found.score_table()) > 20
    assert [event.transition for event in found.events] == ["raised", "escalated", "cleared"]
    assert [identity[2:] for identity, _ in found.dead] == [(60, "not_json")]
    assert len(found.state) == 1


def test_equal_outputs_pass(config: Config) -> None:
    assert verdict(config, lambda found: None) == (0, 0, 0)


def test_last_bits_of_a_score_may_differ(config: Config) -> None:
    assert verdict(config, lambda found: rescored(found, 1 + 1e-7)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda found: found.scores.append(found.scores[0].slice(0, 2)), (0, 2, 0)),
        (lambda found: found.scores.append(found.scores.pop().slice(1)), (1, 0, 0)),
        (lambda found: rescored(found, 1.001), (0, 0, 1)),
        (lambda found: found.events.pop(), (1, 0, 0)),
        (lambda found: found.events.append(found.events[0]), (0, 1, 0)),
        (retold, (0, 0, 1)),
        (lambda found: found.dead.clear(), (1, 0, 0)),
        (lambda found: found.dead.append(found.dead[0]), (0, 1, 0)),
        (lambda found: found.dead.append((("tocsin.readings", 0, 3, "not_json"), 0)), (0, 0, 1)),
        (lambda found: found.state.clear(), (0, 0, 1)),
    ],
    ids=[
        "scores twice", "score lost", "score wrong", "event lost", "event twice", "event wrong",
        "dead letter lost", "dead letter twice", "dead letter for a reading", "state lost",
    ],
)  # fmt: skip
def test_difference_is_counted_as_what_it_is(config: Config, change, counts) -> None:
    assert verdict(config, change) == counts


@pytest.mark.parametrize("saw", [[], [(0, 7)], [(1, 8), (0, 7)], [(0, 7), (1, 8), (1, 8)], [(0, 7), (1, 9)]])
def test_reader_meanwhile_must_have_seen_the_same_records_once_and_in_order(saw) -> None:
    where, there = ("tocsin.scores", 0), [(0, 7), (1, 8)]
    same, other = Verdict(), Verdict()
    judge_witness({where: list(there)}, {where: there}, same)
    judge_witness({where: saw}, {where: there}, other)
    assert (same.wrong, other.wrong) == (0, 1)
