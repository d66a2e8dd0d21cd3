"""Which family suits the data, without a label: each is tried on faults put into normal data that it has not seen.

A copy of each candidate is fitted to the oldest part of the data, and is given a limit by its own calibration at the
same budget of false alarms. What counts is the share of the faults, put into the newest part, in which a score passes
that limit where none of the same windows without the fault does: detection at equal promised false alarms, with the
limit raised where the promise is not kept on the newest part. See
`training.faults` for what is put in and why. Faults of this kind are not real ones, so that a later candidate must be
better by more than the trial's noise. F faults, B windows, N rows, C channels.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.calibration import limits
from monitor.errors import InvalidData
from monitor.modelfile import windows_per_day
from training.arguments import FitArgs
from training.data import DataSet
from training.faults import AFTER, Fault, faults, normal_of, put
from training.incidents import limit_for
from training.learning import Learned, Progress, by_family, score, silent
from training.models import ENSEMBLE
from training.splits import CALIBRATION, SHARES, enough_observed
from training.stretches import Stretch, stretches, windows_ending

HELD_OUT = 0.2  # of each asset's readings, the newest
FAULTS = 30  # of each kind
CHUNK = 512  # windows at a time
LONGEST_GAP = 128  # rows; a longer one parts the data
ALARMS_PER_DAY = 1.0  # budget of false alarms at which the candidates are compared
LEAST_ALARMS = 2.0  # of that budget in the shortest calibration, else it is raised: a limit rests on what was counted
POINTS, ERRORS = 0.05, 2.0  # share of the faults, and standard errors, by which a later candidate must be better

Found = NDArray[np.bool_]
How = Callable[[DataSet, int, FitArgs, Progress], Learned]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A family, what it costs to try in multiples of the others' cost, and how it learns."""

    family: str
    cost: float
    how: How = by_family


