"""What people decide, in the daemon: commands for the assets that it owns, and the timers of shelved alarms.

Each partition has its own position in the commands' topic, which is committed with the rest, so that a command is
obeyed once.
"""

from typing import Any

from monitor.alarms import Decision
from monitor.commands import Command, decode_command
from monitor.decisions import command as decide
from monitor.decisions import refuse, unshelve_due
from monitor.errors import InvalidCommand
from monitor.output import Output
from monitor.pipeline import Pipeline
from monitor.telemetry import Metrics
from monitor.transport import TopicPartition
from monitor.transport.commands import CommandLog, Posted


class People:
    """Commands that were read and wait for partitions that are still being rebuilt."""

    def __init__(self, pipeline: Pipeline, commands: CommandLog, log: Any, metrics: Metrics) -> None:
        self._pipeline, self._commands, self._log, self._metrics = pipeline, commands, log, metrics
        self._waiting: list[Posted] = []
        self._begun = False
        self._first: dict[TopicPartition, int] = {}  # where partitions without a position began

    def assigned(self, where: TopicPartition) -> None:
        """A partition came: commands are read again from its position on; without any it begins with new ones."""
        partition, at = self._pipeline.partitions[where], self._at
        if partition.cmd is None:
            partition.cmd = self._first.get(where)
        offset = partition.cmd
        if not self._begun or (offset is not None and (at is None or offset < at)):
            self._begun = True
            self._commands.seek(offset)
            self._waiting = []

    @property
    def _at(self) -> int | None:
        """The oldest command that is at hand, or the next one."""
        return self._waiting[0].offset if self._waiting else self._commands.position

    def turn(self, now: int) -> Output:
        """Obey what was read, and bring back what was shelved until now (ns, wall clock)."""
        self._waiting += self._commands.take()
        end = self._waiting[-1].offset + 1 if self._waiting else self._commands.position
        output = Output()
        for where, partition in self._pipeline.partitions.items():
            if not partition.caught_up:
                continue
            if partition.cmd is None and self._at is not None:
                partition.cmd = self._first[where] = self._at
            for posted in self._waiting:
                if partition.cmd is not None and posted.offset >= partition.cmd:
                    partition.cmd = posted.offset + 1
                    output += self._obey(where, posted, now)
            if partition.cmd is not None and end is not None:
                partition.cmd = max(partition.cmd, end)
        if all(partition.caught_up for partition in self._pipeline.partitions.values()):
            self._waiting = []
        return output + unshelve_due(self._pipeline, now)

    def _obey(self, where: TopicPartition, posted: Posted, now: int) -> Output:
        """What one command does on one partition; the log line says what became of it."""
        try:
            command = decode_command(posted.value)
        except InvalidCommand as error:
            return self._refuse(where, posted, error, now)
        output = decide(self._pipeline, where, command, now)
        for told in output.transitions:
            self._tell(command, told.detector, told.transition.kind, told.transition.reason)
        return output

    def _refuse(self, where: TopicPartition, posted: Posted, error: InvalidCommand, now: int) -> Output:
        decision = Decision(error.user, "", now, error.command_id)
        output = refuse(self._pipeline, where, error.asset, f"it is no command: {error}", decision)
        if output.transitions or where == min(self._pipeline.partitions):
            self._metrics.commands.labels("unreadable").inc()
            self._log.warning("command_unreadable", offset=posted.offset, detail=str(error)[:500])
        return output

    def _tell(self, command: Command, detector: str, kind: str, reason: str) -> None:
        rejected = kind == "rejected"
        self._metrics.commands.labels("rejected" if rejected else "obeyed").inc()
        self._log.info(
            "command",
            action=command.action,
            asset=command.asset,
            detector=detector,
            user=command.user,
            command_id=command.command_id,
            outcome=kind,
            **({"why": reason} if rejected else {}),
        )
