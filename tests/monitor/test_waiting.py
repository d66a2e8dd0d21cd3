"""Calls that fail for a reason that passes are made again until they succeed, or until the process is to stop."""

import threading

import pytest

from monitor.errors import FatalError, RetriableError
from monitor.waiting import Waiting


class Call:
    """Fails so often, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.made, self._failures = 0, failures

    def __call__(self) -> int:
        self.made += 1
        if self.made <= self._failures:
            raise RetriableError(f"no answer, {self.made}")
        return self.made


def test_call_is_made_until_it_succeeds_and_each_failure_is_told_with_its_wait():
    told, reasons, call = [], [], Call(2)
    waiting = Waiting(threading.Event(), lambda error, wait_s: told.append((str(error), wait_s)), most_s=0.15)
    assert waiting(lambda: reasons.append(waiting.reason) or call()) == 3
    assert [text for text, _ in told] == ["no answer, 1", "no answer, 2"]
    assert all(0.1 <= wait_s <= 0.15 for _, wait_s in told)
    assert reasons == ["", "no answer, 1", "no answer, 2"]
    assert waiting.reason == ""


def test_stop_ends_the_wait_without_another_try_and_what_was_waited_for_is_still_known():
    stop, call = threading.Event(), Call(100)
    waiting = Waiting(stop, lambda error, wait_s: stop.set())
    assert waiting(call) is None
    assert call.made == 1
    assert waiting.reason == "no answer, 1"


def test_call_after_the_stop_is_made_once():
    stop = threading.Event()
    stop.set()
    waiting = Waiting(stop, lambda error, wait_s: pytest.fail("waited"))
    assert waiting(Call(0)) == 1
    failing = Call(100)
    assert waiting(failing) is None
    assert failing.made == 1


def test_error_that_does_not_pass_is_raised_at_once():
    def call() -> None:
        raise FatalError("no")

    with pytest.raises(FatalError):
        Waiting(threading.Event(), lambda error, wait_s: pytest.fail("waited"))(call)


def test_pause_ends_with_the_stop():
    stop = threading.Event()
    waiting = Waiting(stop, lambda error, wait_s: None, most_s=0.01)
    assert not waiting.pause(5)
    stop.set()
    assert waiting.pause(5)
