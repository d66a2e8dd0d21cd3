"""A page made of sections, of which only those travel that have changed. No I/O, no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(slots=True)
class Sections:
    """A stream of the live route: `compute(now_s)` gives all sections by name, as JSON-able values."""

    compute: Callable[[float], Mapping[str, Any]]
    _now: dict[str, Any] = field(default_factory=dict)
    _encoded: dict[str, bytes] = field(default_factory=dict)

    def step(self, now_s: float) -> dict[str, Any]:
        """Sections that are not as they were at the last step, and the time."""
        sections = dict(self.compute(now_s))
        encoded = {name: msgspec.json.encode(section) for name, section in sections.items()}
        changed = {name: sections[name] for name, text in encoded.items() if self._encoded.get(name) != text}
        self._now, self._encoded = sections | {"now": now_s}, encoded
        return changed | {"now": now_s}

    def whole(self) -> dict[str, Any]:
        """All sections as of the last step."""
        return self._now
