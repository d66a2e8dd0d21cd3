"""What the alarm page wishes to be done: a browser's words, hence checked like any input. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from monitor.commands import Action
from monitor.errors import InvalidCommand

MOST_TARGETS = 1000
LONGEST_MINUTES = 60 * 24 * 366
LAST_TIME_S = 32_503_680_000  # the year 3000: later is a mistake


class Target(Struct, frozen=True):
    """An alarm that was chosen, with the incident that the person saw."""

    asset: str
    detector: str = ""
    incident: str = ""


class Ask(Struct, frozen=True):
    """One wish; `minutes` or `until` (s) end a shelving."""

    action: Action
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=MOST_TARGETS)]
    reason: str = ""
    minutes: Annotated[float, Meta(ge=0, le=LONGEST_MINUTES)] = 0
    until: Annotated[float, Meta(ge=0, le=LAST_TIME_S)] = 0
    label: Literal["", "true", "false"] = ""

    @property
    def about_incident(self) -> bool:
        """Whether the command is about the incident that was on the screen, and not about the alarm as it is now."""
        return self.action in ("acknowledge", "accept", "label", "reset")


def read_ask(wish: object) -> Ask:
    """A wish from the browser; raises InvalidCommand with what is wrong with it."""
    try:
        return msgspec.convert(wish, Ask)
    except msgspec.ValidationError as error:
        raise InvalidCommand(f"what the page asked for is not understood ({error})") from None
