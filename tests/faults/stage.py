"""Where a fault takes place: an installation on a cluster, readings without end, a witness, and the verdict."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monitor.admin import create_topics
from tests.e2e.site import DaemonProcess, Site, until
from tests.faults.feeder import Feed, Feeder
from tests.faults.observer import Positions, Seen, Witness, open_transactions, read
from tests.faults.oracle import Verdict, collect, judge, judge_witness, seen
from tests.faults.proxy import Proxy
from tests.faults.reference import Outputs, reference
from tests.kafka_cluster import KafkaCluster, unique

PARTITIONS = 4
RECOVERY_LIMIT_S = 15.0  # from a daemon's start to its first new commit
CATCH_UP_S = 90.0  # until everything is committed that was fed
SESSION_TIMEOUT_S = 6.0
TRANSACTION_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Result:
    """What became of one fault; `notes` say what was measured, and what failed."""

    name: str
    passed: bool = False
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    open_transactions: int = 0
    slowest_recovery_s: float = 0.0
    took_s: float = 0.0
    notes: list[str] = field(default_factory=list)


class Stage:
    """One installation on a cluster behind a proxy; a context manager that leaves nothing running.

    Daemons talk through the proxy, the feeder and all observers directly. A fault starts and breaks things, says with
    `demand` what must hold, and leaves the rest to `finish`. Without a `feed` it sends what is read by `feeder.send`;
    where one pass over the whole log is not what must come out, it puts its own function at `expected`.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        proxy: Proxy,
        folder: Path,
        client: str,
        alone: bool = True,
        feed: Feed | None = Feed(),  # noqa: B008 - frozen
        **settings: Any,
    ) -> None:
        self.cluster, self.proxy, self._alone = cluster, proxy, alone
        self.result = Result("")
        self.failures: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {
            "idle_limit_s": 300,
            "revision_bound_s": 30,
            "session_timeout_s": SESSION_TIMEOUT_S,
            "client": client,
            "delivery": f"transaction_timeout_s = {TRANSACTION_TIMEOUT_S:g}",
        }
        settings = defaults | settings
        self.site = Site(proxy.bootstrap, unique("fault"), folder, "cooperative-sticky", create=False, **settings)
        self.config = self.site.config
        self.topics = self.config.topics
        create_topics(self.config, PARTITIONS, min(3, len(cluster.ports)), timeout_s=60)
        outputs = (self.topics.scores, self.topics.anomalies, self.topics.deadletter, self.topics.state)
        self.witness = Witness(cluster.bootstrap, outputs, PARTITIONS)
        self._outputs = outputs
        self._positions = Positions(cluster.bootstrap, self.site.name, self.topics.readings, PARTITIONS)
        self._feeds = feed is not None
        self.feeder = Feeder(cluster.bootstrap, self.topics.readings, PARTITIONS, feed or Feed())
        self.expected: Callable[[], Outputs] = self.one_pass
        self.running: dict[str, DaemonProcess] = {}

    # -------------------------------------------------------------------------------------------- daemons

    def run(self, instance: str = "one") -> DaemonProcess:
        """Start a daemon."""
        self.running[instance] = self.site.run(instance)
        return self.running[instance]

    def kill(self, instance: str = "one") -> None:
        """End a daemon as a crash would."""
        self.running.pop(instance).kill()
        self.result.kills += 1

    def killed(self, instance: str = "one") -> None:
        """Note that a daemon was killed by other means."""
        self.running.pop(instance).process.wait()
        self.result.kills += 1

    def recover(self, instance: str = "one", within_s: float = RECOVERY_LIMIT_S) -> DaemonProcess:
        """Start a daemon, wait for its first new commit and demand that it comes in time."""
        before, began = self.committed(), time.monotonic()
        daemon = self.join(instance)
        self.progress(before, daemon)
        self.recovered(time.monotonic() - began, within_s, "the first new commit after a start")
        return daemon

    def join(self, instance: str) -> DaemonProcess:
        """Start a daemon and wait until it delivers, however long it takes to begin or the group to settle."""
        daemon = self.run(instance)
        until(lambda: bool(daemon.events("batch")), f"'{instance}' delivers a batch", daemon, within_s=90)
        return daemon

    def recovered(self, seconds: float, limit_s: float, what: str) -> None:
        """A recovery that took so long; it is demanded that this is within a limit."""
        self.result.slowest_recovery_s = max(self.result.slowest_recovery_s, seconds)
        self.demand(seconds <= limit_s, f"{what} took {seconds:.1f} s, at most {limit_s:g}")

    def leave(self, instance: str = "one", within_s: float = 10.0) -> None:
        """Ask a daemon for an orderly end, and demand that it keeps its promise."""
        daemon = self.running.pop(instance)
        daemon.await_events("started")  # before that a signal ends it as it ends any process
        code, seconds = daemon.signal(signal.SIGTERM)
        self.demand(code == 0, f"'{instance}' left with exit code {code}: {daemon.text[-300:]}")
        self.demand(seconds <= within_s, f"'{instance}' left after {seconds:.1f} s")

    def client(self, instance: str = "one") -> str:
        """A daemon's name in its requests, for hooks and holds of the proxy."""
        return f"{self.site.name}.{instance}"

    def mend(self) -> None:
        """End what was done to the network; only to these daemons, where other stages are on the cluster too."""
        self.proxy.mend("" if self._alone else self.site.name)

    # ------------------------------------------------------------------------------------------ positions

    def committed(self) -> dict[int, int]:
        """Committed offset of each partition."""
        return self._positions.committed()

    def ends(self) -> dict[int, int]:
        """The offset behind each partition's last record."""
        return self._positions.ends()

    def progress(
        self, since: Mapping[int, int] | None = None, *daemons: DaemonProcess, within_s: float = 90.0
    ) -> dict[int, int]:
        """Wait until a position is committed that is new; returns the committed offsets."""
        before = dict(since) if since is not None else self.committed()
        until(lambda: self.committed() != before, "a new position is committed", *daemons, within_s=within_s)
        return self.committed()

    def progress_everywhere(self, *daemons: DaemonProcess, within_s: float = 90.0) -> None:
        """Wait until every partition's committed position is a new one."""
        before = self.committed()
        moved = lambda: all(at > before[partition] for partition, at in self.committed().items())  # noqa: E731
        until(moved, "every partition moves on", *daemons, within_s=within_s)

    def grow(self, partitions: int) -> None:
        """Look at so many partitions of the input, and of what is written to the same number, from now on."""
        self._positions.grow(partitions)
        self.witness.grow((self.topics.scores, self.topics.state), partitions)

    # -------------------------------------------------------------------------------------------- verdict

    def demand(self, condition: bool, otherwise: str) -> None:
        """Note a failure where this does not hold; the fault goes on."""
        if not condition:
            self.failures.append(otherwise)

    def note(self, text: str) -> None:
        """Say what was measured."""
        self.result.notes.append(text)

    def finish(self) -> Result:
        """Stop feeding, let the daemons reach the end of the log, and hold what is there against what must be."""
        self.mend()
        self.feeder.stop()
        if not self.running:
            self.run()
        until(
            lambda: self.committed() == self.ends(),
            "everything that was fed is committed",
            *self.running.values(),
            within_s=CATCH_UP_S,
        )
        for instance in list(self.running):
            self.leave(instance)
        self.result.open_transactions = len(self._await_no_transaction())
        self.demand(not self.result.open_transactions, "transactions are open")
        self._judge()
        return self.result

    def _await_no_transaction(self) -> list[str]:
        """Transactions that are open still when each has had its timeout, and 15 s, to be ended."""
        deadline = time.monotonic() + TRANSACTION_TIMEOUT_S + 15
        while (left := self.open_transactions()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def open_transactions(self, instance: str = "") -> list[str]:
        """Transactions of all daemons, or of one, that are not over."""
        return open_transactions(self.cluster.bootstrap, f"{self.site.name}-{instance}")

    def one_pass(self) -> Outputs:
        """What one pass over the input log gives."""
        upto = {(self.topics.readings, partition): at for partition, at in self.committed().items()}
        return reference(self.config, len(upto), read(self.cluster.bootstrap, upto))

    def _judge(self) -> None:
        saw, found = self.witness.stop(), Outputs()
        there: Seen = {place: [] for place in saw}
        for place, batch in read(self.cluster.bootstrap, dict.fromkeys(there)):
            there[place] += seen(batch)
            collect(self.topics, batch, found)
        expected = self.expected()
        verdict: Verdict = judge(expected, found)
        judge_witness(saw, there, verdict)
        self.result.lost, self.result.duplicated = verdict.lost, verdict.duplicated
        self.result.wrong = verdict.wrong
        self.failures += verdict.told
        windows, events, dead = len(expected.score_table()), len(expected.events), len(expected.dead)
        self.note(f"{windows:,} windows, {events:,} incident events, {dead:,} dead letters expected")

    def __enter__(self) -> Self:
        if self._feeds:
            self.feeder.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mend()
        with contextlib.suppress(RuntimeError):
            self.feeder.stop(5.0)
        self.witness.stop()
        self._positions.close()
        self.site.close()


@contextlib.contextmanager
def ground(home: Path, folder: Path, nodes: int = 3) -> Iterator[tuple[KafkaCluster, Proxy]]:
    """A cluster behind a proxy, for as many stages as like."""
    with (
        KafkaCluster(home, folder, nodes, proxied=True) as cluster,
        Proxy(cluster.proxy_ports, cluster.behind_ports) as proxy,
    ):
        yield cluster, proxy
