"""What people and their timers decide about the alarms of a pipeline's partitions, and what there is to tell of it.

Times of people are wall clock (ns), as an argument.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from monitor.alarms import AlarmState, Decision, Transition, limit_at
from monitor.commands import Command
from monitor.events import incident_id
from monitor.lifecycle import Step, accept, expire, obey, reject
from monitor.output import Output, Told, TopicPartition
from monitor.pipeline import Pipeline
from monitor.watched import Watched


def accept_as_normal(
    pipeline: Pipeline, where: TopicPartition, asset: str, at: int, detector: str | None = None
) -> Output:
    """End an asset's open incident and take its level for normal, decided at this event time (ns).

    Of all its detectors, or of one. Nothing is told where no alarm is open.
    """
    output = Output()
    for watched, _ in _that_saw(pipeline, where, asset):
        if detector in (None, watched.rules.detector):
            row, before = watched.alarm_of(asset)
            after, told = accept(watched.rules.policy, before, at)
            if told is not None:
                output.transitions.append(_decide(where, watched, row, before, (after, told)))
    return _whole(pipeline, output, [where])


def command(pipeline: Pipeline, where: TopicPartition, given: Command, now: int) -> Output:
    """What a command does to the alarms of its asset, and the answer to it.

    Of all its detectors, or of the one that it names; one answer where none of them can obey, and none at all where
    the asset was never seen on this partition.
    """
    seen = _that_saw(pipeline, where, given.asset)
    asked = [each for each in seen if given.detector in ("", each[0].rules.detector)]
    if seen and not asked:
        decision = Decision(given.user, given.reason, now, given.command_id)
        return refuse(pipeline, where, given.asset, f"no detector '{given.detector}' watches it", decision)
    tried = [(watched, *_tried(where, watched, given, now, version)) for watched, version in asked]
    obeyed = [each for each in tried if each[-1][1].kind != "rejected"]
    told = [_decide(where, *each) for each in obeyed or tried[:1]]
    return _whole(pipeline, Output(transitions=told), [where])


def _tried(
    where: TopicPartition, watched: Watched, given: Command, now: int, version: str
) -> tuple[int, AlarmState, Step]:
    """What a command would do to one alarm: its row, its state before, and the step."""
    rules = watched.rules
    row, before = watched.alarm_of(given.asset)
    view = before.in_view
    shown = incident_id(*where, given.asset, rules.detector, view.start) if view else ""
    return row, before, obey(rules.policy, before, given, now, version, shown, rules.longest_shelving_s)


def refuse(pipeline: Pipeline, where: TopicPartition, asset: str, why: str, decision: Decision) -> Output:
    """The answer to what cannot be a command for this asset; none where it was never seen on this partition."""
    output = Output()
    for watched, version in _that_saw(pipeline, where, asset)[:1]:
        row, before = watched.alarm_of(asset)
        output.transitions.append(_decide(where, watched, row, before, reject(before, why, decision, version)))
    return _whole(pipeline, output, [where])


def unshelve_due(pipeline: Pipeline, now: int) -> Output:
    """Alarms whose time on the shelf is up come back."""
    output, touched = Output(), []
    for where, partition in pipeline.partitions.items():
        if not partition.caught_up:
            continue
        for number, watched in enumerate(partition.detectors):
            for row in [row for row, until in watched.shelved.items() if until <= now]:
                before = watched.alarms[row]
                after, told = expire(before, now, pipeline.version(number))
                if told is not None:
                    output.transitions.append(_decide(where, watched, row, before, (after, told)))
                    touched.append(where)
    return _whole(pipeline, output, touched)


def _that_saw(pipeline: Pipeline, where: TopicPartition, asset: str) -> list[tuple[Watched, str]]:
    """Detectors that have seen an asset on this partition, each with the version of its model in service."""
    numbered = enumerate(pipeline.partitions[where].detectors)
    return [(each, pipeline.version(number)) for number, each in numbered if each.has_seen(asset)]


def _decide(where: TopicPartition, watched: Watched, row: int, before: AlarmState, step: Step) -> Told:
    """Make it so, and tell it with the limit before and the sensors that are faulty now."""
    after, told = step
    watched.decided(row, after)
    limit = _limit(watched, before, told)
    return Told(*where, watched.names[row], watched.rules.detector, limit, told, watched.sensing.faults(row))


def _limit(watched: Watched, before: AlarmState, told: Transition) -> float:
    """The limit that an incident's windows are held against, whatever its own raise has lifted."""
    at_rest = replace(before, lift=0.0) if told.incident else before
    return limit_at(watched.rules.policy, at_rest, told.window.end, told.window.model_version)


def _whole(pipeline: Pipeline, output: Output, touched: Iterable[TopicPartition]) -> Output:
    """The output with the state and the positions that go with decisions."""
    for where in dict.fromkeys(touched if output.transitions else ()):
        partition = pipeline.partitions[where]
        output.state += [(where, key, entry) for key, entry in partition.changed_state()]
        output.positions[where] = partition.position()
    return output
