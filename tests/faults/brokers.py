"""Faults of the brokers: killed, stopped and restarted in turn, cut off, slow, refusing, and out of disk."""

import contextlib
import resource
import signal
import time
from collections.abc import Iterator

from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka.errors import TransactionalIdNotFoundError

from tests.e2e.site import DaemonProcess, until
from tests.faults.observer import patiently
from tests.faults.proxy import Api
from tests.faults.runner import fault
from tests.faults.stage import TRANSACTION_TIMEOUT_S, Stage

GOES_ON_S = 60.0  # after a fault, until every partition has a new commit
IN_SYNC_S = 120.0  # after a broker's return, until all copies are equal again
STEP_WITHIN_S = 10.0  # of a daemon's work in which it ends a transaction
TELLS_S = 60.0  # until a daemon that cannot go on says so


def coordinators(stage: Stage) -> dict[str, int]:
    """The nodes that coordinate the daemons' group, and the transactions of one of them."""
    kafka = AdminClient({"bootstrap.servers": stage.cluster.bootstrap})
    group = kafka.describe_consumer_groups([stage.site.name])[stage.site.name].result(30)
    found = {"the group": group.coordinator.id}
    admin, name = KafkaAdminClient(bootstrap_servers=stage.cluster.bootstrap), f"{stage.site.name}-one"
    with contextlib.suppress(TransactionalIdNotFoundError):  # at least once there are none
        found["transactions"] = admin.describe_transactions([name])[name].coordinator_id
    admin.close()
    return found


def nodes(stage: Stage, count: int) -> list[tuple[int, str]]:
    """So many nodes with what they are, the coordinators of transactions and of the group first."""
    roles: dict[int, list[str]] = {}
    for role, node in sorted(coordinators(stage).items(), reverse=True):
        roles.setdefault(node, [f"node {node}"]).append(f"coordinator of {role}")
    for node in range(len(stage.cluster.ports)):
        roles.setdefault(node, [f"node {node}"])
    return [(node, ", ".join(names)) for node, names in roles.items()][:count]


def goes_on(stage: Stage, what: str) -> None:
    """Wait until every partition has a new commit, and demand that it comes in time."""
    began = time.monotonic()
    stage.progress_everywhere(*stage.running.values(), within_s=2 * GOES_ON_S)
    seconds = time.monotonic() - began
    stage.demand(seconds <= GOES_ON_S, f"{what}: went on after {seconds:.1f} s, at most {GOES_ON_S:g}")
    stage.note(f"{what}: went on after {seconds:.1f} s")


def await_copies(stage: Stage) -> None:
    """Wait until every partition has all its copies in sync: a second node may be taken away only then."""
    kafka = AdminClient({"bootstrap.servers": stage.cluster.bootstrap, "log_level": 0})

    def equal() -> bool:
        topics = patiently(lambda: kafka.list_topics(timeout=10)).topics.values()
        return all(len(each.isrs) == len(each.replicas) for topic in topics for each in topic.partitions.values())

    until(equal, "all copies are in sync", within_s=IN_SYNC_S)


@contextlib.contextmanager
def restored(stage: Stage) -> Iterator[None]:
    """Whatever happens within, the other faults find a whole cluster."""
    try:
        yield
    finally:
        stage.proxy.mend()
        every = range(len(stage.cluster.ports))
        for node in every:
            stage.cluster.signal(node, signal.SIGCONT)
        stage.cluster.start(*(node for node in every if not stage.cluster.runs(node)))
        await_copies(stage)


@fault(quick={"count": 1}, long={"count": 3})
def brokers_killed(stage: Stage, count: int) -> None:
    """kill -9 of each broker in turn, the coordinators first: the daemon goes on with the others."""
    stage.join("one")
    for node, name in nodes(stage, count):
        with restored(stage):
            stage.cluster.kill(node)
            goes_on(stage, f"{name} killed")
    goes_on(stage, "all back")


@fault(quick={"count": 1, "seconds": 15}, long={"count": 3, "seconds": 60})
def brokers_stopped(stage: Stage, count: int, seconds: float) -> None:
    """SIGSTOP of each broker in turn, coordinators first, which answers no more and closes nothing; then SIGCONT."""
    stage.join("one")
    for node, name in nodes(stage, count):
        with restored(stage):
            stage.cluster.signal(node, signal.SIGSTOP)
            began = time.monotonic()
            goes_on(stage, f"{name} stopped")
            time.sleep(max(began + seconds - time.monotonic(), 0))
    goes_on(stage, "all awake")


