"""From a partition's messages to columns: asset codes, event times and values, and what is a dead letter.

Three encodings, told apart by the `content-type` header, else by configuration: JSON wide, JSON narrow, Arrow
IPC. A message that is no reading becomes a `DeadLetter` with a reason from `columns.REASONS`; of an Arrow message
only the bad rows do.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, repeat
from operator import eq, itemgetter

import numpy as np

from monitor.arrays import Ints
from monitor.arrow_records import ArrowReader
from monitor.columns import (
    NS_PER,
    AssetTable,
    Columns,
    DeadLetter,
    Headers,
    Messages,
    Rules,
    join,
)
from monitor.json_records import JsonReader
from monitor.routes import Routes

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
CONTENT_TYPES = {"json": JSON, "arrow": ARROW}


class Decoder:
    """Turns messages into columns, by the rules of one configuration."""

    def __init__(
        self,
        assets: AssetTable,
        routes: Routes,
        *,
        encoding: str = "json",
        ts_unit: str = "ms",
        max_ahead_s: float = 3600.0,
        max_message_bytes: int = 1_048_576,
    ) -> None:
        self.assets = assets
        self.channels = routes.channels
        self._default_type = CONTENT_TYPES[encoding]
        self._rules = Rules(assets, routes, NS_PER[ts_unit], int(max_ahead_s * 1e9))
        self._json = JsonReader(self._rules)
        self._arrow = ArrowReader(self._rules)
        self._max_bytes = max_message_bytes

    def decode(self, messages: Messages) -> Columns:
        """Columns of all readings in the messages, and the dead letters among them."""
        dead: list[DeadLetter] = []
        parts: list[Columns] = []
        for content_type, places in self._runs(messages, dead):
            if content_type == JSON:
                parts.append(self._json.read(messages, places, dead))
            else:
                parts += self._arrow.read(messages, places, dead)
        columns = join(parts)
        columns.dead = sorted(dead, key=lambda letter: letter.index)
        return columns

    def _runs(self, messages: Messages, dead: list[DeadLetter]) -> Iterator[tuple[str, Ints]]:
        """Places (N,) of messages that follow each other in the same encoding; those that are none are left out."""
        headers = list(messages.headers)
        whole = self._content_type_of_all(messages.values, headers)
        if whole in (JSON, ARROW):
            yield whole, np.arange(len(messages.values))
            return
        types = enumerate(self._content_types(messages.values, headers, dead))
        for content_type, run in groupby((each for each in types if each[1]), itemgetter(1)):
            yield content_type, np.array([index for index, _ in run], np.int64)

    def _content_type_of_all(self, values: list[bytes | None], headers: list[Headers]) -> str | None:
        """The content type of all messages, where it is one and none is empty or too large: no loop in Python."""
        if not all(values) or max(map(len, filter(None, values)), default=0) > self._max_bytes:
            return None
        if not any(headers):
            return self._default_type
        one = all(map(eq, headers, repeat(headers[0])))
        return _content_type(headers[0]) or self._default_type if one else None

    def _content_types(
        self, values: list[bytes | None], headers: list[Headers], dead: list[DeadLetter]
    ) -> list[str | None]:
        """Content type of each message; None for one that is already a dead letter."""
        types: list[str | None] = []
        default, most = self._default_type, self._max_bytes
        for index, (value, told) in enumerate(zip(values, headers, strict=True)):
            found: str | None = _content_type(told) or default if told else default
            if not value:
                dead.append(DeadLetter(index, "empty", "a record without a value"))
                found = None
            elif len(value) > most:
                dead.append(DeadLetter(index, "too_large", f"{len(value)} bytes, at most {most}"))
                found = None
            elif found not in (JSON, ARROW):
                dead.append(DeadLetter(index, "unknown_encoding", f"content-type {str(found)[:100]}"))
                found = None
            types.append(found)
        return types


def _content_type(headers: Headers) -> str | None:
    for name, value in headers:
        if name == "content-type" and value:
            return _media_type(value[:100])
    return None


@lru_cache(maxsize=1024)  # producers send the same few with every message
def _media_type(value: bytes) -> str:
    return value.decode("ascii", "replace").split(";")[0].strip().lower()
