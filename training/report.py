"""The report beside a model: one HTML page that needs nothing else, to judge a fit by eye."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monitor.calibration import limits
from monitor.modelfile import ModelMetadata
from training import plots
from training.data import rfc3339
from training.lens import AnyScorer
from training.models import ENSEMBLE
from training.splits import Part
from training.trim import Suspect

BUDGETS_PER_DAY = 0.1, 1.0  # false alarms for which the report shows the limit
CHANNELS_SHOWN = 6
SUSPECTS_SHOWN = 20

HELD_OUT = "Windows of the newest part of the data, which neither the weights nor the stopping saw."
LEARNT_FROM = (
    "Windows of the newest fifth of the data. The model in the file has learnt from them, so that they score lower "
    "than what is to come; the calibration is of all windows, each judged by what the other blocks of time taught."
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 2.5rem auto;
  max-width: 60rem; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; } .quiet { color: #616e7c; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
td, th { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e4e7eb;
  vertical-align: top; font-weight: normal; overflow-wrap: anywhere; }
th { color: #616e7c; } .number { text-align: right; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 3rem; }
svg { max-width: 100%; height: auto; }
"""


def render(
    metadata: ModelMetadata,
    curve: Sequence[tuple[float, float]],
    held_out: Sequence[Part],
    scores: Sequence[NDArray[np.float64]],
    scorer: AnyScorer,
    suspects: Sequence[Suspect] = (),
) -> str:
    """The page as HTML; `scores` are those of the `held_out` windows, asset by asset."""
    title = f"{metadata.name} {metadata.version}"
    together = np.concatenate(scores)
    at = {
        budget: limits(metadata.calibration, metadata.windows_per_day, budget, 1.0).score
        for budget in BUDGETS_PER_DAY
    }
    body = [
        f"<h1>{_text(title)}</h1>",
        f"<p class=quiet>{_text(metadata.family)} · {_many(len(metadata.channels), 'channel')} · "
        f"made {_text(metadata.created)}</p>",
        "<div class=pair>",
        _table("Figures", _figures(metadata)),
        _table("Arguments", _arguments(metadata)),
        "</div>",
        "<h2>Loss</h2>",
        _loss(curve),
        "<h2>Scores of the newest data</h2>",
        f"<p>{LEARNT_FROM if metadata.family == ENSEMBLE else HELD_OUT} Left, "
        "their distribution; right, the probability that a normal window scores at least this high, counted "
        "and as the calibration gives it. The limits are those of an alarm budget per asset and day.</p>",
        plots.score_distribution(together, metadata.calibration, at),
        plots.scores_over_time(
            [(part.asset, part.ends, one) for part, one in zip(held_out, scores, strict=True)], at
        ),
        "<h2>Reconstructions</h2>",
        "<p>What was seen (line) and what the model expected (dashes), for the windows with the "
        f"lowest, the median and the highest score; the {CHANNELS_SHOWN} channels that added most to each score.</p>",
        *_reconstructions(metadata, held_out, together, scorer),
        _suspects(suspects),
        _table("Data", _data(metadata)),
        _channels(metadata, scorer),
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(title)}</title>'
    head += f"<style>{STYLE}</style>"
    return head + "\n".join(body) + "</html>\n"


def _loss(curve: Sequence[tuple[float, float]]) -> str:
    """The loss curve, or why there is none."""
    if not curve:
        return "<p>This family is fitted in closed form: there is no curve.</p>"
    return plots.loss_curve(curve)