@fault(quick=None, long={"count": 3})
def brokers_restarted(stage: Stage, count: int) -> None:
    """Each broker shut down in order and started again, one after the other: an upgrade of the cluster."""
    stage.join("one")
    for node, name in nodes(stage, count):
        with restored(stage):
            stage.cluster.stop(node)
            goes_on(stage, f"{name} shut down")
    goes_on(stage, "all back")


@fault(quick={"count": 1, "seconds": 5}, long={"count": 3, "seconds": 20})
def broker_out_of_reach(stage: Stage, count: int, seconds: float) -> None:
    """Connections to one broker are reset, then refused, then answer no more; the cluster itself is well."""
    stage.join("one")
    for node, name in nodes(stage, count):
        stage.proxy.reset(node)
        goes_on(stage, f"{name}: connections reset")
        for breaks, what in ((stage.proxy.cut, "refused"), (stage.proxy.stall, "silent")):
            breaks(node)
            time.sleep(seconds)
            stage.proxy.mend()
            goes_on(stage, f"{name}: {what} for {seconds:g} s")


@fault(quick=None, long={"count": 3, "delay_s": 0.4})
def broker_is_slow(stage: Stage, count: int, delay_s: float) -> None:
    """Every frame to and from one broker takes longer, coordinators first: slower, and nothing else."""
    stage.join("one")
    for node, name in nodes(stage, count):
        stage.proxy.delay(delay_s, node)
        goes_on(stage, f"{name} slow by {delay_s:g} s")
        stage.proxy.delay(0.0, node)


@fault(alone=False, quick={"times": 1}, long={"times": 5})
def commit_held_back(stage: Stage, times: int) -> None:
    """EndTxn alone is held back until the daemon gave it up or has begun again: it must not count for what is new."""
    daemon = stage.join("one")
    for released_at in ("rewinding", "assigned") * times:
        hold = stage.proxy.hold(Api.END_TXN, client=stage.client())
        if not hold.waits.wait(STEP_WITHIN_S):
            stage.note("no transaction was seen")
            return
        told = len(daemon.events(released_at))
        again = lambda: len(daemon.events(released_at)) > told  # noqa: B023, E731
        until(again, f"the daemon is {released_at}", daemon, within_s=90)
        stage.proxy.release(hold)
        goes_on(stage, f"EndTxn released when the daemon was {released_at}")


@contextlib.contextmanager
def disk_full(*processes: int) -> Iterator[None]:
    """Nothing that these processes write to a file fits any more (RLIMIT_FSIZE).

    A write fails as on a full disk, with EFBIG for ENOSPC, and no right to mount a small one is needed.
    """
    before = [(process, resource.prlimit(process, resource.RLIMIT_FSIZE)) for process in processes]
    for process, (_, most) in before:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, most))
    try:
        yield
    finally:
        for process, limits in before:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process, resource.RLIMIT_FSIZE, limits)


@fault(quick={"counts": (3,)}, long={"counts": (1, 3)})
def broker_disk_full(stage: Stage, counts: tuple[int, ...]) -> None:
    """The disk of a broker is full, then those of all: the daemon stalls, says so, and goes on when there is room."""
    daemon = stage.join("one")
    for count in counts:
        full = [node for node, _ in nodes(stage, count)]
        with restored(stage):
            with disk_full(*(stage.cluster.pid(node) for node in full)):
                if count == 1:
                    goes_on(stage, "one disk full")
                else:
                    tells(stage, daemon)
            for node in full:  # a broker that cannot write ends by itself, sooner or later
                stage.cluster.kill(node)
        goes_on(stage, "room again")


def tells(stage: Stage, daemon: DaemonProcess) -> None:
    """Wait until a daemon that cannot go on says why."""
    told = lambda: len(daemon.events("retrying")) + len(daemon.events("rewinding"))  # noqa: E731
    before, began = told(), time.monotonic()
    until(lambda: told() > before, "the stall is told", daemon, within_s=TELLS_S)
    stage.note(f"the stall is told after {time.monotonic() - began:.1f} s")


@fault(
    alone=False,
    quick={"seconds": 5},
    long={"seconds": 30},
    revision_bound_s=0,
    delivery=f'transaction_timeout_s = {TRANSACTION_TIMEOUT_S:g}\nsnapshots = "snapshots"\nsnapshot_interval_s = 1.0',
)
def daemon_disk_full(stage: Stage, seconds: float) -> None:
    """The disk with a daemon's log and snapshots is full: it works on, says so when there is room, and is killed."""
    daemon = stage.join("one")
    with disk_full(daemon.process.pid):
        time.sleep(seconds)
        goes_on(stage, "the daemon's disk full")
    [told, *_] = daemon.await_events("log_left_out")
    stage.note(f"{told['lines']} lines of its log were left out")
    goes_on(stage, "room again")
    stage.kill()
    stage.join("one")
