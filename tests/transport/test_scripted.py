"""Exactly once whatever a broker answers: what is delivered is committed whole, once, or not at all.

Deliveries number themselves: the n-th publishes n, as an output and as state, and commits position n + 1. So the log
says at any time whether something was lost, doubled or torn.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka import errors

from monitor.config import parse
from monitor.errors import FatalError, FencedError, RetriableError
from monitor.state import Position
from monitor.transport import Outgoing, Transport
from monitor.transport.apart import apart
from monitor.transport.clients import connect
from tests.transport.logs import assigned, until
from tests.transport.scripted_broker import (
    CLOSED,
    DONE_THEN_CLOSED,
    DONE_THEN_SILENCE,
    EVER,
    HELD,
    REFUSED,
    SILENCE,
    ScriptedBroker,
)

pytestmark = pytest.mark.slow  # most scripts are waited out

WHERE = ("readings", 0)
TIMEOUT_S = 1.0  # of a delivery
LIMIT_S = 15.0  # for a call that has this timeout: it may try to end a transaction, or to find its coordinator
DELIVERY = ("AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn")


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    """A broker without a script yet."""
    with scripted_broker() as broker:
        yield broker


def scripted_broker() -> ScriptedBroker:
    return ScriptedBroker({"readings": 1, "scores": 1, "state": 1})


class Worker:
    """Delivers numbers as the daemon delivers batches: after an error it goes back to the committed position."""

    def __init__(self, broker: ScriptedBroker, client: str) -> None:
        self.broker, self.client = broker, client
        self.errors: list[Exception] = []
        self.member = self._joined()

    def _joined(self) -> Transport:
        config = parse(
            {
                "kafka": {"bootstrap_servers": self.broker.bootstrap},
                "topics": {"readings": "readings", "state": "state"},
                "delivery": {"group": "group", "instance_id": "one", "client": self.client, "session_timeout_s": 6}
                | {"assignor": "range"},
            }
        )
        member = apart(LIMIT_S, connect, config, TIMEOUT_S)
        assigned(member, 1)
        return member

    def done(self) -> int:
        """How many deliveries are committed; fails where one is lost, doubled or torn."""
        log = self.broker.log
        position = log.committed.get(("group", WHERE), (0, ""))[0]
        numbers = [b"%d" % number for number in range(position)]
        assert log.values("scores") == numbers
        assert log.values("state") == numbers
        return position

    def deliver(self, number: int) -> None:
        """Publish a number and commit the position behind it; no call may take longer than its limit."""
        apart(LIMIT_S, self.member.poll, 0.0)
        what = b"%d" % number
        outputs, state = [Outgoing("scores", what, partition=0)], [Outgoing("state", what, b"key", partition=0)]
        apart(LIMIT_S, self.member.deliver, outputs, state, {WHERE: Position(number + 1, 0)})
        assert self.done() == number + 1

    def tried(self, call: Callable[[], None]) -> bool:
        """Whether a call returned; one that ends the daemon ends this member, and the next one is made."""
        try:
            call()
        except RetriableError as error:
            self.errors.append(error)
        except (FatalError, FencedError) as error:
            self.errors.append(error)
            self.close()
            self.member = self._joined()
        else:
            return True
        return False

    def position(self) -> int:
        """Where this member would go on."""
        at = apart(LIMIT_S, self.member.committed, WHERE)
        return at.offset if at else 0

    def work(self, upto: int) -> None:
        """Deliver until so many deliveries are done."""

        def go_on() -> None:
            for number in range(self.position(), upto):
                self.deliver(number)

        until(lambda: self.tried(go_on), f"delivery goes on after {self.errors[-3:]}", 60)
        assert self.done() == upto

    def close(self) -> None:
        """End in order, in time."""
        apart(LIMIT_S, self.member.close)


@pytest.fixture
def worker(broker: ScriptedBroker, client: str) -> Iterator[Worker]:
    """A member that has delivered something."""
    worker = Worker(broker, client)
    worker.work(2)
    yield worker
    worker.close()


def once(api: str, answer: Any) -> Any:
    return pytest.param(api, answer, 1, id=f"{api}-{named(answer)}-once")


def always(api: str, answer: Any) -> Any:
    return pytest.param(api, answer, EVER, id=f"{api}-{named(answer)}-always")


def named(answer: Any) -> str:
    return answer.__name__ if isinstance(answer, type) else f"{'done' if answer.done else ''}{answer.then}"


CANNOT_BE_DONE = [
    always("Produce", errors.NotLeaderForPartitionError),
    always("Produce", errors.InvalidProducerEpochError),
    always("Produce", errors.OutOfOrderSequenceNumberError),
    always("Produce", errors.MessageSizeTooLargeError),
    always("TxnOffsetCommit", errors.FencedInstanceIdError),
    always("TxnOffsetCommit", errors.IllegalGenerationError),
    always("TxnOffsetCommit", errors.UnknownMemberIdError),
    always("TxnOffsetCommit", errors.GroupAuthorizationFailedError),
    always("EndTxn", errors.NotCoordinatorError),
    always("EndTxn", errors.CoordinatorLoadInProgressError),
    always("EndTxn", errors.ProducerFencedError),
    always("EndTxn", errors.InvalidTxnStateError),
    always("AddPartitionsToTxn", errors.ConcurrentTransactionsError),
    always("AddPartitionsToTxn", errors.ProducerFencedError),
    always("AddPartitionsToTxn", errors.TransactionalIdAuthorizationFailedError),
    *(always(api, answer) for api in DELIVERY for answer in (SILENCE, REFUSED, CLOSED)),
]
MAY_BE_DONE = [
    once("Produce", errors.NotLeaderForPartitionError),
    once("Produce", errors.InvalidProducerEpochError),
    once("Produce", errors.OutOfOrderSequenceNumberError),
    once("EndTxn", errors.NotCoordinatorError),
    once("EndTxn", errors.CoordinatorLoadInProgressError),
    once("EndTxn", errors.CoordinatorNotAvailableError),
    once("AddPartitionsToTxn", errors.ConcurrentTransactionsError),
    *(once(api, answer) for api in DELIVERY for answer in (CLOSED, DONE_THEN_CLOSED, DONE_THEN_SILENCE)),
    always("EndTxn", DONE_THEN_CLOSED),
    always("EndTxn", DONE_THEN_SILENCE),
]


@pytest.mark.parametrize(("api", "answer", "times"), CANNOT_BE_DONE)
def test_delivery_that_cannot_be_done_raises_and_nothing_of_it_is_there(
    worker: Worker, api: str, answer: Any, times: float
) -> None:
    worker.broker.script(api, answer, times=times)
    assert not worker.tried(lambda: worker.deliver(2))
    assert worker.done() == 2
    worker.broker.go_on()
    worker.work(5)


@pytest.mark.parametrize(("api", "answer", "times"), MAY_BE_DONE)
def test_delivery_that_meets_a_fault_is_done_once_whether_it_says_so_or_not(
    worker: Worker, api: str, answer: Any, times: float
) -> None:
    worker.broker.script(api, answer, times=times)
    worker.tried(lambda: worker.deliver(2))
    assert worker.done() in {2, 3}
    worker.broker.go_on()
    worker.work(5)


def test_commit_that_the_broker_reads_late_does_not_move_a_position_that_was_told(worker: Worker) -> None:
    told: list[int] = []
    worker.broker.script("EndTxn", HELD)
    assert not worker.tried(lambda: worker.deliver(2))
    until(lambda: worker.tried(lambda: told.append(worker.position())), "a position is told")
    worker.broker.go_on()
    assert worker.done() == told[0]
    worker.work(5)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (errors.ProducerFencedError, RetriableError),
        (errors.CoordinatorLoadInProgressError, RetriableError),
        (errors.TransactionalIdAuthorizationFailedError, FatalError),
        (SILENCE, RetriableError),
        (REFUSED, RetriableError),
    ],
    ids=named,
)
def test_position_is_not_told_before_earlier_transactions_are_ended(
    worker: Worker, answer: Any, kind: type[Exception]
) -> None:
    worker.broker.script("EndTxn", SILENCE, times=EVER)
    worker.broker.script("InitProducerId", answer, times=EVER)
    assert not worker.tried(lambda: worker.deliver(2))
    with pytest.raises(kind):
        worker.position()
    worker.broker.go_on()
    worker.work(5)


ANSWERS = [
    SILENCE, CLOSED, DONE_THEN_SILENCE, DONE_THEN_CLOSED, REFUSED, HELD, errors.NotCoordinatorError,
    errors.CoordinatorLoadInProgressError, errors.ConcurrentTransactionsError, errors.UnknownTopicOrPartitionError,
    errors.InvalidProducerEpochError, errors.OutOfOrderSequenceNumberError, errors.ProducerFencedError,
    errors.IllegalGenerationError, errors.UnknownError,
]  # fmt: skip
FAULTS = st.tuples(
    st.sampled_from([*DELIVERY, "InitProducerId", "FindCoordinator", "OffsetFetch", "Fetch", "Heartbeat"]),
    st.sampled_from(ANSWERS),
    st.integers(1, 3),
    st.sampled_from([1, 2]),
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(FAULTS, min_size=1, max_size=4))
def test_deliveries_under_any_script_are_done_once_each(client: str, script: list[tuple[str, Any, int, int]]) -> None:
    with scripted_broker() as broker:
        worker = Worker(broker, client)
        for fault in script:
            broker.script(*fault)
        for _ in range(6):
            worker.tried(lambda: worker.deliver(worker.position()))
            worker.done()
        broker.go_on()
        worker.work(8)
        worker.close()
