"""Faults of the input topic itself: it grows while it is read, and it is deleted and created anew."""

import numpy as np

from monitor.admin import create_topics
from monitor.encode import encode_json, partition_of
from monitor.recording import Recording
from tests.e2e.site import until
from tests.faults.feeder import Feed, Feeder, readings
from tests.faults.inputs import follow
from tests.faults.reference import Reference
from tests.faults.runner import fault
from tests.faults.stage import PARTITIONS, Stage

NOTICED_S = 60.0
ASSETS = 12


def send(stage: Stage, first: int, seconds: int, to: int | None = None) -> None:
    """Readings of so many seconds of event time, each to its asset's partition or all to one, acknowledged."""
    feeder = Feeder(stage.cluster.bootstrap, stage.topics.readings, PARTITIONS, Feed())
    recording = readings(first, seconds, ASSETS, np.random.default_rng(first))
    if to is not None:  # an asset belongs on one partition
        recording = of_others(recording)
    for message in encode_json(recording):
        assert message.key is not None
        where = partition_of(message.key.decode(), PARTITIONS) if to is None else to
        feeder.send(where, message.key, message.value, message.headers)
    feeder.stop()


def of_others(recording: Recording) -> Recording:
    """The same readings, of other assets."""
    names = [name.replace("pump-", "pump-9") for name in recording.assets]
    return Recording(names, recording.asset, recording.ts, recording.channels, recording.values)


@fault(alone=False, quick={"times": 1}, long={"times": 4}, metadata_max_age_ms=1000)
def partitions_added(stage: Stage, times: int) -> None:
    """The input gets one more partition under load: it waits for its state, then all are read, the new one whole."""
    daemon = stage.join("one")
    for count in range(PARTITIONS + 1, PARTITIONS + 1 + times):
        told = len(daemon.events("waiting_for_topics"))
        stage.site.add_partitions(count)
        until(lambda: len(daemon.events("waiting_for_topics")) > told, "it is noticed", daemon, within_s=NOTICED_S)  # noqa: B023
        send(stage, first=1000 * count, seconds=60, to=count - 1)
        create_topics(stage.config, count, timeout_s=60)  # as `tocsin topics` does
        stage.grow(count)
        until(
            lambda: 0 < stage.ends()[count - 1] == stage.committed()[count - 1],  # noqa: B023
            "the new partition is read",
            daemon,
            within_s=NOTICED_S,
        )
    stage.note(f"{PARTITIONS} partitions became {PARTITIONS + times}")


@fault(alone=False, quick={"times": 1}, long={"times": 4}, feed=None, metadata_max_age_ms=1000)
def topic_created_anew(stage: Stage, times: int) -> None:
    """The input is deleted and created anew under a running daemon: it reads all of the new one; alarms stay."""
    known, nothing = Reference(stage.config), dict.fromkeys(range(PARTITIONS), 0)
    daemon = stage.run()
    daemon.await_events("assigned", PARTITIONS)
    for turn in range(times + 1):
        if turn:
            told = len(daemon.events("topic_recreated"))
            stage.site.delete(stage.topics.readings)
            create_topics(stage.config, PARTITIONS, 3, timeout_s=60)
        send(stage, first=200 * turn, seconds=100)
        if turn:
            noticed = lambda: len(daemon.events("topic_recreated")) > told  # noqa: B023, E731
            until(noticed, "the new topic is noticed", daemon, within_s=NOTICED_S)
        until(lambda: stage.committed() == stage.ends(), "all of it is read", daemon, within_s=NOTICED_S)
        for partition in nothing:
            known.begin_anew(partition)
        follow(stage, known, nothing, stage.ends())
    stage.expected = lambda: known.outputs
