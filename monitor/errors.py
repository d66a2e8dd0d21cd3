"""What can go wrong, sorted by what an operator should do about it::

TocsinError
├── RetriableError          wait: the broker is away, the call may succeed later
├── InvalidReading          nothing: the message is a dead letter, the partition moves on
├── InvalidModel            export the model again; the daemon keeps the one it has
├── InvalidConfiguration    correct the named setting and start again
├── InvalidData             correct the named file
├── InvalidCommand          nothing: what a person sent is no command, and is told
├── FencedError             another process has this instance id: stop one of the two
└── FatalError              read the sentence; the process ends
"""


class TocsinError(Exception):
    """Root of all errors that Tocsin raises on purpose; its text is a sentence for the operator."""


class RetriableError(TocsinError):
    """A call that failed for a reason that passes, such as a broker that restarts."""


class InvalidReading(TocsinError):
    """A message that is no reading; `reason` is one of `columns.REASONS`, the text is the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class InvalidModel(TocsinError):
    """A model file that breaks the contract; the text names the clause."""


class InvalidConfiguration(TocsinError):
    """A setting that is missing, unknown or out of range; the text names its path."""


class InvalidData(TocsinError):
    """A data file that cannot be read as readings; the text names the file and the column."""


class InvalidCommand(TocsinError):
    """A message on `tocsin.commands` that is no command; the text is the detail.

    `command_id`, `asset` and `user` are what could be read of it, so that it can be answered.
    """

    def __init__(self, detail: str, command_id: str = "", asset: str = "", user: str = "") -> None:
        super().__init__(detail)
        self.command_id, self.asset, self.user = command_id, asset, user


class FencedError(TocsinError):
    """Another process took this one's identity in the consumer group."""


class FatalError(TocsinError):
    """A failure that no retry mends."""
