"""What the health page shows: daemons by their metrics, the feed of this dashboard, dead letters. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.deadletters import Letter, reasons
from dashboard.health import Reading, by_label, drifting, highest, quantile, rate, total
from dashboard.jsonable import number

Pair = tuple[Reading | None, Reading]


def health_sections(
    pairs: Sequence[Pair] | None,
    letters: Sequence[Letter] | None,
    problem: str,
    windows_per_s: float | None,
    seen: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """Sections of the page; `pairs` and `letters` are None until they have been asked for."""
    known = list(pairs or ())
    return {
        "ready": pairs is not None,
        "daemons": [daemon(before, now) for before, now in known],
        "drift": [{"what": what, "assets": int(n)} for what, n in sorted(drifting(now for _, now in known).items())],
        "seen": [
            {"detector": detector, "version": version or "?", "assets": n}
            for detector, versions in sorted(seen.items())
            for version, n in sorted(versions.items())
        ],
        "windows_per_s": number(windows_per_s),
        "letters": None if letters is None else [letter_row(each) for each in letters],
        "reasons": reasons(letters or ()),
        "letters_problem": problem,
    }


def daemon(before: Reading | None, now: Reading) -> dict[str, Any]:
    """One daemon's figures; rates and quantiles are of the time since the answer before."""
    if now.problem:
        return {"address": now.address, "problem": now.problem, "at": None if before is None else before.at_s}
    dead = by_label(now, "tocsin_dead_letters_total", "reason")
    return {
        "address": now.address,
        "problem": "",
        "at": now.at_s,
        "readings_per_s": number(rate(before, now, "tocsin_readings_total")),
        "windows_per_s": number(rate(before, now, "tocsin_windows_total")),
        "lag": number(total(now, "tocsin_lag_records")),
        "lag_s": number(highest(now, "tocsin_lag_seconds")),
        "latency_p50_s": number(quantile(before, now, "tocsin_end_to_end_seconds", 0.5)),
        "latency_p99_s": number(quantile(before, now, "tocsin_end_to_end_seconds", 0.99)),
        "batch_p99_s": number(quantile(before, now, "tocsin_batch_seconds", 0.99)),
        "assets": number(total(now, "tocsin_assets")),
        "partitions": number(total(now, "tocsin_assigned_partitions")),
        "late": number(total(now, "tocsin_late_readings_total")),
        "not_scored": number(total(now, "tocsin_windows_not_scored_total")),
        "commands": {outcome: int(n) for outcome, n in by_label(now, "tocsin_commands_total", "outcome").items()},
        "dead": {reason: int(n) for reason, n in sorted(dead.items(), key=lambda item: -item[1])},
        "faults": {
            word: int(count)
            for word, name in (
                ("model faults", "tocsin_model_faults_total"),
                ("models refused", "tocsin_model_refused_total"),
                ("models rolled back", "tocsin_model_rollbacks_total"),
                ("calls tried again", "tocsin_retries_total"),
                ("deliveries done again", "tocsin_rewinds_total"),
                ("losses gone on after", "tocsin_recoveries_total"),
            )
            if (count := total(now, name)) > 0
        },
    }


def letter_row(letter: Letter) -> dict[str, Any]:
    """One dead letter."""
    return {
        "at": letter.at_s,
        "reason": letter.reason,
        "detail": letter.detail,
        "where": letter.where,
        "key": letter.key,
        "size": letter.size,
        "truncated": letter.truncated,
    }
