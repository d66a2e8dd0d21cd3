"""Calls that fail for a reason that passes: made again, ever more rarely, until they succeed or the process stops."""

import threading
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_random_exponential

from monitor.errors import RetriableError

T = TypeVar("T")
FIRST_S, MOST_S = 0.2, 3.0


class Waiting:
    """Makes calls until they succeed; `reason` is what the last failed one said, empty when nothing is waited for."""

    def __init__(
        self, stop: threading.Event, tell: Callable[[RetriableError, float], object], most_s: float = MOST_S
    ) -> None:
        """`tell` hears of each failure and of the seconds until the next try, at most about `most_s`."""
        self.reason = ""
        self._stop, self._tell = stop, tell
        self._failure: RetriableError | None = None
        self._retrying = Retrying(
            retry=retry_if_exception_type(RetriableError),
            wait=wait_random_exponential(multiplier=2 * FIRST_S, max=most_s, min=FIRST_S / 2),
            sleep=sleep_using_event(stop),
            stop=stop_when_event_set(stop),
            before_sleep=self._failed,
            retry_error_callback=lambda state: None,
        )

    def __call__(self, call: Callable[[], T]) -> T | None:
        """What the call gives when it succeeds; None only where the process is asked to stop before that."""
        self._failure = None

        def attempt() -> T:
            if self._failure is not None and self._stop.is_set():
                raise self._failure  # the stop ended the wait: no other try, which may wait for long itself
            result = call()
            self.reason = ""
            return result

        return self._retrying(attempt)

    def pause(self, failures: int) -> bool:
        """Wait as after so many failures in a row; whether the process is asked to stop."""
        state = RetryCallState(self._retrying, None, (), {})
        state.attempt_number = failures
        return self._stop.wait(self._retrying.wait(state))

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RetriableError):
            self._failure, self.reason = error, str(error)
            self._tell(error, state.upcoming_sleep)
