"""Faults of the daemon: killed, stopped and continued, asked to leave, joined and left by others."""

import itertools
import random
import time

from tests.faults.proxy import WHEN, Api, When
from tests.faults.runner import fault
from tests.faults.stage import Stage

# What a transaction is made of, in its order; OFFSET_COMMIT is the commit without one.
STEPS = (
    Api.INIT_PRODUCER_ID,
    Api.ADD_PARTITIONS_TO_TXN,
    Api.PRODUCE,
    Api.ADD_OFFSETS_TO_TXN,
    Api.TXN_OFFSET_COMMIT,
    Api.END_TXN,
    Api.OFFSET_COMMIT,
)
STEP_WITHIN_S = 4.0  # of a daemon's work under load in which such a request comes, if this client sends any
START_WITHIN_S = 20.0


@fault(quick={"kills": 2}, long={"kills": 100}, short={"kills": 2})
def killed_at_random(stage: Stage, kills: int) -> None:
    """kill -9 at a random moment, and the same instance started again."""
    dice = random.Random(11)
    stage.recover()
    for _ in range(kills):
        time.sleep(dice.uniform(0.0, 1.0))
        stage.kill()
        stage.recover()


@fault(quick={"rounds": 1}, long={"rounds": 9})
def killed_at_each_step(stage: Stage, rounds: int) -> None:
    """kill -9 as each request of a transaction is sent, and again as its response comes; started again each time."""
    never: set[Api] = set()
    for api, when in list(itertools.product(STEPS, WHEN)) * rounds:
        if api not in never and not killed_at(stage, api, when):
            never.add(api)
    seen = [api.name for api in STEPS if api not in never]
    stage.demand(len(seen) > 1, "no step of a transaction was seen")
    stage.note(f"killed before and after {', '.join(seen)}")


def killed_at(stage: Stage, api: Api, when: When) -> bool:
    """Kill a daemon when such a request passes; False where none does, and the daemon runs on.

    A producer's id is asked for at the start alone: there the daemon is killed before it has delivered anything.
    """
    at_start = api is Api.INIT_PRODUCER_ID
    if "one" not in stage.running and not at_start:
        stage.recover()
    elif "one" in stage.running and at_start:
        stage.kill()
    hook = stage.proxy.on(api, when, "one", lambda: stage.running["one"].process.kill())
    if at_start:
        stage.run()
    passed = hook.passed.wait(START_WITHIN_S if at_start else STEP_WITHIN_S)
    stage.proxy.forget(hook)
    if passed:
        stage.killed()
    return passed
