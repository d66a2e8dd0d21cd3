"""What a step's output becomes on the topics: messages with keys, headers and partitions."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from monitor.columns import DeadLetter, Headers, Messages
from monitor.config import Asset, Config, Detector, asset_facts
from monitor.events import (
    IncidentEvent,
    SensorEvent,
    alarm_id,
    encode_event,
    event_headers,
    identity,
    incident_id,
    to_datetime,
)
from monitor.output import Output, SensorTold, Told
from monitor.state import encode_entry, encode_key
from monitor.transport import Outgoing
from monitor.wire import SCORES_TYPE, encode_scores

_FRAME_BYTES = 512  # of a record batch around its only record, with room for `tocsin-truncated`


class Publisher:
    """Turns outputs into messages, by one configuration."""

    def __init__(self, config: Config, max_deadletter_bytes: int, max_scores_bytes: int | None = None) -> None:
        """What the topics take: a larger dead letter is cut, a larger message of scores (None: as set) split."""
        self._config = config
        self._max_scores_bytes = max_scores_bytes or config.delivery.scores_message_bytes
        self._max_deadletter_bytes = max_deadletter_bytes
        self._facts = lru_cache(maxsize=10_000)(self._asset_facts)
        self._detectors = {detector.name: detector for detector in config.detectors}

    def _asset_facts(self, asset: str) -> Asset:
        return asset_facts(self._config, asset)

    def outputs(self, output: Output) -> list[Outgoing]:
        """Messages of scores, on their input's partition, and of incident events, by asset."""
        topics = self._config.topics
        headers = [("content-type", SCORES_TYPE.encode())]
        messages = [
            Outgoing(topics.scores, data, headers=headers, partition=partition)
            for (_, partition), scores in output.scores
            for data in encode_scores(scores, self._max_scores_bytes)
        ]
        for event in self.events(output.transitions):
            messages.append(
                Outgoing(topics.anomalies, encode_event(event), event.asset.encode(), event_headers(event))
            )
        for fault in self.sensor_events(output.sensor_events):
            messages.append(
                Outgoing(topics.anomalies, encode_event(fault), fault.asset.encode(), event_headers(fault))
            )
        return messages

    def sensor_events(self, told: Iterable[SensorTold]) -> list[SensorEvent]:
        """Events of verdicts on sensors."""
        return [sensor_event(each, self._facts(each.asset)) for each in told]

    def events(self, transitions: Iterable[Told]) -> list[IncidentEvent]:
        """Incident events of transitions."""
        return [
            incident_event(told, self._facts(told.asset), self._detectors.get(told.detector)) for told in transitions
        ]

    def state(self, output: Output) -> list[Outgoing]:
        """Messages of changed state, on their input's partition."""
        return [
            Outgoing(self._config.topics.state, encode_entry(entry), encode_key(key), partition=partition)
            for (_, partition), key, entry in output.state
        ]

    def dead_letters(self, messages: Messages, dead: Sequence[DeadLetter]) -> list[Outgoing]:
        """One message for each dead letter: the original bytes, key and headers, and why."""
        return [self._dead_letter(messages, letter) for letter in dead]

    def _dead_letter(self, messages: Messages, letter: DeadLetter) -> Outgoing:
        index = letter.index
        value, key, headers = messages.values[index], messages.keys[index], messages.headers[index]
        told = {
            "topic": messages.topic,
            "partition": str(messages.partition),
            "offset": str(messages.offsets[index]),
            "timestamp": str(messages.timestamps[index]),
            "reason": letter.reason,
            "detail": letter.detail[:500],
        }
        added = [(f"tocsin-{name}", text.encode()) for name, text in told.items()]
        room = self._max_deadletter_bytes - _FRAME_BYTES - _size(added)
        cut = []
        if len(key or b"") > room:
            cut.append(f"key of {len(key or b'')} bytes")
            key = None
        room -= len(key or b"")
        if _size(headers) > room:
            cut.append(f"headers of {_size(headers)} bytes")
            headers = ()
        room -= _size(headers)
        if letter.rows is not None and len(letter.rows) + len(value or b"") <= room:
            added.append(("tocsin-rows", letter.rows))
        elif value is not None and len(value) > room:
            cut.append(f"value of {len(value)} bytes")
            value = value[: max(room, 0)]
        if cut:
            added.append(("tocsin-truncated", ", ".join(cut).encode()))
        return Outgoing(self._config.topics.deadletter, value, key, [*headers, *added])


def _size(headers: Headers) -> int:
    """Bytes of headers in a record, at most: each has two lengths of up to five bytes."""
    return sum(len(name.encode()) + len(data or b"") + 10 for name, data in headers)


def sensor_event(told: SensorTold, facts: Asset) -> SensorEvent:
    """The body of an event about a sensor, or about an asset's sensors."""
    change = told.change
    return SensorEvent(
        sensor_id=identity("sensor", told.topic, told.partition, told.asset, told.detector, change.channel),
        seq=change.seq,
        asset=told.asset,
        detector=told.detector,
        channel=change.channel,
        verdict=change.verdict,
        previous=change.previous,
        since=to_datetime(change.since),
        detected=to_datetime(change.end),
        topic=told.topic,
        partition=told.partition,
        model_version=told.model_version,
        detail=told.detail,
        labels=facts.labels,
    )


def incident_event(told: Told, facts: Asset, detector: Detector | None = None) -> IncidentEvent:
    """The body of an incident event, from a transition and what the configuration knows of asset and detector.

    One that belongs to no incident is told under the alarm's id, and its scores are those of no window.
    """
    transition, incident = told.transition, told.transition.incident
    where = told.topic, told.partition, told.asset, told.detector
    window, decision = transition.window, transition.decision
    peak, alarm = incident.peak if incident else window, alarm_id(*where)
    occurrence = incident_id(*where, incident.start) if incident else transition.labelled
    at = window.end or (decision.at if decision else 0)  # of an asset without any window yet
    return IncidentEvent(
        incident_id=occurrence if incident else alarm,
        seq=incident.seq if incident else transition.number,
        transition=transition.kind,
        state=transition.after,
        previous_state=transition.before,
        asset=told.asset,
        detector=told.detector,
        model_version=window.model_version,
        topic=told.topic,
        partition=told.partition,
        start=to_datetime(incident.start if incident else at),
        end=to_datetime(incident.last_over) if incident and not transition.active else None,
        detected=to_datetime(at),
        score=window.score,
        limit=told.limit,
        p_value=window.p_value,
        peak=peak.score,
        peak_time=to_datetime(peak.end or at),
        peak_p_value=peak.p_value,
        channels=incident.channels if incident else (),
        labels=facts.labels,
        weight=facts.weight,
        runbook=facts.runbook or (detector.runbook if detector else ""),
        reason=transition.reason,
        alarm_id=alarm,
        occurrence_id=occurrence,
        alarm_seq=transition.number,
        active=transition.active,
        priority=incident.priority if incident else "low",
        action=facts.action or (detector.action if detector else ""),
        actor=decision.user if decision else "",
        command_id=decision.command_id if decision else "",
        decided=to_datetime(decision.at) if decision else None,
        until=to_datetime(transition.until) if transition.until else None,
        label=transition.label,
        sensors=told.sensors,
        latent=incident.latent if incident else (),
    )
