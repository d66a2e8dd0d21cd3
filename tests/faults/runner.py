"""Which faults there are, and how one of them is run."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.faults.proxy import Proxy
from tests.faults.stage import Result, Stage
from tests.kafka_cluster import KafkaCluster

Form = Literal["long", "quick", "short"]
Sizes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with the sizes of its forms, and what its stage is to be like; `short` is left out where None."""

    name: str
    run: Callable[..., None]
    forms: dict[Form, Sizes | None]
    stage: dict[str, Any]

    @property
    def sentence(self) -> str:
        """What happens."""
        return " ".join((self.run.__doc__ or "").split())


FAULTS: dict[str, Fault] = {}


def fault(*, quick: Sizes, long: Sizes, short: Sizes | None = None, **stage: Any) -> Callable[..., Any]:
    """Enter a function into FAULTS; what else is given goes to its `Stage`."""

    def enter(run: Callable[..., None]) -> Callable[..., None]:
        name = run.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, run, {"long": long, "quick": quick, "short": short}, stage)
        return run

    return enter


def run(
    fault: Fault, form: Form, cluster: KafkaCluster, proxy: Proxy, folder: Path, client: str, keep: bool = False
) -> Result:
    """Run one fault on a fresh stage; logs of its daemons stay in `folder` where it failed, or where asked for."""
    began = time.monotonic()
    result = Result(fault.name)
    folder = folder / fault.name
    try:
        with Stage(cluster, proxy, folder, client, **fault.stage) as stage:
            result, stage.result.name = stage.result, fault.name
            fault.run(stage, **(fault.forms[form] or {}))
            stage.finish()
            result.notes += stage.failures
            result.passed = not stage.failures
    except (AssertionError, OSError, RuntimeError) as error:
        result.notes += [*(stage.failures if "stage" in locals() else ()), f"{type(error).__name__}: {error}"]
    finally:
        proxy.mend()
    result.took_s = time.monotonic() - began
    if result.passed and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return result
