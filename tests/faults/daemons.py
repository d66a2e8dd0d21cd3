"""Faults of the daemon: killed, stopped and continued, asked to leave, joined and left by others."""

import itertools
import random
import signal
import time

from tests.e2e.site import until
from tests.faults.proxy import WHEN, Api, When
from tests.faults.runner import fault
from tests.faults.stage import RECOVERY_LIMIT_S, SESSION_TIMEOUT_S, TRANSACTION_TIMEOUT_S, Stage

# What a transaction is made of, in its order.
STEPS = (
    Api.INIT_PRODUCER_ID,
    Api.ADD_PARTITIONS_TO_TXN,
    Api.PRODUCE,
    Api.ADD_OFFSETS_TO_TXN,
    Api.TXN_OFFSET_COMMIT,
    Api.END_TXN,
)
STEP_WITHIN_S = 4.0  # of a daemon's work under load in which such a request comes, if this client sends any
START_WITHIN_S = 20.0
TAKEOVER_LIMIT_S = SESSION_TIMEOUT_S + TRANSACTION_TIMEOUT_S + 15.0


@fault(alone=False, quick={"kills": 2}, long={"kills": 100})
def killed_at_random(stage: Stage, kills: int) -> None:
    """kill -9 at a random moment, and the same instance started again."""
    dice = random.Random(11)
    stage.join("one")
    for _ in range(kills):
        time.sleep(dice.uniform(0.0, 1.0))
        stage.kill()
        stage.recover()


@fault(
    alone=False,
    quick={"rounds": 1},
    long={"rounds": 9},
    short={"rounds": 1, "steps": (Api.TXN_OFFSET_COMMIT, Api.END_TXN)},
)
def killed_at_each_step(stage: Stage, rounds: int, steps: tuple[Api, ...] = STEPS) -> None:
    """kill -9 as each request of a transaction is sent, and again as its response comes; started again each time."""
    never: set[Api] = set()
    stage.join("one")
    for api, when in list(itertools.product(steps, WHEN)) * rounds:
        if api not in never and not killed_at(stage, api, when):
            never.add(api)
    seen = [api.name for api in steps if api not in never]
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
    hook = stage.proxy.on(api, when, stage.client(), lambda: stage.running["one"].process.kill())
    if at_start:
        stage.run()
    passed = hook.passed.wait(START_WITHIN_S if at_start else STEP_WITHIN_S)
    stage.proxy.forget(hook)
    if passed:
        stage.killed()
    return passed


@fault(alone=False, quick={"times": 1}, long={"times": 6})
def killed_and_taken_over(stage: Stage, times: int) -> None:
    """kill -9 amid a transaction and not started again: the other daemon goes on with every partition."""
    stage.join("one")
    stage.join("two")
    for dying, other in itertools.islice(itertools.cycle([("one", "two"), ("two", "one")]), times):
        stage.progress_everywhere(*stage.running.values())
        hook = stage.proxy.on(Api.END_TXN, "before", stage.client(dying), stage.running[dying].process.kill)
        stage.demand(hook.passed.wait(STEP_WITHIN_S), f"'{dying}' delivers")
        stage.killed(dying)
        took_over(stage, other)
        stage.join(dying)
    stage.note(
        f"a takeover may take a session timeout of {SESSION_TIMEOUT_S:g} s, a transaction timeout of "
        f"{TRANSACTION_TIMEOUT_S:g} s and 15 s"
    )


def took_over(stage: Stage, other: str) -> None:
    """Wait until one daemon alone moves every partition on, and demand that it does so in time."""
    began = time.monotonic()
    stage.progress_everywhere(stage.running[other])
    seconds = time.monotonic() - began
    stage.demand(seconds <= TAKEOVER_LIMIT_S, f"a takeover took {seconds:.1f} s, at most {TAKEOVER_LIMIT_S:g}")
    stage.note(f"taken over in {seconds:.1f} s")


@fault(alone=False, quick={"seconds": 30}, long={"seconds": 300})
def joining_and_leaving(stage: Stage, seconds: float) -> None:
    """Three daemons, of which every 5 s one joins, leaves or is killed."""
    dice, changes = random.Random(5), int(seconds / 5)
    stage.join("one")
    began = time.monotonic()
    for change in range(changes):
        time.sleep(max(began + 5 * change - time.monotonic(), 0))
        instance = dice.choice(["one", "two", "three"])
        if instance not in stage.running:
            stage.run(instance)
        elif dice.random() < 0.3:
            stage.kill(instance)
        else:
            stage.leave(instance)
    stage.note(f"{changes} daemons joined or left")


@fault(
    alone=False,
    quick={"variants": [("END_TXN", "two")]},
    long={"variants": list(itertools.product(["PRODUCE", "TXN_OFFSET_COMMIT", "END_TXN", ""], ["two", ""]))},
)
def stopped_and_continued(stage: Stage, variants: list[tuple[str, str]]) -> None:
    """SIGSTOP past session and transaction timeout, at a step of a transaction that reaches the broker only then."""
    stage.join("one")
    for step, other in variants:
        if other and other not in stage.running:
            stage.join(other)
            stage.progress_everywhere(*stage.running.values())
        stopped_at(stage, step, other)
        if other:
            stage.leave(other)


def stopped_at(stage: Stage, step: str, other: str) -> None:
    """Stop a daemon as its request is on the way, let another take over if there is one, and have it wake up."""
    sleeper = stage.running["one"]
    hold = stage.proxy.hold(*([Api[step]] if step else []), client=stage.client())
    if step and not hold.waits.wait(STEP_WITHIN_S):
        stage.note(f"{step} was not seen")
    sleeper.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    if other:
        took_over(stage, other)
    time.sleep(max(stopped + SESSION_TIMEOUT_S + TRANSACTION_TIMEOUT_S + 2 - time.monotonic(), 0))
    stage.proxy.release(hold)
    time.sleep(0.5)  # for the broker to have what was held, from a member that is no longer one
    woken, assigned = time.monotonic(), len(sleeper.events("assigned"))
    sleeper.process.send_signal(signal.SIGCONT)
    until(
        lambda: len(sleeper.events("assigned")) > assigned,
        "the daemon that was stopped has partitions again",
        sleeper,
    )
    stage.progress_everywhere(*stage.running.values())
    stage.recovered(time.monotonic() - woken, RECOVERY_LIMIT_S, "going on after SIGCONT")


@fault(alone=False, quick={"times": 1}, long={"times": 20}, short={"times": 1})
def asked_to_leave(stage: Stage, times: int) -> None:
    """SIGTERM under load: leaves within 10 s with exit code 0, and no transaction of it is open then."""
    dice = random.Random(3)
    stage.join("one")
    for _ in range(times):
        time.sleep(dice.uniform(0, 1))
        stage.leave()
        stage.demand(not stage.open_transactions("one"), "a daemon that left has a transaction open")
        stage.recover()
