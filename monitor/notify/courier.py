"""A thread for each endpoint, which sends what is for it, in order, and tries until it is taken or refused."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_random_exponential

from monitor.annunciations import SECOND
from monitor.notify.alert import Alert, Item
from monitor.notify.http import Refused, Undelivered
from monitor.notify.sending import Send
from monitor.notify.settings import Endpoint
from monitor.notify.telemetry import Metrics

FIRST_WAIT_S = 0.5


class _Stopped(Exception):
    """The process ends while something waits to be tried again."""


class Courier:
    """What waits for an endpoint, and the thread that sends it; `again` tells an Alertmanager of all that stands."""

    def __init__(
        self,
        endpoint: Endpoint,
        send: Send,
        again: Callable[[Iterable[Alert]], None] | None,
        log: Any,
        metrics: Metrics,
    ) -> None:
        self.endpoint = endpoint
        self._send, self._again, self._log, self._metrics = send, again, log, metrics
        self._waiting: deque[Item] = deque()
        self._standing: dict[str, Alert] = {}
        self._taken: deque[int] = deque()
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._away = ""
        self._due = 0.0  # monotonic time of the next time that all that stands is told
        self._thread = threading.Thread(target=self._run, name=f"notify-{endpoint.name}", daemon=True)
        self._retrying = Retrying(
            retry=retry_if_exception_type(Undelivered),
            wait=self._wait_s,
            sleep=sleep_using_event(self._stop),
            stop=stop_when_event_set(self._stop),
            before_sleep=self._failed,
            reraise=True,
        )
        self._backoff = wait_random_exponential(
            multiplier=2 * FIRST_WAIT_S, max=endpoint.retry_most_s, min=FIRST_WAIT_S
        )

    def start(self, items: Iterable[Item], standing: Mapping[str, Alert]) -> None:
        """Begin with what was waiting, and with what the endpoint was told and is not over."""
        self._waiting.extend(items)
        self._standing.update(standing)
        self._thread.start()

    def submit(self, items: Iterable[Item]) -> None:
        """Take more."""
        with self._news:
            self._waiting.extend(items)
            self._news.notify()

    def taken(self) -> list[int]:
        """Numbers of items that are done with, each told once."""
        found = []
        while self._taken:
            found.append(self._taken.popleft())
        return found

    @property
    def lives(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> None:
        """End; a request that is under way may end after."""
        self._stop.set()
        with self._news:
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._tell_standing()
                with self._news:
                    if not self._waiting:
                        self._news.wait(self._idle_s())
                    item = self._waiting[0] if self._waiting else None
                if item is not None and not self._stop.is_set():
                    self._deliver(item)
        except (_Stopped, Undelivered):
            return

    def _idle_s(self) -> float | None:
        """How long there may be nothing to do."""
        return max(self._due - time.monotonic(), 0.0) if self._again and self._standing else None

    def _deliver(self, item: Item) -> None:
        name = self.endpoint.name
        try:
            self._retrying(self._attempt, item)
        except Refused as error:
            self._metrics.failures.labels(name).inc()
            self._log.error("notification_refused", endpoint=name, kind=item.kind, key=item.key, detail=str(error))
        else:
            self._metrics.deliveries.labels(name).inc()
            self._metrics.delay_s.labels(name).observe(max(time.time() - item.at / SECOND, 0.0))
            self._note(item)
        self._waiting.popleft()
        self._taken.append(item.number)

    def _attempt(self, item: Item) -> None:
        if self._stop.is_set():
            raise _Stopped
        try:
            self._send(item)
        except (Refused, Undelivered):
            raise
        except Exception as error:  # whatever is wrong with one must not keep back those behind it
            raise Refused(f"{type(error).__name__}: {error}") from error
        self._answered()

    def _note(self, item: Item) -> None:
        """What stands is told again from now on, and what is over is not."""
        if item.alert is None or self._again is None:
            return
        if item.kind == "resolve":
            self._standing.pop(item.key, None)
            return
        if not self._standing:
            self._due = time.monotonic() + self.endpoint.resend_s
        self._standing[item.key] = item.alert

    def _tell_standing(self) -> None:
        if self._again is None or not self._standing or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self.endpoint.resend_s
        over = {item.key for item in list(self._waiting) if item.kind == "resolve"}
        try:
            self._again([alert for key, alert in self._standing.items() if key not in over])
            self._answered()
        except Undelivered as error:
            self._due = time.monotonic() + min(self.endpoint.resend_s, 5.0)
            self._tell_away(error)
        except Refused as error:
            self._log.error("notification_refused", endpoint=self.endpoint.name, kind="again", detail=str(error))

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(self._backoff(state), error.after_s if isinstance(error, Undelivered) else 0.0)

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._metrics.endpoint_retries.labels(self.endpoint.name).inc()
        self._tell_away(error)

    def _tell_away(self, error: BaseException | None) -> None:
        """Say it once for each reason, not with every try."""
        if str(error) != self._away:
            self._away = str(error)
            self._log.warning("endpoint_away", endpoint=self.endpoint.name, detail=self._away)

    def _answered(self) -> None:
        if self._away:
            self._away = ""
            self._log.info("endpoint_answers", endpoint=self.endpoint.name)
