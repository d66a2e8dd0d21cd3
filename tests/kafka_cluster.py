"""Apache Kafka for tests: a cluster in KRaft mode on loopback, each node a process that can be killed."""

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from monitor.broker import answers_kafka, die_with_parent, free_port

CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
START_TIMEOUT_S = 60.0

# Small and quick: few internal partitions, no initial rebalance delay, a dead node noticed after 6 s.
PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{second_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{second_advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
log.cleaner.backoff.ms=1000
"""


class KafkaCluster:
    """Nodes 0 to N-1, each broker and controller at once; a context manager.

    home: a folder with `libs/`; folder: where data, settings and logs go. With three nodes and more,
    topics have three copies of which two must be in sync. `proxied` gives each node a second listener, at
    `behind_ports`, whose clients are sent on to `proxy_ports`, where a proxy is to answer; the nodes themselves
    and all clients of `bootstrap` talk directly.
    """

    def __init__(self, home: Path, folder: Path, nodes: int = 1, proxied: bool = False) -> None:
        self.home = home
        found: set[int] = set()
        while len(found) < 4 * nodes:
            found.add(free_port())
        ports = list(found)
        self.ports, controller_ports = ports[:nodes], ports[nodes : 2 * nodes]
        self.behind_ports, self.proxy_ports = ports[2 * nodes : 3 * nodes], ports[3 * nodes :]
        self._proxied = proxied
        self._folders = [folder / f"node-{node}" for node in range(nodes)]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * nodes
        self._write_settings(controller_ports)

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes, for `bootstrap_servers`."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def _write_settings(self, controller_ports: list[int]) -> None:
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controller_ports))
        copies = 3 if len(self.ports) >= 3 else 1
        for node, folder in enumerate(self._folders):
            folder.mkdir(parents=True, exist_ok=True)
            settings = PROPERTIES.format(
                node=node,
                voters=voters,
                port=self.ports[node],
                controller_port=controller_ports[node],
                second_listener=f",PROXIED://127.0.0.1:{self.behind_ports[node]}" if self._proxied else "",
                second_advertised=f",PROXIED://127.0.0.1:{self.proxy_ports[node]}" if self._proxied else "",
                folder=folder,
                copies=copies,
                in_sync=2 if copies > 1 else 1,
            )
            (folder / "server.properties").write_text(settings)

    def _java(self, node: int, log: str, *arguments: str) -> subprocess.Popen[bytes]:
        options = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command = ["java", *options, "-XX:+ExitOnOutOfMemoryError", "-cp", f"{self.home}/libs/*", *arguments]
        with (self._folders[node] / log).open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _settings(self, node: int) -> str:
        return str(self._folders[node] / "server.properties")

    def start_all(self) -> Self:
        """Format the folders, start every node, return when each answers."""
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c"]
        nodes = range(len(self.ports))
        formatting = [self._java(node, "format.log", *tool, self._settings(node)) for node in nodes]
        for node, process in zip(nodes, formatting, strict=True):
            if process.wait(START_TIMEOUT_S):
                raise RuntimeError((self._folders[node] / "format.log").read_text())
        self.start(*nodes)
        return self

    def start(self, *nodes: int) -> None:
        """Start nodes that were killed or stopped, and return when each answers: without a majority none does."""
        for node in nodes:
            self._launch(node)
        for node in nodes:
            self._await_answer(node)

    def _launch(self, node: int) -> None:
        self._processes[node] = self._java(node, "broker.log", "kafka.Kafka", self._settings(node))

    def _await_answer(self, node: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        process = self._processes[node]
        while not answers_kafka("127.0.0.1", self.ports[node]):
            if process is None or process.poll() is not None or time.monotonic() > deadline:
                log = (self._folders[node] / "broker.log").read_text().splitlines()[-20:]
                raise RuntimeError(f"node {node} did not start:\n" + "\n".join(log))
            time.sleep(0.05)

    def runs(self, node: int) -> bool:
        """Whether a node's process lives."""
        process = self._processes[node]
        return process is not None and process.poll() is None

    def pid(self, node: int) -> int:
        """The process of a node that runs."""
        process = self._processes[node]
        assert process is not None
        return process.pid

    def signal(self, node: int, number: int) -> None:
        """Send a signal to a node: SIGSTOP and SIGCONT hang it and let it go on."""
        process = self._processes[node]
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def kill(self, node: int) -> None:
        """End a node at once, as a power cut would, and return when it is gone."""
        self.signal(node, signal.SIGKILL)
        self._wait(node, 10.0)

    def stop(self, node: int) -> None:
        """Shut a node down in order, or kill it where that takes more than 20 s."""
        self.signal(node, signal.SIGCONT)
        self.signal(node, signal.SIGTERM)
        try:
            self._wait(node, 20.0)
        except subprocess.TimeoutExpired:
            self.kill(node)

    def _wait(self, node: int, timeout_s: float) -> None:
        process = self._processes[node]
        if process is not None:
            process.wait(timeout_s)

    def __enter__(self) -> Self:
        try:
            return self.start_all()
        except BaseException:
            self.kill_all()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()  # nothing of it is kept, so there is nothing to shut down in order

    def kill_all(self) -> None:
        """End every node at once."""
        for node in range(len(self.ports)):
            self.kill(node)


def kafka_home() -> Path | None:
    """KAFKA_HOME, else the folder beside the project; None where neither has `libs/`."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "kafka"
    home = Path(os.environ.get("KAFKA_HOME") or beside)
    return home if (home / "libs").is_dir() else None


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
