"""The daemon: polls a transport, runs the step, delivers what it gives, and tells how it goes."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from monitor.assembly import Assembly
from monitor.columns import Columns, Messages
from monitor.config import Config
from monitor.errors import RetriableError
from monitor.output import Output
from monitor.people import People
from monitor.publish import Publisher
from monitor.snapshots import Snapshots
from monitor.state import Position
from monitor.takeover import Takeover
from monitor.telemetry import Metrics
from monitor.transport import Outgoing, TopicPartition, Transport
from monitor.transport.commands import CommandLog, NoCommands
from monitor.waiting import Waiting

LOOP_LIMIT_S = 60.0  # a loop that takes longer is not healthy
REST_AFTER = 500_000  # readings


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks that the daemon reads, so that a test brings its own: wall time and monotonic time, in s."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Daemon:
    """One member of the group; `run` until stopped."""

    def __init__(
        self,
        config: Config,
        assembly: Assembly,
        transport: Transport,
        log: Any,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
        deadletter_limit: int = 1_048_576,
        scores_limit: int | None = None,
        rest: Callable[[], None] = lambda: None,
        follow: Callable[[Output], None] = lambda output: None,
        stop: threading.Event | None = None,
        commands: CommandLog | None = None,
    ) -> None:
        """`rest` is called in the first moment without work after much of it, `follow` after every step.

        `stop`, when set, ends `run`.
        """
        self.metrics = metrics or Metrics()
        self._config = config
        self._assembly = assembly
        self._transport = transport
        self._log = log
        self._clock = clock or Clock()
        self._publisher = Publisher(config, deadletter_limit, scores_limit)
        self._snapshots = Snapshots(config, assembly, log, self._clock.monotonic)
        self._last_record: dict[TopicPartition, float] = {}  # monotonic time; only owned partitions are in it
        self._last_loop = self._last_commit = self._clock.monotonic()
        self._rest, self._worked = rest, 0
        self._follow = follow
        self._undelivered = 0  # deliveries in a row that failed
        self._doubt = ""  # why what is held may be ahead of what is committed; empty where it is not
        self._stop = stop or threading.Event()
        self._retry = Waiting(self._stop, self._tell_retry)
        self._people = People(assembly.pipeline, commands or NoCommands(), log, self.metrics)
        self._takeover = Takeover(config, transport, log, self.metrics, self._clock.monotonic)

    def stop(self) -> None:
        """Ask `run` to finish the batch in hand and leave."""
        self._stop.set()

    def missing_for_health(self) -> str:
        """What keeps the daemon from being healthy; empty when the loop makes progress."""
        age = self._clock.monotonic() - self._last_loop
        return "" if age < LOOP_LIMIT_S else f"the loop has made no progress for {age:.0f} s"

    def missing_for_readiness(self) -> str:
        """What keeps the daemon from doing its work; empty when it owns partitions and is healthy."""
        reason = self._retry.reason or self._doubt
        waiting = f"waiting for the broker: {reason}" if reason else ""
        unassigned = "" if self._last_record else "no partition is assigned"
        return self.missing_for_health() or self._takeover.missing or waiting or unassigned

    def run(self) -> None:
        """Loop until it is stopped, and finish the batch in hand: what was read is delivered or left for the next."""
        try:
            while not self._stop.is_set():
                self.turn()
            if not self._doubt:
                self._snapshots.save(self._assembly.pipeline.partitions, now=True)
        finally:
            self._transport.close()
            self._snapshots.close()
            self._log.info("stopped")

    def turn(self) -> Output:
        """One poll and what follows from it."""
        self._last_loop = self._clock.monotonic()
        for where in self._takeover.look(list(self._last_record)):
            self._assign(where, {})
        polled = self._retry(lambda: self._transport.poll(self._config.delivery.max_wait_s))
        for where in polled.revoked if polled else ():
            self._revoke(where)
        if self._doubt and polled:
            polled.messages = []
            self._rewind(polled.gone)
        if self._doubt:  # stopping: what is held must not be committed
            return Output()
        for where in polled.assigned if polled else ():
            self._assign(where, polled.gone if polled else {})
        messages = [each for each in (polled.messages if polled else ()) if self._owned(each)]
        started = self._clock.monotonic()
        decoded = [(each, self._decode(each)) for each in messages]
        output = self._people.turn(round(self._clock.now() * 1e9)) + self._step(decoded)
        self._follow(output)
        self._worked += output.counts.readings
        if not messages and self._worked > REST_AFTER:
            self._rest()
            self._worked = 0
        if output.positions:
            self._deliver(decoded, output, started)
        elif started - self._last_commit > self._config.delivery.session_timeout_s / 2:
            self._commit_again()
        return output

    def _owned(self, messages: Messages) -> bool:
        return (messages.topic, messages.partition) in self._last_record

    # ---------------------------------------------------------------------------------------- partitions

    def _assign(self, where: TopicPartition, gone: Mapping[TopicPartition, int | None]) -> None:
        """Take a partition over: alarm state from the state topic, windows from the low offset on."""
        self._last_loop = self._clock.monotonic()  # each of many partitions is progress
        resumed = self._retry(lambda: self._takeover.resume(where, gone))
        if resumed is None:  # refused, or stopping
            if where in self._last_record:
                self._let_go(where)
            return
        offset, low = resumed.position.offset, resumed.position.low
        rebuilt = self._snapshots.restore(where, resumed.position, resumed.position.topic_id)
        self._takeover.tell(where, resumed, refilled=rebuilt is None)
        self._assembly.pipeline.assign(where, resumed.position, resumed.entries, rebuilt)
        self._people.assigned(where)
        begin = rebuilt.offset if rebuilt else low
        if self._retry(lambda: self._transport.start(where, begin)) is None:  # it has left, or stopping
            self._let_go(where)
            return
        self._last_record[where] = self._clock.monotonic()
        self.metrics.assigned.set(len(self._last_record))
        self._log.info(
            "assigned", partition=where[1], offset=offset, low=low, snapshot=rebuilt.offset if rebuilt else None
        )

    def _rewind(self, gone: Mapping[TopicPartition, int | None]) -> None:
        """Go back to the committed positions: what is held is doubtful after a delivery that may have failed."""
        if self._retry.pause(self._undelivered):
            return
        for where in list(self._last_record):
            self._assign(where, gone)
        if not self._stop.is_set():  # else an assignment may have been given up
            self._doubt = ""

    def _revoke(self, where: TopicPartition) -> None:
        self._takeover.forget(where)
        self._let_go(where)
        self._log.info("revoked", partition=where[1])

    def _let_go(self, where: TopicPartition) -> None:
        self._assembly.pipeline.revoke(where)
        self._last_record.pop(where, None)
        for gauge in (self.metrics.lag, self.metrics.lag_s):
            if (str(where[1]),) in gauge._metrics:
                gauge.remove(str(where[1]))
        self.metrics.assigned.set(len(self._last_record))

    # ---------------------------------------------------------------------------------------------- step

    def _decode(self, messages: Messages) -> Columns:
        """Columns of messages; the dead letters of a refill were delivered when it was read first."""
        columns = self._assembly.decoder.decode(messages)
        if columns.dead:
            new = self._assembly.pipeline.partitions[messages.topic, messages.partition].position().offset
            columns.dead = [letter for letter in columns.dead if messages.offsets[letter.index] >= new]
        return columns

    def _step(self, decoded: list[tuple[Messages, Columns]]) -> Output:
        """The step over what was read, and the closing of partitions that have fallen silent."""
        now = self._clock.monotonic()
        for messages, _ in decoded:
            self._last_record[messages.topic, messages.partition] = now
        pipeline = self._assembly.pipeline
        batches = {(m.topic, m.partition): (columns, m.next_offset) for m, columns in decoded}
        output = pipeline.step(batches) if batches else Output()
        silent = self._silent(now)
        for where in silent:
            self._last_record[where] = now  # once for each spell of silence of this length
        return output + pipeline.close_silent(silent) if silent else output

    def _silent(self, now: float) -> list[TopicPartition]:
        """Partitions without a record for the idle limit, read to the end that the broker tells now."""
        limit = self._config.input.idle_limit_s
        quiet = [where for where, last in self._last_record.items() if now - last > limit]
        try:
            return [where for where in quiet if self._transport.at_end(where)]
        except RetriableError:
            return []  # readings may be waiting there

    def _deliver(self, decoded: list[tuple[Messages, Columns]], output: Output, started: float) -> None:
        """Deliver, and tell."""
        outputs = [letter for m, c in decoded for letter in self._publisher.dead_letters(m, c.dead)]
        outputs += self._publisher.outputs(output)
        if self._send(outputs, self._publisher.state(output), output.positions):
            self._snapshots.save(self._assembly.pipeline.partitions)
            self._tell(decoded, output, started)

    def _commit_again(self) -> None:
        """Commit positions that have not moved: only a commit tells a member that another took its place."""
        self._send(
            [], [], {where: self._assembly.pipeline.partitions[where].position() for where in self._last_record}
        )

    def _send(self, outputs: list[Outgoing], state: list[Outgoing], at: dict[TopicPartition, Position]) -> bool:
        """Whether this was delivered; where not, or where that is unknown, the next turn goes back."""
        try:
            self._transport.deliver(outputs, state, at)
        except RetriableError as error:
            self._undelivered += 1
            self._doubt = str(error)
            self.metrics.rewinds.inc()
            self._log.warning("rewinding", detail=str(error))
            return False
        self._undelivered = 0
        self._last_commit = self._clock.monotonic()
        return True

    def _tell_retry(self, error: RetriableError, wait_s: float) -> None:
        self.metrics.retries.inc()
        self._log.warning("retrying", detail=str(error), wait_s=round(wait_s, 2))
        self._last_loop = self._clock.monotonic()

    def _tell(self, decoded: list[tuple[Messages, Columns]], output: Output, started: float) -> None:
        """Metrics, and the one canonical log line of a batch."""
        counts, metrics = output.counts, self.metrics
        took = self._clock.monotonic() - started
        dead: dict[str, int] = defaultdict(int)
        for _, columns in decoded:
            for letter in columns.dead:
                dead[letter.reason] += 1
        for reason, count in dead.items():
            metrics.dead.labels(reason).inc(count)
        for told in output.transitions:
            metrics.incidents.labels(told.transition.kind).inc()
        for about in output.sensor_events:
            metrics.sensors.labels(about.change.verdict).inc()
        metrics.readings.inc(counts.readings)
        metrics.late.inc(counts.late)
        metrics.resets.inc(counts.resets)
        metrics.ignored.inc(counts.ignored_values)
        metrics.unwatched.inc(counts.unwatched)
        metrics.windows.inc(counts.windows)
        metrics.not_scored.inc(counts.windows_not_scored)
        metrics.over.inc(counts.windows_over_limit)
        metrics.revisions.inc(counts.revisions)
        metrics.batch_s.observe(took)
        metrics.assets.set(len(self._assembly.decoder.assets.names))
        lag = self._tell_lag(decoded)
        self._tell_drift(output)
        for fault in output.faults:
            metrics.faults.labels(fault.detector).inc(fault.windows)
            self._log.error("model_fault", **asdict(fault))
        self._log.info(
            "batch",
            partitions=len(output.positions),
            readings=counts.readings,
            windows=counts.windows,
            not_scored=counts.windows_not_scored,
            over_limit=counts.windows_over_limit,
            incidents=len(output.transitions),
            dead_letters=sum(dead.values()),
            late=counts.late,
            unwatched=counts.unwatched,
            resets=counts.resets,
            lag=lag,
            seconds=round(took, 4),
        )

    def _tell_drift(self, output: Output) -> None:
        """How many assets drift, and a line for each that began or ceased to."""
        for (detector, kind), count in self._assembly.pipeline.drifting().items():
            self.metrics.drifting.labels(detector, kind).set(count)
        for drift in output.drifts:
            self._log.warning(
                "drift_began" if drift.began else "drift_ended",
                asset=drift.asset,
                detector=drift.detector,
                kind=drift.kind,
                since=drift.window_end.isoformat(),
                value=round(drift.value, 3),
                **({"channel": drift.channel} if drift.channel else {}),
            )

    def _tell_lag(self, decoded: list[tuple[Messages, Columns]]) -> int:
        """Lag of each partition that was read, in records and in seconds; returns the largest in records."""
        largest = 0
        for messages, _ in decoded:
            where = messages.topic, messages.partition
            stamps = [stamp for stamp in (messages.timestamps[0], messages.timestamps[-1]) if stamp >= 0]
            records = self._transport.lag(where)
            if records is None:
                continue
            largest = max(largest, records)
            self.metrics.lag.labels(str(messages.partition)).set(records)
            if stamps and self._assembly.pipeline.partitions[where].caught_up:  # else these were scored before
                now = self._clock.now()
                self.metrics.end_to_end_s.observe(max(now - stamps[0] / 1000, 0.0))
                self.metrics.lag_s.labels(str(messages.partition)).set(
                    max(now - stamps[-1] / 1000, 0.0) if records else 0
                )
        return largest
