"""What people decide at the command line, where there is nobody to hear it."""

import pytest
from msgspec.structs import replace

from monitor.broker import free_port
from monitor.config import parse
from monitor.decide import answers_in, decide
from monitor.errors import InvalidCommand, RetriableError
from monitor.events import encode_event, event_headers
from monitor.transport import Outgoing
from tests.dashboard.plant import incident
from tests.monitor.test_lifecycle import command


def test_settings_of_the_client_that_are_decided_here_are_no_fault_in_the_configuration():
    """One file serves all processes: what another client is told of waits and isolation must not end this one."""
    kafka = {
        "bootstrap_servers": f"127.0.0.1:{free_port()}",
        "isolation_level": "read_uncommitted",
        "acks": 1,
        "max_block_ms": 500,
        "bootstrap_timeout_ms": 500,
    }
    with pytest.raises(RetriableError, match="No answer from the broker"):
        decide(parse({"kafka": kafka}), command("acknowledge"))


def test_what_no_daemon_would_obey_is_refused_before_a_broker_is_asked():
    with pytest.raises(InvalidCommand, match="takes a reason"):
        decide(parse({}), command("shelve", reason=""))


def test_what_is_no_event_of_ours_is_passed_over_on_the_way_to_the_answer():
    mine, other = (replace(incident("pump-1", 3), command_id=name) for name in ("mine", "other"))
    told = [Outgoing("a", encode_event(each), headers=event_headers(each)) for each in (other, mine)]
    strangers = [Outgoing("a", b"no event"), Outgoing("a", None, headers=[("ce_type", b"com.example.other")])]
    assert list(answers_in([*strangers, *told], "mine")) == [mine]
