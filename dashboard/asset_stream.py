"""The stream of one asset and detector: its past once, then only windows, incidents and sensors that are new."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dashboard.fleet import HIDING, WORDS, State, Watch, is_stale, judge, state_of, watch
from dashboard.fleet_stream import SPARK_POINTS, alarms_by_key
from dashboard.jsonable import number, seconds
from dashboard.live import Glimpse, Plant, Trace
from dashboard.names import ChannelNames
from dashboard.payload import columns, incident, sensor_fault
from monitor.commands import Command, said

INCIDENTS_SHOWN = 50
DECISIONS_SHOWN = 5


@dataclass(slots=True)
class AssetStream:
    """One asset; `detector` may be empty: the first by name, once there is one.

    `incident` is one that is shown however old it is; `answer` tells what became of a command.
    """

    plant: Plant
    names: ChannelNames
    asset: str
    detector: str = ""
    incident: str = ""
    answer: Callable[[str], tuple[str, str]] = lambda _command_id: ("", "")
    _cursor: int = 0
    _epoch: int = -1
    _shown: dict[str, Any] = field(default_factory=dict)

    def step(self, now_s: float) -> dict[str, Any]:
        """New windows as columns, and what else changed; `reset` tells that older columns are of another model."""
        self.detector = self.detector or next(iter(self.plant.detectors_of(self.asset)), "")
        glimpse = self.plant.since(self.asset, self.detector, self._cursor, max(self._epoch, 0))
        changed: dict[str, Any] = {}
        if glimpse is not None:
            if glimpse.epoch != self._epoch:
                changed["reset"] = True
            self._cursor, self._epoch = glimpse.total, glimpse.epoch
            changed["columns"] = columns(glimpse.points)
        shown = self._facts(glimpse, now_s)
        changed |= {name: value for name, value in shown.items() if self._shown.get(name, ...) != value}
        self._shown = shown
        return changed

    def whole(self) -> dict[str, Any]:
        """Everything up to the last step."""
        glimpse = self.plant.since(self.asset, self.detector)
        if glimpse is None or glimpse.epoch != self._epoch:
            return self._shown
        late = glimpse.total - self._cursor  # what came since the step travels with the next one
        return self._shown | {"columns": columns(glimpse.points.take(slice(0, len(glimpse.points) - late)))}

    def _facts(self, glimpse: Glimpse | None, now_s: float) -> dict[str, Any]:
        """What is known beside the columns; each is sent again only where it changed."""
        facts: dict[str, Any] = {
            "asset": self.asset,
            "detector": self.detector,
            "detectors": self.plant.detectors_of(self.asset),
            "assets": sorted({*self.plant.assets(), self.asset} - {""}),
            "incidents": self._incidents(),
            "decisions": self._decisions(),
            "sensors": [
                sensor_fault(e) for e in self.plant.book.sensor_faults(self.asset) if e.detector == self.detector
            ],
        }
        if glimpse is None:
            return facts
        width = glimpse.points.channel_scores.shape[1]
        channels = self._shown.get("channels")
        if channels is None or len(glimpse.points):
            names = self.names.of(self.detector, glimpse.model_version, width)
            channels = [{"name": c.name, "unit": c.unit} for c in names]
        facts |= {"model_version": glimpse.model_version, "rows": self.plant.bounds.rows, "channels": channels}
        return facts | self._judgement(glimpse, now_s)

    def _incidents(self) -> list[dict[str, Any]]:
        events = [e for e in self.plant.incidents(self.asset) if e.detector == self.detector]
        asked = [e for e in events[INCIDENTS_SHOWN:] if e.incident_id == self.incident]
        return [incident(event) for event in events[:INCIDENTS_SHOWN] + asked]

    def _decisions(self) -> list[dict[str, Any]]:
        """What people asked of this asset last, and what became of it."""
        commands = [d.command for d in self.plant.book.decisions() if d.command and d.command.asset == self.asset]
        ours = [command for command in commands if command.detector in ("", self.detector)]
        return [self._decision(command) for command in ours[:DECISIONS_SHOWN]]

    def _decision(self, command: Command) -> dict[str, Any]:
        answer, why = self.answer(command.command_id)
        return {
            "what": said(command.action),
            "user": command.user,
            "at": command.at.timestamp(),
            "answer": answer,
            "why": why,
        }

    def _judgement(self, glimpse: Glimpse, now_s: float) -> dict[str, Any]:
        """State of the asset, as its tile has it."""
        seen = self._watch(glimpse)
        alarm = alarms_by_key(self.plant.book.alarms_of(self.asset)).get((self.asset, self.detector))
        stale = is_stale(seen, self.plant.newest_ns, now_s)
        state = judge(alarm, seen.ratio, stale)
        return {
            "state": state.name.lower(),
            "word": WORDS[state],
            "stale": stale,
            "hidden": WORDS[state_of(alarm)] if state_of(alarm) in HIDING else "",
            "priority": alarm.priority if alarm and state < State.OVER else None,
            "until": seconds(alarm.until) if alarm else None,
            "ratio": number(seen.ratio),
            "p": number(seen.p_value),
            "newest": glimpse.newest_ns / 1e9,
        }

    def _watch(self, glimpse: Glimpse) -> Watch:
        """Judged by its recent past, since the points that travel may be none."""
        recent = self.plant.since(self.asset, self.detector, max(glimpse.total - SPARK_POINTS, 0), glimpse.epoch)
        at = (recent or glimpse).points
        return watch(
            Trace(
                glimpse.asset,
                glimpse.detector,
                glimpse.total,
                glimpse.newest_ns,
                glimpse.arrived_s,
                at.window_end,
                at.score,
                at.limit,
                at.p_value,
            )
        )
