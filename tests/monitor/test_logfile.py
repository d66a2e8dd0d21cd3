"""A log whose disk is full: lines are left out, nothing else happens, and it is told afterwards."""

import json
import os
from pathlib import Path

import pytest

from monitor.logfile import LogFile

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is always full")
def test_lines_that_a_full_disk_does_not_take_are_counted_and_told_when_there_is_room(tmp_path: Path) -> None:
    room = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    descriptor, full = os.dup(room), os.open(FULL, os.O_WRONLY)
    log = LogFile(descriptor)
    log.write('{"event": "one"}\n')
    os.dup2(full, descriptor)
    log.write('{"event": "two"}\n')
    log.write('{"event": "three"}\n')
    os.dup2(room, descriptor)
    log.write('{"event": "four"}\n')
    log.write('{"event": "five"}\n')
    for each in (room, descriptor, full):
        os.close(each)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["one", "log_left_out", "four", "five"]
    assert lines[1]["lines"] == 2


def test_line_that_was_torn_ends_before_the_next_one_begins() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    log, most = LogFile(write), 1 << 20
    log.write("x" * most + "\n")
    torn = os.read(read, most)
    log.write("next\n")
    told, following = os.read(read, most).decode().splitlines()[1:]
    for each in (read, write):
        os.close(each)
    assert set(torn) == {ord("x")}
    assert json.loads(told)["lines"] == 1
    assert following == "next"
