"""How kafka-python's group membership is kept from waiting for ever, or for much longer than it needs to.

A member joins in two questions: which generation is it part of, and which partitions are its own. The client's thread
asks both, but only a poll applies the answer, and a daemon spends most of its time elsewhere.
"""

from typing import Any

from kafka.coordinator.base import MemberState

REQUEST_MORE_S = 2.0  # than a fetch waits for messages


def patience(timeout_s: float, fetch_s: float = 0.5) -> dict[str, int]:
    """Settings of a client whose calls may take so long: within that it gives a broker up and asks another.

    By default it waits 30 s for a broker that hangs, which is longer than each call that would find another one; and
    to bootstrap it chooses one broker by chance, and waits for it until the time is over.
    """
    within_ms = int(1000 * max(timeout_s / 3, fetch_s + REQUEST_MORE_S))
    return {"bootstrap_timeout_ms": within_ms, "request_timeout_ms": within_ms}


def settled(consumer: Any) -> bool:
    """Whether the group is at rest: a member that joins is busy too, and must not be kept from it by rests."""
    coordinator = consumer._coordinator
    return bool(consumer.assignment()) and not coordinator.rejoining and not coordinator.need_rejoin()


def finish_rejoining(coordinator: Any) -> None:
    """Have the client end a rejoin that it has begun.

    Any call lets the answer to a join arrive, and where new metadata was the cause, the client then sees no need to
    join, never applies the answer and sends no heartbeat: it would read nothing for ever.
    """
    if coordinator.rejoining:
        coordinator.request_rejoin()


def keep_answers(coordinator: Any) -> None:
    """Have an answer to a join that came between two polls applied by the next one.

    The client would throw it away and join anew, which every other member learns by its heartbeat only; between
    members that work for longer than they poll that went on and on (13 generations and 25 s, measured).
    """
    ask = coordinator._do_join_and_sync_async
    kept: list[tuple[Any, bytes]] = []  # the last answer, with the generation that it is for

    async def join() -> bytes:
        # an answer that was applied has made the member stable, and one that was lost has reset its generation
        if kept and coordinator.state is MemberState.REBALANCING and kept[0][0] == coordinator._generation:
            return kept.pop()[1]
        kept.clear()
        answer: bytes = await ask()
        kept.append((coordinator._generation, answer))
        return answer

    coordinator._do_join_and_sync_async = join


def membership(consumer: Any, known: Any) -> Any:
    """Who this member is in the group, by the assignment that it was told last; what is `known` while it rejoins.

    The client's thread may have joined anew before anybody was told that partitions left: a transaction in that
    generation would commit what another member may have done meanwhile.
    """
    found = consumer.group_metadata()
    return found if found.state is MemberState.STABLE and found.generation_id > 0 else known
