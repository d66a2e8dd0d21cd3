"""Following models while the daemon runs: a thread looks, loads and tries; the loop swaps between two steps."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from monitor import runtime
from monitor.assembly import Assembly, model_of, watch
from monitor.config import Config, Detector
from monitor.errors import TocsinError
from monitor.modelfile import CURRENT, resolve_model
from monitor.output import Output
from monitor.scoring import Model, digest_of
from monitor.serving import ModelFault, Watch
from monitor.telemetry import Metrics
from monitor.trial import try_out

TRIAL_WITHIN_S = 60.0  # to load a model and to try it: a graph that never ends is given up
Identity = tuple[object, ...]


@dataclass(slots=True)
class _Followed:
    """A detector, the model before the one in service (the loop's), and what was looked at last (the thread's)."""

    number: int
    detector: Detector
    before: Model | None = None
    seen: Identity = ()


class Following:
    """Takes what a detector's pointer or file names into service when it is another model and passes its trial.

    `look` may run in a thread of its own, as `with following:` makes it do every `scoring.follow_s`;
    `between_steps` belongs to the loop.
    """

    def __init__(
        self,
        config: Config,
        assembly: Assembly,
        log: Any,
        metrics: Metrics,
        prepare: Callable[[Model], Model] = lambda model: model,
        within_s: float = TRIAL_WITHIN_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`prepare` makes of a model that passed what is put into service."""
        self._config = config
        self._pipeline = assembly.pipeline
        self._log, self._metrics = log, metrics
        self._prepare, self._within_s, self._clock = prepare, within_s, clock
        self._serves = assembly.models  # kept as they are: what is in service now
        self._followed = [_Followed(number, detector) for number, detector in enumerate(config.detectors)]
        # What shall serve from the next step on; None: what serves already.
        self._passed: SimpleQueue[tuple[_Followed, Model | None]] = SimpleQueue()
        self._ended = threading.Event()
        for counter in (metrics.faults, metrics.refused, metrics.swaps, metrics.rollbacks):
            for detector in config.detectors:
                counter.labels(detector.name)  # shown as 0 until something happens

    def __enter__(self) -> Self:
        """Begin to look, unless `scoring.follow_s` is 0."""
        if self._config.scoring.follow_s:
            threading.Thread(target=self._keep_looking, name="following", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking; a model that is being tried is not waited for."""
        self._ended.set()

    def _keep_looking(self) -> None:
        while not self._ended.wait(self._config.scoring.follow_s):
            self.look()

    # ------------------------------------------------------------------------------------------ the thread's part

    def look(self) -> None:
        """Look at every detector's model once; what has changed is loaded and tried, or refused aloud."""
        for each in self._followed:
            identity = identify(each.detector.model)
            if identity == each.seen:
                continue
            each.seen = identity
            try:
                self._try(each)
            except Exception as error:  # whatever a file may cause, the model in service stays
                if identify(each.detector.model) != identity:
                    each.seen = ()  # it is being written: what was found is neither the old nor the new
                    continue
                self._refuse(each, error)

    def _try(self, each: _Followed) -> None:
        """Load and try a detector's model; one that serves already needs neither."""
        serves = self._serves[each.detector.name]
        if digest_of(each.detector.model) == serves.digest:
            self._passed.put((each, None))
            return
        with runtime.at_most(self._within_s):
            candidate = model_of(self._config, each.detector)
            outputs = self._watch(each, candidate).outputs
            slowest_s = self._config.scoring.slowest_ms / 1000
            recent = self._pipeline.recent(each.number)
            try_out(candidate, serves, recent, outputs, slowest_s, self._clock)
        self._passed.put((each, candidate))

    def _watch(self, each: _Followed, model: Model) -> Watch:
        return watch(self._config, each.detector, model, self._config.scoring.max_batch)

    def _refuse(self, each: _Followed, error: Exception) -> None:
        serves = self._serves[each.detector.name].metadata.version
        detail = str(error) if isinstance(error, TocsinError) else repr(error)
        self._metrics.refused.labels(each.detector.name).inc()
        file = _named(each.detector.model)
        self._log.error("model_refused", detector=each.detector.name, file=file, serves=serves, detail=detail)

    # ---------------------------------------------------------------------------------------------- the loop's part

    def between_steps(self, output: Output) -> None:
        """Go back from models that failed in this step where the one before did not; serve what passed its trial."""
        for fault in output.faults:
            if fault.rescued:
                self._go_back(fault)
        newest: dict[int, tuple[_Followed, Model | None]] = {}
        while not self._passed.empty():
            each, model = self._passed.get()
            newest[each.number] = each, model
        for each, model in newest.values():
            if model is not None:
                self._serve(each, model)

    def _serve(self, each: _Followed, model: Model) -> None:
        model = self._prepare(model)
        self._pipeline.serve(each.number, self._watch(each, model))
        each.before, self._serves[each.detector.name] = self._serves[each.detector.name], model
        self._metrics.swaps.labels(each.detector.name).inc()
        self._log.info("model_serves", detector=each.detector.name, **_versions(each.before, model))

    def _go_back(self, fault: ModelFault) -> None:
        each = next(each for each in self._followed if each.detector.name == fault.detector)
        if each.before is None or not self._pipeline.fall_back(each.number):
            return
        failed, self._serves[fault.detector] = self._serves[fault.detector], each.before
        self._metrics.rollbacks.labels(fault.detector).inc()
        self._log.error("model_rolled_back", detector=fault.detector, **_versions(failed, each.before))
        each.before = None


def _versions(before: Model, after: Model) -> dict[str, str]:
    return {"from": before.metadata.version, "to": after.metadata.version, "digest": after.digest}


def identify(model: str | os.PathLike[str]) -> Identity:
    """What changes when a detector's pointer, the file that it names, or the file given itself is written anew."""
    try:
        file = resolve_model(model)
        return _stat(Path(model) / CURRENT), str(file), _stat(file)
    except (TocsinError, OSError, ValueError) as error:
        return _stat(Path(model) / CURRENT), str(error)


def _named(model: str) -> str:
    """The file that a detector's model is now, or the model itself where there is none."""
    try:
        return str(resolve_model(model))
    except (TocsinError, OSError, ValueError):
        return model


def _stat(file: Path) -> Identity:
    try:
        found = file.stat()
    except OSError as error:
        return (error.errno,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