# In the order in which they are tried: by what they are worth and what they cost. `cross` is tried as the ensemble of
# little data only: on four servers (SMD) it wins by faults that are put in, and loses by far by labelled ones.
CANDIDATES = (
    Candidate(ENSEMBLE, 1.0),
    Candidate("pca", 0.1),
    Candidate("denoising", 1.0),
    Candidate("tcn", 4.0),
    Candidate("dense", 1.0),
    Candidate("recurrent", 3.0),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What candidates learn from, and where the faults are that they should find."""

    older: DataSet
    channels: tuple[str, ...]
    parts: tuple[Stretch, ...]
    first: tuple[int, ...]  # row of each part that is held out
    faults: tuple[Fault, ...]
    budget_per_day: float


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a candidate: the faults (F,) that it found, or why it is not known."""

    family: str
    cost: float
    seconds: float = 0.0
    found: Found | None = None
    why_not: str = ""


class OutOfTime(Exception):
    """The time limit passed while a candidate learnt."""


def auto(
    recorded: DataSet,
    period_ms: int,
    args: FitArgs,
    progress: Progress = silent,
    candidates: Sequence[Candidate] = CANDIDATES,
) -> Learned:
    """By the candidate that finds most faults, tried until `args.seconds` have passed; then fitted to all data.

    The first is always tried whole, and is what is taken where nothing can be tried.
    """
    trial = trial_of(recorded, period_ms, args.seed)
    tried = try_all(trial, period_ms, args, progress, candidates) if trial.faults else []
    winner = best(tried)
    chosen = next((one for one in candidates if winner and one.family == winner.family), candidates[0])
    learned = chosen.how(recorded, period_ms, msgspec.structs.replace(args, family=chosen.family), progress)
    reason = why(chosen.family, tried, len(trial.faults))
    return dataclasses.replace(
        learned, metrics=learned.metrics | {"tried": told(tried), "chosen": reason}, notes=(*learned.notes, reason)
    )


def trial_of(recorded: DataSet, period_ms: int, seed: int) -> Trial:
    """The oldest readings of every asset, and faults in the others."""
    histories = recorded.histories
    counts = [int(len(history.ts) * (1 - HELD_OUT)) for history in histories]
    older = [
        dataclasses.replace(history, ts=history.ts[:count], values=history.values[:count])
        for history, count in zip(histories, counts, strict=True)
    ]
    until = {one.asset: int(one.ts[-1]) // (period_ms * 1_000_000) if len(one.ts) else -1 for one in older}
    parts = tuple(stretches(histories, period_ms, LONGEST_GAP))
    first = [min(max(until[part.asset] + 1 - part.first, 0), len(part.rows)) for part in parts]
    days = sum(first) / windows_per_day(period_ms, 1)
    budget = max(ALARMS_PER_DAY, LEAST_ALARMS / max(SHARES[CALIBRATION] * days, 1e-9))
    normal = normal_of(np.concatenate([history.values for history in older]))
    return Trial(
        dataclasses.replace(recorded, histories=tuple(older)),
        recorded.channels,
        parts,
        tuple(first),
        faults(parts, first, normal, FAULTS, seed),
        budget,
    )


def try_all(
    trial: Trial, period_ms: int, args: FitArgs, progress: Progress, candidates: Sequence[Candidate]
) -> list[Tried]:
    """Try one candidate after the other while there is time."""
    began, tried = time.perf_counter(), list[Tried]()
    for candidate in candidates:
        left = args.seconds - (time.perf_counter() - began) if tried else math.inf
        if longest_wait(candidate.cost, tried) > left:
            tried.append(Tried(candidate.family, candidate.cost, why_not="no time"))
            continue
        progress(f"try {candidate.family}", 0, 1)
        tried.append(try_one(candidate, trial, period_ms, args, within(left, f"try {candidate.family}", progress)))
    return tried


def longest_wait(cost: float, tried: Sequence[Tried]) -> float:
    """Seconds that a candidate of this cost will take, as those before it did; 0 if nothing is known."""
    done = [one for one in tried if one.found is not None]
    return cost * sum(one.seconds for one in done) / sum(one.cost for one in done) if done else 0.0


def within(seconds: float, stage: str, progress: Progress) -> Progress:
    """Progress of one candidate under a name of its own, which raises OutOfTime once so many seconds have passed."""
    end = time.perf_counter() + seconds

    def tell(_: str, done: int, total: int) -> None:
        if time.perf_counter() > end:
            raise OutOfTime
        progress(stage, done, total)

    return tell


def try_one(candidate: Candidate, trial: Trial, period_ms: int, args: FitArgs, progress: Progress) -> Tried:
    """Fit a copy to the older data, and see which faults it finds in the newer."""
    began = time.perf_counter()
    try:
        copy = msgspec.structs.replace(args, family=candidate.family)
        found = found_by(candidate.how(trial.older, period_ms, copy, progress), trial, period_ms, args.min_observed)
    except InvalidData as error:
        return Tried(candidate.family, candidate.cost, time.perf_counter() - began, why_not=str(error))
    except OutOfTime:
        return Tried(candidate.family, candidate.cost, time.perf_counter() - began, why_not="no time")
    return Tried(candidate.family, candidate.cost, time.perf_counter() - began, found)


def found_by(learned: Learned, trial: Trial, period_ms: int, min_observed: float) -> Found:
    """Which faults (F,) pass the limit where the same windows without them do not."""
    columns = [trial.channels.index(channel.name) for channel in learned.channels]
    parts = [Stretch(part.asset, part.first, part.rows[:, columns]) for part in trial.parts]
    clean = [scores_from(learned, part, start, min_observed) for part, start in zip(parts, trial.first, strict=True)]
    limit = limit_kept(learned, clean, period_ms, trial.budget_per_day)
    found = np.zeros(len(trial.faults), np.bool_)
    for number, fault in enumerate(trial.faults):
        whole, start = parts[fault.stretch], fault.start - trial.first[fault.stretch]
        first, stop = max(fault.start - learned.window, 0), fault.start + len(fault.rows) + AFTER
        before = clean[fault.stretch][start : start + stop - fault.start]
        moved = dataclasses.replace(fault, start=fault.start - first, rows=fault.rows[:, columns])
        scores = scores_from(learned, put(whole.part(first, stop), moved), moved.start, min_observed)
        found[number] = (scores >= limit).any() and not (before >= limit).any()
    return found


def scores_from(learned: Learned, part: Stretch, start: int, min_observed: float) -> NDArray[np.float64]:
    """Scores (N,) of the windows that end in the rows from `start` on; NaN in those where none does, or is scored."""
    scores = np.full(len(part.rows) - start, np.nan)
    places = np.arange(start, len(part.rows))
    places = places[(part.first + places + 1) % learned.stride == 0]
    for some in np.split(places, range(CHUNK, len(places), CHUNK)):
        if not len(some):
            continue
        first = max(int(some[0]) - learned.window, 0)  # what lies before need not be copied
        windows = windows_ending(part.part(first, int(some[-1]) + 1), learned.window, some - first)
        seen = enough_observed(windows, min_observed)
        scores[some[seen] - start] = score(learned.scorer, windows[seen])
    return scores


def limit_kept(
    learned: Learned, clean: Sequence[NDArray[np.float64]], period_ms: int, budget_per_day: float
) -> float:
    """The limit of the model's own calibration, or the one that would have kept its promise on clean scores (N,).

    A model whose limit is too low on newer data would else find faults by raising more alarms than it said.
    """
    rate = windows_per_day(period_ms, learned.stride)
    own = limits(learned.calibration, rate, budget_per_day).score
    scored = [scores[~np.isnan(scores)] for scores in clean]
    known = np.concatenate(scored)
    if not len(known):
        return own
    clear = learned.calibration.incidents.clear if learned.calibration.incidents else own
    wanted = budget_per_day * len(known) / rate
    return max(own, limit_for(scored, known, wanted, clear, budget_per_day / rate))


def best(tried: Sequence[Tried]) -> Tried | None:
    """The first candidate, or the later one that is better by a margin, in turn."""
    kept: Tried | None = None
    for one in tried:
        if one.found is not None and (kept is None or kept.found is None or better(one.found, kept.found)):
            kept = one
    return kept


def better(later: Found, kept: Found) -> bool:
    """Whether the later found more of the same faults by both margins; the error is that of the mean difference."""
    gain = later.astype(float) - kept
    error = float(gain.std()) / math.sqrt(len(gain))
    return bool(gain.mean() >= max(POINTS, ERRORS * error))


def told(tried: Sequence[Tried]) -> dict[str, dict[str, Any]]:
    """For each family the share of the faults that it found and the seconds it took, or why it was not tried."""
    return {
        one.family: {"not_tried": one.why_not}
        if one.found is None
        else {"found": round(float(one.found.mean()), 4), "seconds": round(one.seconds, 2)}
        for one in tried
    }


def why(family: str, tried: Sequence[Tried], count: int) -> str:
    """Which family was taken and why, as a sentence for a person."""
    shares = {one.family: float(one.found.mean()) for one in tried if one.found is not None}
    if not shares:
        return f"auto took {family} untried: the data is too short, or too still, for a part of it to be held out"
    others = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if name != family)
    late = ", ".join(one.family for one in tried if one.found is None)
    return (
        f"auto took {family}, which found {shares[family]:.0%} of {count} faults put into held-out data"
        + (f" ({others})" if others else "")
        + (f"; not tried: {late}" if late else "")
    )
