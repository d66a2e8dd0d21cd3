"""Names of the topics, what a broker says of them, and whether that is enough for the daemon's work."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct

NOTIFY = "tocsin.notify"  # first part of the keys under which `tocsin notify` keeps its own on the state topic


class Topics(Struct, frozen=True, forbid_unknown_fields=True):
    """Topic names, a setting each."""

    readings: str = "tocsin.readings"
    scores: str = "tocsin.scores"
    anomalies: str = "tocsin.anomalies"
    deadletter: str = "tocsin.deadletter"
    commands: str = "tocsin.commands"
    state: str = "tocsin.state"


@dataclass(slots=True, frozen=True)
class TopicNow:
    """What the broker says of a topic at this moment: its partitions, 0 where there is no such topic, and its id.

    A topic that was deleted and created anew has another id; None where the broker has no ids.
    """

    partitions: int = 0
    id: str | None = None


def lacking(topics: Topics, now: Mapping[str, TopicNow], partitions: int | None = None) -> str:
    """What these topics lack for input partitions below this number, all by default; empty where it is nothing.

    Scores and state are written to the input partition's number, so they need as many.
    """
    needed = now.get(topics.readings, TopicNow()).partitions if partitions is None else partitions
    found = {name: now.get(name, TopicNow()).partitions for name in (topics.readings, topics.scores, topics.state)}
    found |= {name: now.get(name, TopicNow()).partitions for name in (topics.anomalies, topics.deadletter)}
    missing = [name for name, count in found.items() if not count]
    if missing:
        return f"create them with `tocsin topics`: {', '.join(missing)}"
    few = [f"{name} has {found[name]}" for name in (topics.scores, topics.state) if found[name] < needed]
    if few:
        return f"fewer partitions than {topics.readings}: {', '.join(few)}; add them with `tocsin topics`"
    return ""
