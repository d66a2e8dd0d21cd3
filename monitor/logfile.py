"""Where the log goes, when that can fail: a daemon must not end because the disk of its log is full."""

import json
import os
from datetime import UTC, datetime

STANDARD_ERROR = 2


class LogFile:
    """A log's lines, to a file descriptor; of those that it does not take, the next one that it takes tells.

    Nothing is kept in a buffer: a line is there once, or not at all, or torn where the disk was full in its middle.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left_out = 0
        self._torn = False

    def write(self, line: str) -> None:
        """Write a line with its end, after what is to be told of others."""
        rest = (self._told() + line).encode()
        try:
            while rest:
                written = os.write(self._descriptor, rest)
                self._torn, rest = True, rest[written:]
        except OSError:
            self._left_out += 1
        else:
            self._torn, self._left_out = False, 0

    def _told(self) -> str:
        if not self._left_out:
            return ""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        told = {"lines": self._left_out, "event": "log_left_out", "level": "warning", "timestamp": now}
        return "\n" * self._torn + json.dumps(told) + "\n"

    def flush(self) -> None:
        """Nothing is held back."""
