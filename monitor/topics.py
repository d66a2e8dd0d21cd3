"""Names of the topics, and how each is created."""

from msgspec import Struct


class Topics(Struct, frozen=True, forbid_unknown_fields=True):
    """Topic names, a setting each."""

    readings: str = "tocsin.readings"
    scores: str = "tocsin.scores"
    anomalies: str = "tocsin.anomalies"
    deadletter: str = "tocsin.deadletter"
    commands: str = "tocsin.commands"
    state: str = "tocsin.state"
