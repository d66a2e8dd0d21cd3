"""What contributed to a window's score: its channels, those with the largest share first."""

import numpy as np

from monitor.events import Contribution
from monitor.modelfile import Channel
from monitor.scored import ScoredWindows

MAX_CHANNELS_TOLD = 32  # contributions kept on an incident; the rest have the least share


def contributions(channels: tuple[Channel, ...], scored: ScoredWindows, place: int) -> tuple[Contribution, ...]:
    """Channels of the window at this place, of which was worked out what was seen and expected."""
    shares = scored.channel_score[place] / max(float(scored.channel_score[place].sum()), 1e-30)
    return tuple(
        Contribution(
            channels[i].name,
            round(float(shares[i]), 6),
            _number(scored.seen[place, i]),
            _number(scored.expected[place, i]),
            channels[i].unit,
        )
        for i in np.argsort(-shares, kind="stable")[:MAX_CHANNELS_TOLD].tolist()
    )


def _number(value: np.float32) -> float | None:
    return float(value) if np.isfinite(value) else None
