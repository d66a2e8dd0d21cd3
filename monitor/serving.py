"""Models in service: a batch of windows through a detector's model, and through the one before it where that fails.

Shapes as in `monitor.windows`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.alarms import Policy, policy
from monitor.arrays import Bools, Ints
from monitor.calibration import limits, p_values
from monitor.drift import DriftRules, drift_rules, outside_share
from monitor.errors import InvalidModel
from monitor.modelfile import ModelMetadata
from monitor.revisions import remembered
from monitor.scored import ScoredWindows, recent_mean
from monitor.scoring import Floats, Score
from monitor.sensor_settings import DEFAULT, SensorChannel, Sensors
from monitor.sensors import Profiles, judge
from monitor.suppression import Condition
from monitor.wire import Scores

RECENT_WINDOWS, RECENT_VALUES = 256, 131_072  # most that is kept of what a detector scored, for trying models out
RECENT_OF_A_CALL = 16  # windows: copying these costs less than a hundredth of scoring a call's
FAILURES_AT_MOST = 64  # of calls with parts of a batch: two windows in it that no call survives are still found
SAYS_AT_MOST = 300  # characters of what a model call raised


@dataclass(frozen=True, slots=True)
class Watch:
    """A detector in service: its name, its model, and the rules that the configuration gives it.

    `buffer` makes room for a batch of windows where the model reads them best; `latent` is whether it tells where
    windows over the limit lie in its latent space; `conditions` are asked of every window, for suppression.
    """

    detector: str
    metadata: ModelMetadata
    score: Score
    buffer: Callable[[], Floats]
    alarm_budget_per_day: float = 1.0
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    deadband: float | None = None
    publish_expected: bool = False
    latent: bool = False
    conditions: tuple[Condition, ...] = ()
    density: tuple[int, int] | None = None
    latching: bool = False
    steps: tuple[float, float] = (math.inf, math.inf)
    sensors: Sensors = DEFAULT
    about_channels: tuple[SensorChannel, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the graph that every window needs."""
        return ("score", "channel_score", *(["reconstruction"] if self.publish_expected else []))

    @property
    def drift(self) -> DriftRules:
        """What the model says of the normal that its assets may drift from."""
        meta = self.metadata
        return drift_rules(meta.calibration, meta.channels, meta.window, meta.stride)

    def policy(self, revision_bound: int = 0) -> Policy:
        """Limits from the model's calibration and the alarm budget, delays in windows; the bound in ns."""
        meta = self.metadata
        limit = limits(meta.calibration, meta.windows_per_day, self.alarm_budget_per_day, self.deadband)
        stride_ns = meta.period_ms * 1_000_000 * meta.stride
        heights = remembered(meta.window, meta.stride)
        return policy(
            limit, stride_ns, self.on_delay_s, self.off_delay_s, revision_bound, heights,
            self.density, self.latching, self.steps,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFault:
    """Windows that a model gave no finite score for, how many of them the one before it scored, what a call raised.

    There are none where only their reconstruction failed: they are scored, and what was expected is not known.
    """

    detector: str
    version: str
    windows: int
    rescued: int = 0
    detail: str = ""


def merged(faults: Iterable[ModelFault]) -> list[ModelFault]:
    """Faults of one model as one, with what was raised first."""
    found: dict[tuple[str, str], ModelFault] = {}
    for fault in faults:
        key = fault.detector, fault.version
        known = found.get(key, ModelFault(*key, 0))
        windows, rescued = known.windows + fault.windows, known.rescued + fault.rescued
        found[key] = ModelFault(*key, windows, rescued, known.detail or fault.detail)
    return list(found.values())


class Recent:
    """Some of the newest windows that a detector scored, bounded in number and memory."""

    def __init__(self, metadata: ModelMetadata) -> None:
        shape = metadata.window, len(metadata.channels)
        most = min(RECENT_WINDOWS, RECENT_VALUES // (shape[0] * shape[1]))
        self._kept = np.empty((max(most, 1), *shape), np.float32)
        self._count = 0

    def add(self, windows: Floats) -> None:
        """Keep the last few of a call's windows (B, W, C)."""
        most = len(self._kept)
        newest = windows[-min(RECENT_OF_A_CALL, most) :]
        self._kept[(self._count + np.arange(len(newest))) % most] = newest
        self._count += len(newest)

    def windows(self) -> Floats:
        """A copy of what is kept (B, W, C). Another thread may ask while windows are added."""
        return self._kept[: self._count].copy()


class Serving:
    """A detector's model in service, and the one before it, which scores what that cannot."""

    def __init__(self, watch: Watch, revision_bound: int = 0) -> None:
        """`revision_bound` (ns) becomes part of the policy, whatever the model."""
        self._revision_bound = revision_bound
        self.watch, self.policy = watch, watch.policy(revision_bound)
        self.recent = Recent(watch.metadata)
        self.profiles = Profiles(watch.metadata, watch.sensors, watch.about_channels)
        self.faults: list[ModelFault] = []
        self._before: tuple[Watch, Policy] | None = None
        self._buffer: Floats | None = None

    def buffer(self) -> Floats:
        """Room for a batch of windows; made when the first window is closed, and used again for every batch."""
        if self._buffer is None:
            self._buffer = self.watch.buffer()
        return self._buffer

    def serve(self, watch: Watch) -> None:
        """Put another model into service and keep the one so far; raises InvalidModel if it needs other windows."""
        refuse_other_windows(self.watch.metadata, watch.metadata)
        self._before = self.watch, self.policy
        self.watch, self.policy, self._buffer = watch, watch.policy(self._revision_bound), None
        self.profiles.follow(watch.metadata)

    def fall_back(self) -> bool:
        """Put the model before the one in service back and forget the other; whether there was one."""
        if self._before is None:
            return False
        (self.watch, self.policy), self._before, self._buffer = self._before, None, None
        self.profiles.follow(self.watch.metadata)
        return True

    def score(
        self, partition: Ints, row: Ints, bucket: Ints, windows: Floats, met: Bools | None = None
    ) -> ScoredWindows:
        """Score and calibrate a batch of windows (B, W, C); those without a finite score are left out, as a fault.

        `met` (B, K) are the conditions of suppression that hold, as they were asked of what no sensor's fault hides.
        """
        self.recent.add(windows)
        return self._score(partition, row, bucket, windows, met)

    def rescore(self, bucket: Ints, windows: Floats, profile: int = 0) -> ScoredWindows:
        """Score windows (n, W, C) that were made again, less those with too little observed, and explain them all.

        `profile` is the number of the rules for their asset's sensors.
        """
        enough = judge(self.profiles.rules[profile], windows).enough
        nowhere = np.zeros_like(bucket[enough])
        return self._score(nowhere, nowhere, bucket[enough], windows[enough], None, explain=True)

    def _score(
        self, partition: Ints, row: Ints, bucket: Ints, windows: Floats, met: Bools | None, explain: bool = False
    ) -> ScoredWindows:
        met = np.zeros((len(windows), len(self.watch.conditions)), np.bool_) if met is None else met
        found, said = _score(self.watch, self.policy, partition, row, bucket, windows, met, explain)
        sound = found.sound()
        if sound.all() and not said:
            return found
        kept, failed, rescued = found.part(sound), ~sound, 0
        if self._before is not None and failed.any():
            where = partition[failed], row[failed], bucket[failed]
            again, _ = _score(*self._before, *where, windows[failed], met[failed], explain)
            again.before[:] = True
            good = again.sound()
            places = np.concatenate([np.flatnonzero(sound), np.flatnonzero(failed)[good]])
            kept, rescued = ScoredWindows.joined([kept, again.part(good)]).part(np.argsort(places)), int(good.sum())
        meta = self.watch.metadata
        self.faults.append(ModelFault(self.watch.detector, meta.version, int(failed.sum()), rescued, said))
        return kept

    def none(self) -> ScoredWindows:
        """No windows, in the shape of what this model scores."""
        return ScoredWindows.none(len(self.watch.metadata.channels), len(self.watch.conditions))

    def take_faults(self) -> list[ModelFault]:
        """The faults since the last call."""
        faults, self.faults = merged(self.faults), []
        return faults

    def versions(self) -> tuple[str, str]:
        """Version of the model in service, and of the one before it (its own where there is none)."""
        before = self._before[0] if self._before else self.watch
        return self.watch.metadata.version, before.metadata.version

    def policies(self) -> tuple[Policy, Policy]:
        """Policy of the model in service, and of the one before it (its own where there is none)."""
        return self.policy, self._before[1] if self._before else self.policy

    def tell(self, names: Sequence[str], window_end: Ints, scored: ScoredWindows) -> list[Scores]:
        """What goes to `tocsin.scores` of a partition's windows: one record for each model, nearly always one.

        Where models took turns along an asset's windows there are more: over the records these rise in time.
        """
        if not scored.before.any():
            return [self._tell(names, window_end, scored, False)]
        turns, told = scored.turns(), []
        for turn in np.unique(turns).tolist():
            mine = np.flatnonzero(turns == turn)
            told.append(
                self._tell(
                    [names[place] for place in mine.tolist()], window_end[mine], scored.part(mine), turn % 2 == 1
                )
            )
        return told

    def _tell(self, names: Sequence[str], window_end: Ints, scored: ScoredWindows, before: bool) -> Scores:
        expected = self.watch.publish_expected
        return Scores(
            self.watch.detector,
            self.versions()[before],
            names,
            window_end,
            scored.score,
            scored.p_value.astype(np.float32),
            scored.limit.astype(np.float32),
            scored.channel_score,
            scored.seen if expected else None,
            scored.expected if expected else None,
        )


def _score(
    watch: Watch,
    policy: Policy,
    partition: Ints,
    row: Ints,
    bucket: Ints,
    windows: Floats,
    met: Bools,
    explain: bool = False,
) -> tuple[ScoredWindows, str]:
    """Score and calibrate a batch of windows (B, W, C), with NaN where the model fails; and what its call raised.

    What was seen and expected is worked out for all windows where it is published or they are to be explained, else
    for those over the limit.
    """
    (score, channel_score, *rest), said = _called(watch, windows)
    p = p_values(watch.metadata.calibration, score)
    over = np.isfinite(score) & (p <= policy.limits.raise_p)
    stride = watch.metadata.stride
    seen, expected, latent, failed = _explained(
        watch, windows, np.isfinite(score) if explain else over, rest, channel_score
    )
    before = np.zeros(len(windows), np.bool_)
    limit, closed = np.full(len(windows), policy.limits.score), np.zeros(len(windows), np.bool_)
    outside = outside_share(watch.drift, windows, stride)
    found = ScoredWindows(
        partition, row, bucket, score, p, over, channel_score, seen, expected, before, limit, outside, closed,
        met, latent,
    )  # fmt: skip
    return found, said or failed


def _explained(
    watch: Watch, windows: Floats, told: Bools, rest: Sequence[Floats], channel_score: Floats
) -> tuple[Floats, Floats, NDArray[Any], str]:
    """What was seen and expected of windows (B, W, C), where they lie in latent space, and what the call raised.

    Both (B, C) are worked out for all where the reconstructions are at hand (`rest`), else for those to be `told` of.
    """
    stride = watch.metadata.stride
    latent = np.full(len(windows), None, object)
    names = (*(() if rest else ("reconstruction",)), *(("latent",) if watch.latent else ()))
    found: dict[str, Floats] = {}
    said = ""
    if told.any() and names:
        try:
            found = dict(zip(names, watch.score(windows[told], names), strict=True))
        except Exception as error:
            said = _words(error)
    for place, vector in zip(np.flatnonzero(told).tolist(), found.get("latent", ()), strict=False):
        latent[place] = vector
    if rest:
        return recent_mean(windows, stride), recent_mean(rest[0], stride), latent, said
    seen = expected = np.full_like(channel_score, np.nan)
    if told.any():
        seen, expected = seen.copy(), seen.copy()
        seen[told] = recent_mean(windows[told], stride)
        if "reconstruction" in found:
            expected[told] = recent_mean(found["reconstruction"], stride)
    return seen, expected, latent, said


def _called(watch: Watch, windows: Floats) -> tuple[Sequence[Floats], str]:
    """The outputs for these windows (B, W, C), NaN where the model's call fails; and what it raised.

    A call that fails is made again with each half of its windows: one of them may be the cause, or their number.
    """
    try:
        return watch.score(windows, watch.outputs), ""
    except Exception as error:  # ONNX Runtime's own classes share no root; whatever it is, the model is at fault
        said = _words(error)
    count, length, channels = windows.shape
    shapes = {"score": (), "channel_score": (channels,), "reconstruction": (length, channels)}
    results = [np.full((count, *shapes[name]), np.nan, np.float32) for name in watch.outputs]
    parts, failures = _halves(0, count), 1
    while parts:
        first, last = parts.pop()
        try:
            found = watch.score(windows[first:last], watch.outputs)
        except Exception:
            failures += 1
            parts += _halves(first, last) if failures < FAILURES_AT_MOST else []
        else:
            for result, each in zip(results, found, strict=True):
                result[first:last] = each
    return results, said


def _halves(first: int, last: int) -> list[tuple[int, int]]:
    middle = (first + last) // 2
    return [(first, middle), (middle, last)] if first < middle else []


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:SAYS_AT_MOST]


def refuse_other_windows(serves: ModelMetadata, candidate: ModelMetadata) -> None:
    """Raise InvalidModel where a model needs other windows than the one in service: these are being filled."""
    for what in ("period_ms", "window", "stride", "channel_names"):
        now, then = getattr(serves, what), getattr(candidate, what)
        if now != then:
            raise InvalidModel(
                f"{what}: {_few(then)}; in service: {_few(now)}. Another shape needs new windows: "
                "restart the daemon to take it"
            )


def _few(value: object) -> str:
    """A length, or some names, for a sentence."""
    if not isinstance(value, tuple):
        return str(value)
    return ", ".join(value[:8]) + (", ..." if len(value) > 8 else "")
