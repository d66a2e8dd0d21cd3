"""The loop of `tocsin notify`: reads events, puts them in order, steps, keeps what changed, hands over to send.

What an event changes is on the state topic, with the position behind it, before anything of it is sent.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from monitor.annunciations import SECOND
from monitor.config import Config
from monitor.errors import RetriableError
from monitor.events import GroupEvent, encode_event, event_headers
from monitor.notify import notifier
from monitor.notify.courier import Courier
from monitor.notify.notifier import Notifier
from monitor.notify.ordering import Held, Ordering
from monitor.notify.outbox import Outbox, done
from monitor.notify.reading import read
from monitor.notify.resuming import resumed, state_messages
from monitor.notify.settings import Endpoint
from monitor.notify.state import changes
from monitor.notify.telemetry import Metrics
from monitor.state import Position
from monitor.transport import Outgoing, TopicPartition, Transport
from monitor.waiting import Waiting

LOOP_LIMIT_S = 60.0
SHOW_EVERY_S = 5.0  # the figures, on /metrics
STOP_WITHIN_S = 2.0

MakeCourier = Callable[[Endpoint], Courier]


class Loop:
    """One member of the group, with an anomalies topic for its input; `run` until stopped."""

    def __init__(
        self,
        config: Config,
        endpoints: tuple[Endpoint, ...],
        transport: Transport,
        make_courier: MakeCourier,
        log: Any,
        metrics: Metrics,
        stop: threading.Event,
    ) -> None:
        """`config` is this process's own, whose input is the anomalies topic; see `service.own_config`."""
        self._config, self._settings, self._endpoints = config, config.notify, endpoints
        self._topic, self._transport, self._make_courier = config.topics.readings, transport, make_courier
        self._log, self._metrics, self._stop = log, metrics, stop
        self._retry = Waiting(stop, self._tell_retry)
        self._partitions: set[int] = set()
        self._ordering, self._state = Ordering(), Notifier()
        self._couriers: dict[str, Courier] = {}
        self._doubt, self._undelivered = "", 0
        self._active = False  # whether what is held is what is kept
        self._last_loop = self._last_commit = time.monotonic()
        self._shown = 0.0
        self._stood_by: float | None = None  # monotonic time since which there was nothing to do; inf: that was told

    def missing_for_health(self) -> str:
        """What keeps the process from being healthy; empty when the loop makes progress."""
        age = time.monotonic() - self._last_loop
        if age >= LOOP_LIMIT_S:
            return f"the loop has made no progress for {age:.0f} s"
        ended = [name for name, courier in list(self._couriers.items()) if not courier.lives]
        return f"nothing is sent to {', '.join(ended)}" if ended and not self._stop.is_set() else ""

    def missing_for_readiness(self) -> str:
        """What keeps it from its work; one that stands by is ready to take over."""
        reason = self._retry.reason or self._doubt
        return self.missing_for_health() or (f"waiting for the broker: {reason}" if reason else "")

    def run(self) -> None:
        """Loop until stopped; what was read and not kept is read again."""
        try:
            while not self._stop.is_set():
                self.turn()
        finally:
            self._end_couriers()
            self._keep_what_was_taken()
            self._let_go()
            self._transport.close()
            self._log.info("stopped")

    def turn(self) -> None:
        """One poll and what follows from it."""
        self._last_loop = time.monotonic()
        polled = self._retry(lambda: self._transport.poll(self._config.delivery.max_wait_s))
        if polled is None:
            return
        if polled.revoked or polled.assigned:
            self._partitions -= {partition for _, partition in polled.revoked}
            self._partitions |= {partition for _, partition in polled.assigned}
            self._let_go()
            self._doubt = self._doubt if self._partitions else ""
        if self._doubt and self._retry.pause(self._undelivered):
            return
        if self._doubt or not self._active:
            polled.messages = []  # those that were read are read again, from where the state ends
            self._take_over()
        if not self._active:
            self._tell_waiting()
            return
        read(self._ordering, polled.messages, self._state.done, time.time_ns(), self._tell_unreadable)
        self._work()

    # ---------------------------------------------------------------------------------------- taking over

    def _take_over(self) -> None:
        """Begin anew with what is kept: state, positions, and what was waiting to be sent."""
        self._let_go()
        found = self._retry(self._resumed) if self._partitions else None
        if found is None:  # standing by, or stopping
            return
        (state, over), self._state = found, found[0]
        positions = {(self._topic, partition): Position(at, at) for partition, at in state.done.items()}
        if not self._send([], [*over, *changes(state)], positions):
            return
        self._active, self._stood_by = True, None
        for endpoint in self._endpoints:
            box = state.boxes.setdefault(endpoint.name, Outbox())
            courier = self._couriers[endpoint.name] = self._make_courier(endpoint)
            courier.start([] if notifier.in_history(state) else box.items.values(), box.open)
        self._metrics.active.set(1)
        self._log.info(
            "notifying",
            partitions=dict(sorted(state.done.items())),
            pending={name: len(box.items) for name, box in state.boxes.items()},
            standing=sum(each.since > 0 for each in state.performance.alarms.values()),
        )

    def _resumed(self) -> tuple[Notifier, list[tuple[str, None]]]:
        """The state, with every partition read from where that ends."""
        names = [endpoint.name for endpoint in self._endpoints]
        state, over = resumed(self._config, names, self._transport, self._partitions, self._log)
        for partition in self._partitions:
            self._ordering.start(partition, state.done[partition])
            self._transport.start((self._topic, partition), state.done[partition])
        return state, over

    def _let_go(self) -> None:
        self._active = False
        self._end_couriers()
        self._couriers, self._ordering, self._state = {}, Ordering(), Notifier()
        self._metrics.active.set(0)

    def _end_couriers(self) -> None:
        for courier in self._couriers.values():
            courier.stop(0.0)
        for courier in self._couriers.values():
            courier.stop(STOP_WITHIN_S / len(self._couriers))

    # ---------------------------------------------------------------------------------------------- work

    def _tell_unreadable(self, partition: int, offset: int, detail: str) -> None:
        self._metrics.unreadable.inc()
        self._log.warning("event_unreadable", partition=partition, offset=offset, detail=detail)

    def _work(self) -> None:
        """Handle what is due, keep what it changes, and hand over what is to be sent."""
        now = time.time_ns()
        finished = self._finished()
        ready = self._ordering.ready(round(self._settings.order_wait_s * SECOND), now, self._unread)
        history = notifier.in_history(self._state)
        groups = self._handle(ready, now)
        moved = self._positions()
        if history:
            self._leave_history()
        else:
            notifier.let_pass(self._endpoints, self._state, now)
        changed = any(box.changed or box.changed_items or box.changed_open for box in self._state.boxes.values())
        if ready or moved or finished or changed:
            self._keep(groups, moved, len(ready))
        elif time.monotonic() - self._last_commit > self._config.delivery.session_timeout_s / 2:
            self._send([], [], {(self._topic, p): Position(o, o) for p, o in self._state.done.items()})
        self._show(now)

    def _unread(self, partition: int) -> bool:
        lag = self._transport.lag((self._topic, partition))
        return lag is None or lag > 0

    def _handle(self, ready: Iterable[Held], now: int) -> list[GroupEvent]:
        groups: list[GroupEvent] = []
        gathered = {name: box.gathered.count for name, box in self._state.boxes.items()}
        for held in ready:
            if held.event is None:
                continue
            history = held.offset < self._state.history.get(held.partition, 0)
            endpoints = notifier.unlimited(self._endpoints) if history else self._endpoints
            changed = notifier.step(self._settings, endpoints, self._state, held.event, held.told, now)
            groups += changed
            self._metrics.events.inc()
        for name, box in self._state.boxes.items():
            more = box.gathered.count - gathered.get(name, 0)
            self._metrics.gathered.labels(name).inc(more)
            if more and not gathered.get(name):
                self._log.warning("notifications_gathered", endpoint=name, since=box.gathered.since)
        return groups

    def _positions(self) -> dict[TopicPartition, Position]:
        """Positions that have moved."""
        moved = {}
        for partition in self._partitions:
            at = self._ordering.position(partition)
            if at != self._state.done.get(partition):
                self._state.done[partition] = at
                moved[self._topic, partition] = Position(at, at)
        return moved

    def _leave_history(self) -> None:
        """Of what was there before, only what stands is news; it is sent once all of it was read."""
        state = self._state
        notifier.forget_history(state)
        for partition in list(state.history):
            read = state.done[partition] == self._ordering.next_offset[partition] and not self._unread(partition)
            if read or state.done[partition] >= state.history[partition]:
                del state.history[partition]  # behind the last event may be what ends a transaction
        if not notifier.in_history(state):
            for box in state.boxes.values():
                box.changed_items |= box.items.keys()

    def _finished(self) -> int:
        count = 0
        for name, courier in self._couriers.items():
            for number in courier.taken():
                done(self._state.boxes[name], number)
                count += 1
        return count

    def _keep(self, groups: list[GroupEvent], moved: dict[TopicPartition, Position], events: int) -> None:
        """Groups, state and positions together; then what is new is sent."""
        fresh = {name: sorted(box.changed_items & box.items.keys()) for name, box in self._state.boxes.items()}
        messages = [
            Outgoing(
                self._config.topics.anomalies, encode_event(each), each.origin.asset.encode(), event_headers(each)
            )
            for each in groups
        ]
        if not self._send(messages, changes(self._state), moved):
            return
        self._hand_over(fresh)
        for each in groups:
            self._metrics.groups.labels(each.transition).inc()
        if events:
            pending = {name: len(box.items) for name, box in self._state.boxes.items()}
            self._log.info("notified", events=events, groups=len(groups), pending=pending)

    def _hand_over(self, fresh: Mapping[str, Iterable[int]]) -> None:
        if notifier.in_history(self._state):
            return
        for name, courier in self._couriers.items():
            box = self._state.boxes[name]
            courier.submit([box.items[number] for number in fresh.get(name, ())])

    def _send(
        self, outputs: list[Outgoing], parts: list[tuple[str, Any]], positions: dict[TopicPartition, Position]
    ) -> bool:
        """Whether this is kept; where not, or where that is unknown, work begins anew with what is."""
        try:
            self._transport.deliver(outputs, state_messages(self._config, parts), positions)
        except RetriableError as error:
            self._undelivered += 1
            self._doubt = str(error)
            self._metrics.rewinds.inc()
            self._log.warning("rewinding", detail=str(error))
            return False
        self._undelivered, self._doubt, self._last_commit = 0, "", time.monotonic()
        return True

    def _keep_what_was_taken(self) -> None:
        """On an orderly end: what endpoints have taken is not sent again."""
        if not self._doubt and self._finished():
            self._send([], changes(self._state), {})

    # -------------------------------------------------------------------------------------------- telling

    def _show(self, now: int) -> None:
        """Gauges, now and then."""
        for name, box in self._state.boxes.items():
            self._metrics.pending.labels(name).set(len(box.items) + box.gathered.count)
        if time.monotonic() - self._shown < SHOW_EVERY_S:
            return
        self._shown = time.monotonic()
        self._metrics.show(notifier.figures_now(self._settings, self._state, now))
        self._metrics.open_groups.set(sum(each.told for each in self._state.groups.clusters.values()))
        lags = [self._transport.lag((self._topic, partition)) for partition in self._partitions]
        self._metrics.lag.set(sum(lag or 0 for lag in lags))

    def _tell_waiting(self) -> None:
        """Say it once when another process has had the events for a while."""
        now = time.monotonic()
        self._stood_by = now if self._stood_by is None else self._stood_by
        if now - self._stood_by > self._config.delivery.session_timeout_s and not self._partitions:
            self._stood_by = float("inf")
            self._log.info("standing_by")

    def _tell_retry(self, error: RetriableError, wait_s: float) -> None:
        self._metrics.retries.inc()
        self._log.warning("retrying", detail=str(error), wait_s=round(wait_s, 2))
        self._last_loop = time.monotonic()
