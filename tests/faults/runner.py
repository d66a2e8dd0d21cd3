"""Which faults there are, and how one of them is run."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
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
    """A fault with the sizes of its forms, and what its stage is to be like.

    Where a form is None it has none. One that is not `alone` leaves the brokers and the network of others be.
    """

    name: str
    run: Callable[..., None]
    forms: dict[Form, Sizes | None]
    stage: dict[str, Any]
    alone: bool = True

    @property
    def sentence(self) -> str:
        """What happens."""
        return " ".join((self.run.__doc__ or "").split())


FAULTS: dict[str, Fault] = {}


def fault(
    *, quick: Sizes | None, long: Sizes, short: Sizes | None = None, alone: bool = True, **stage: Any
) -> Callable[..., Any]:
    """Enter a function into FAULTS; what else is given goes to its `Stage`."""

    def enter(run: Callable[..., None]) -> Callable[..., None]:
        name = run.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, run, {"long": long, "quick": quick, "short": short}, stage, alone)
        return run

    return enter


def run(
    fault: Fault, form: Form, cluster: KafkaCluster, proxy: Proxy, folder: Path, client: str, keep: bool = False
) -> Result:
    """Run one fault on a fresh stage; logs of its daemons stay in `folder` where it failed, or where asked for."""
    began, folder = time.monotonic(), folder / fault.name
    result, failures = Result(fault.name), list[str]()
    try:
        with Stage(cluster, proxy, folder, client, fault.alone, **fault.stage) as stage:
            result, failures = stage.result, stage.failures
            result.name = fault.name
            fault.run(stage, **(fault.forms[form] or {}))
            stage.finish()
    except Exception as error:  # the other faults are run all the same
        failures.append(f"{type(error).__name__}: {error}")
    result.notes += failures
    result.passed = not failures
    result.took_s = time.monotonic() - began
    if result.passed and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def run_all(
    faults: list[Fault], lanes: int, run_one: Callable[[Fault], Result], tell: Callable[[Result], object]
) -> list[Result]:
    """Run faults, those that can side by side in so many lanes, and tell of each when it is over."""
    results = []
    with ThreadPoolExecutor(lanes) as pool:
        for done in as_completed([pool.submit(run_one, each) for each in faults if not each.alone]):
            results.append(done.result())
            tell(results[-1])
    for each in faults:
        if each.alone:  # in the main thread: a broker ends with the thread that starts it
            results.append(run_one(each))
            tell(results[-1])
    return sorted(results, key=lambda result: [each.name for each in faults].index(result.name))
