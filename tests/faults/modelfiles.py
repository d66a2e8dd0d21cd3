"""Faults of model files: what comes in a model's place while readings flow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from monitor.modelfile import set_current
from tests import models
from tests.e2e.site import Site
from tests.faults.runner import fault
from tests.faults.stage import Stage

FOLLOW_S = 0.2
Edit = Callable[..., object]


def write(site: Site, version: str, edit: Edit = lambda proto: None, **changes: object) -> Path:
    """Put a version beside the one in service."""
    return models.write_version(site.folder, models.metadata(version=version, **changes), edit)


def half(file: Path) -> None:
    """Leave a file as a copy does that was broken off."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


BAD: dict[str, Callable[[Site, str], object]] = {
    "half-written": lambda site, version: half(write(site, version)),
    "corrupt": lambda site, version: write(site, version).write_bytes(b"\x00corrupt" * 1000),
    "empty": lambda site, version: write(site, version).write_bytes(b""),
    "of-another-shape": lambda site, version: write(site, version, window=8),
    "nan-giving": lambda site, version: write(site, version, models.giving(np.nan, 0.2)),
    "raising": lambda site, version: write(site, version, models.raising(0.2)),
    "missing": lambda site, version: None,
}


@fault(alone=False, quick={"rounds": 1}, long={"rounds": 10}, short={"rounds": 1}, follow_s=FOLLOW_S)
def model_replaced(stage: Stage, rounds: int) -> None:
    """The model in service is replaced by files that are half, corrupt, empty, of another shape, failing, or none:
    each is refused aloud, and every window has the score of the good one."""
    daemon, site = stage.join("one"), stage.site
    for number in range(rounds):
        for kind, make in BAD.items():
            version, refused = f"{kind}-{number}", len(daemon.events("model_refused"))
            make(site, version)
            set_current(site.model, version)
            told = daemon.await_events("model_refused", refused + 1)[-1]
            stage.demand(told["serves"] == "1", f"{kind}: {told}")
            stage.progress_everywhere(daemon)
        set_current(site.model, "1")
    stage.note(f"{rounds * len(BAD)} files refused")
