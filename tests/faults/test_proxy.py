"""The proxy in front of a broker that answers every request with its correlation id."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator

import pytest

from monitor.broker import free_port
from tests.faults.proxy import Api, Proxy


class Broker(socketserver.ThreadingTCPServer):
    """Keeps which requests it had."""

    daemon_threads = True

    def __init__(self) -> None:
        self.had: list[tuple[int, bytes]] = []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while length := self.rfile.read(4):
            frame = self.rfile.read(int.from_bytes(length, "big"))
            api, _, correlation, name = struct.unpack_from(">hhih", frame)
            self.server.had.append((api, frame[10 : 10 + name]))
            self.wfile.write(struct.pack(">ii", 4, correlation))


class Client:
    """A connection of a client with a name."""

    def __init__(self, port: int, name: bytes = b"one") -> None:
        self._name, self._sent = name, 0
        self._socket = socket.create_connection(("127.0.0.1", port), 10)

    def send(self, api: Api) -> None:
        self._sent += 1
        frame = struct.pack(">hhih", api, 9, self._sent, len(self._name)) + self._name
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)

    def hear(self) -> int | None:
        """The correlation id of an answer; None where the connection has ended."""
        answer = self._socket.recv(8, socket.MSG_WAITALL)
        return struct.unpack(">ii", answer)[1] if answer else None

    def ask(self, api: Api) -> int | None:
        self.send(api)
        return self.hear()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        threading.Thread(target=broker.serve_forever, daemon=True).start()
        yield broker
        broker.shutdown()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def proxy(broker: Broker, port: int) -> Iterator[Proxy]:
    with Proxy([port], [broker.server_address[1]]) as proxy:
        yield proxy


def test_requests_and_answers_pass(proxy: Proxy, broker: Broker, port: int) -> None:
    client = Client(port)
    assert [client.ask(Api.PRODUCE), client.ask(Api.END_TXN)] == [1, 2]
    assert broker.had == [(Api.PRODUCE, b"one"), (Api.END_TXN, b"one")]


def test_hook_before_is_called_once_and_the_broker_never_has_the_request(
    proxy: Proxy, broker: Broker, port: int
) -> None:
    called: list[int] = []
    hook = proxy.on(Api.END_TXN, "before", "one", lambda: called.append(len(broker.had)))
    client = Client(port)
    assert client.ask(Api.PRODUCE) == 1
    assert client.ask(Api.END_TXN) is None
    assert hook.passed.wait(10)
    assert called == [1]
    assert Client(port).ask(Api.END_TXN) == 1
    assert broker.had == [(Api.PRODUCE, b"one"), (Api.END_TXN, b"one")]


def test_hook_after_is_called_when_the_broker_has_done_it_and_the_client_never_knows(
    proxy: Proxy, broker: Broker, port: int
) -> None:
    called: list[int] = []
    proxy.on(Api.END_TXN, "after", "one", lambda: called.append(len(broker.had)))
    assert Client(port).ask(Api.END_TXN) is None
    assert called == [1]


def test_hook_of_one_client_leaves_the_others_alone(proxy: Proxy, port: int) -> None:
    hook = proxy.on(Api.END_TXN, "before", "one", lambda: None)
    assert Client(port, b"two").ask(Api.END_TXN) == 1
    assert not hook.passed.is_set()


@pytest.mark.parametrize("end", ["release", "mend"])
def test_request_that_is_held_passes_when_it_is_let_go(proxy: Proxy, broker: Broker, port: int, end: str) -> None:
    hold = proxy.hold(Api.END_TXN, client="one")
    client = Client(port)
    client.send(Api.PRODUCE)
    client.send(Api.END_TXN)
    assert client.hear() == 1
    assert hold.waits.wait(10)
    assert Client(port, b"two").ask(Api.END_TXN) == 1
    assert (Api.END_TXN, b"one") not in broker.had
    proxy.release(hold) if end == "release" else proxy.mend("on")
    assert client.hear() == 2


def test_stalled_connections_go_on(proxy: Proxy, broker: Broker, port: int) -> None:
    client = Client(port)
    assert client.ask(Api.FETCH) == 1
    proxy.stall()
    client.send(Api.FETCH)
    proxy.mend()
    assert client.hear() == 2


def test_reset_is_a_reset_and_new_connections_are_welcome(proxy: Proxy, port: int) -> None:
    client = Client(port)
    assert client.ask(Api.FETCH) == 1
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.hear()
    assert Client(port).ask(Api.FETCH) == 1


def test_cut_ends_connections_and_refuses_new_ones_until_it_is_mended(proxy: Proxy, port: int) -> None:
    client = Client(port)
    assert client.ask(Api.FETCH) == 1
    proxy.cut()
    assert client.hear() is None
    assert Client(port).hear() is None
    proxy.mend()
    assert Client(port).ask(Api.FETCH) == 1
