"""Commands of people: checked against their role, published to `tocsin.commands`, and their answers awaited.

Only script code of a page calls `publish`: what a browser sends is a wish, and the role is the logged-in user's.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from kafka import KafkaProducer
from kafka.errors import KafkaError

from dashboard.access import User
from dashboard.book import Book
from monitor.cluster import addresses, command_producer_settings, made
from monitor.commands import Action, Command, decode_command, encode_command, objection, said
from monitor.config import Config
from monitor.errors import InvalidCommand, RetriableError

ANSWER_WITHIN_S = 10.0
BROKER_WITHIN_S = 5.0

Answer = Literal["asked", "done", "rejected", "not confirmed"]


@dataclass(slots=True)
class Commands:
    """One producer for all pages, made with the first command; `book` is where answers arrive."""

    config: Config
    book: Book
    clock: Callable[[], float] = time.time
    _producer: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, user: User, action: Action, asset: str, **fields: Any) -> Command:
        """Send one command and return it once the broker has it on all its copies.

        `fields` are those of `Command`: detector, reason, incident_id, until, label. Raises InvalidCommand where this
        user may not, or something is missing; RetriableError where the broker is away, and then nothing is known of
        the command but what `answer` tells later.
        """
        command = build(user, action, asset, uuid.uuid4().hex, self.clock(), **fields)
        topic, where = self.config.topics.commands, addresses(self.config.kafka)
        with self._lock:
            try:
                sent = self._connected().send(topic, encode_command(command), key=command.asset.encode())
                sent.get(timeout=BROKER_WITHIN_S)
            except (KafkaError, OSError) as error:
                self._disconnect()
                raise RetriableError(
                    f"The broker at {where} has not confirmed the command to {said(action)} {asset} "
                    f"({type(error).__name__}); look whether it was done before you try again."
                ) from None
        self.book.add_command(command)
        return command

    def answer(self, command_id: str) -> tuple[Answer, str]:
        """What became of a command, and why it was rejected; without an answer in ten seconds, not confirmed."""
        found = self.book.decision(command_id)
        if found is not None and found.rejection:
            return "rejected", found.rejection
        if found is not None and found.answers:
            return "done", ""
        began = found.command.at.timestamp() if found is not None and found.command is not None else 0.0
        return ("asked" if self.clock() - began <= ANSWER_WITHIN_S else "not confirmed"), ""

    def close(self) -> None:
        """Let the producer go."""
        with self._lock:
            self._disconnect()

    def _connected(self) -> Any:
        if self._producer is None:
            settings = command_producer_settings(self.config.kafka, BROKER_WITHIN_S)
            self._producer = made(KafkaProducer, **settings)
        return self._producer

    def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0.5)


def build(user: User, action: Action, asset: str, command_id: str, now_s: float, **fields: Any) -> Command:
    """A command as this user may give it; raises InvalidCommand with the reason why not."""
    if user.role is None:
        raise InvalidCommand(f"{user.name} has no role here, hence may not {said(action)}")
    at = datetime.fromtimestamp(now_s, UTC)
    command = Command(
        command_id=command_id, action=action, asset=asset, user=user.name, role=user.role, at=at, **fields
    )
    command = decode_command(encode_command(command))  # lengths and types are checked where a command is read
    if wrong := objection(command):
        raise InvalidCommand(wrong)
    return command