def _reconstructions(
    metadata: ModelMetadata, held_out: Sequence[Part], scores: NDArray[np.float64], scorer: AnyScorer
) -> Iterable[str]:
    """A row of small plots for each of the best, the middle and the worst window."""
    windows = np.concatenate([part.windows for part in held_out])
    assets = np.concatenate([np.full(len(part.ends), part.asset, object) for part in held_out])
    ends = np.concatenate([part.ends for part in held_out])
    order = np.argsort(scores, kind="stable")
    for word, index in (("Lowest", order[0]), ("Median", order[len(order) // 2]), ("Highest", order[-1])):
        with torch.no_grad():
            _, shares, expected, _ = scorer(torch.from_numpy(windows[index : index + 1]))
        chosen = np.argsort(-shares[0].numpy(), kind="stable")[:CHANNELS_SHOWN]
        end = np.datetime64(int(ends[index]), "ns").astype("datetime64[s]")
        yield f"<p><b>{word}</b>: score {scores[index]:.4g}, {_text(assets[index])}, until {end} UTC</p>"
        yield plots.reconstruction(
            [metadata.channel_names[channel] for channel in chosen],
            windows[index][:, chosen],
            expected[0].numpy()[:, chosen],
        )


def _suspects(suspects: Sequence[Suspect]) -> str:
    """Stretches of the data that a person should look at, those that were left out first."""
    if not suspects:
        return ""
    rows = [
        f"<tr><td>{_text(one.asset)}<td>{rfc3339(one.start)}<td>{rfc3339(one.end)}<td class=number>{one.score:.3g}"
        f"<td>{_text(', '.join(one.channels))}<td>{_text(one.verdict)}"
        for one in suspects[:SUSPECTS_SHOWN]
    ]
    head = "".join(f"<th>{word}" for word in ("asset", "from", "to", "deviations", "channels", "verdict"))
    more = (
        f" The first {SUSPECTS_SHOWN} of {len(suspects)}; all are in suspects.csv."
        if suspects[SUSPECTS_SHOWN:]
        else ""
    )
    return (
        "<h2>Suspect stretches</h2><p>Data that principal components of all other times do not explain. What "
        f"was left out is worth a look: it may be a fault, or a way of working seen only once.{more}</p>"
        f"<table><tr>{head}{''.join(rows)}</table>"
    )


def _figures(metadata: ModelMetadata) -> Iterable[tuple[str, Any]]:
    """Metrics, with numbers cut to four digits."""
    for name, value in metadata.metrics.items():
        yield name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value
    tail = metadata.calibration.tail
    yield (
        "tail",
        f"above {tail.threshold:.4g} ({tail.share:.1%}), shape {tail.shape:.3g}, scale {tail.scale:.3g}",
    )


def _arguments(metadata: ModelMetadata) -> Iterable[tuple[str, Any]]:
    """Arguments of the fit by name."""
    return ((name.replace("_", " "), value) for name, value in metadata.arguments.items())


def _data(metadata: ModelMetadata) -> Iterable[tuple[str, Any]]:
    """Where the model comes from."""
    training = metadata.training
    yield from (("readings", training.rows), ("assets", ", ".join(training.assets)))
    yield from (("from", training.from_), ("to", training.to), ("SHA-256", training.sha256))
    yield "period", f"{metadata.period_ms} ms"


def _channels(metadata: ModelMetadata, scorer: AnyScorer) -> str:
    """Channels with their range in training and their scaling."""
    numbers = "".join(f"<th class=number>{word}" for word in ("low", "high", "mean", "deviation"))
    scalings = zip(scorer.scaling.mean.tolist(), scorer.scaling.deviation.tolist(), strict=True)
    rows = [
        f"<tr><td>{_text(channel.name)}"
        + "".join(f"<td class=number>{number:.4g}" for number in (channel.low, channel.high, mean, deviation))
        for channel, (mean, deviation) in zip(metadata.channels, scalings, strict=True)
    ]
    return f"<h2>Channels</h2><table><tr><th>channel{numbers}{''.join(rows)}</table>"


def _table(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    """A titled table of two columns."""
    cells = (f"<tr><th>{_text(name)}<td>{_value(value)}" for name, value in rows)
    return f"<div><h2>{_text(title)}</h2><table>{''.join(cells)}</table></div>"


def _value(value: Any) -> str:
    """A cell; what is empty is a dash."""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return _text(value) if str(value) else "–"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _text(value: Any) -> str:
    """Text made safe for HTML."""
    return html.escape(str(value))
