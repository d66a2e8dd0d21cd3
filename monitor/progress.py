"""Commands that take their time: a progress bar on a terminal, and readings sent with one."""

from typing import Any

import typer

from monitor.errors import InvalidConfiguration


def send(config: Any, readings: Any, total: int, speed: float | None, encoding: str) -> None:
    """Send readings to the input topic with a progress bar, and say how many were acknowledged."""
    import contextlib

    from kafka.errors import KafkaError

    from monitor.cluster import partition_counts
    from monitor.replay import replay, replay_producer

    if encoding not in ("json", "json-narrow", "arrow"):
        raise InvalidConfiguration(f"encoding: '{encoding}' is none of json, json-narrow, arrow")
    if speed is not None and speed <= 0:
        raise InvalidConfiguration(f"speed: {speed} is not above 0")
    if config.topics.readings not in partition_counts(config):  # a broker that makes topics would make a wrong one
        raise InvalidConfiguration(f"there is no topic {config.topics.readings}: create it with `tocsin topics`")
    producer = replay_producer(config)
    try:
        with progress("sending", total) as advance:
            done = replay(
                readings,
                producer,
                config.topics.readings,
                speed,
                encoding,  # type: ignore[arg-type]
                on_progress=lambda progress: advance(progress.sent),
            )
    finally:
        with contextlib.suppress(KafkaError):  # what was not sent is told by what was raised
            producer.close(timeout=5)
    typer.echo(
        f"{config.topics.readings}: {done.acknowledged} readings in {done.messages} messages, all acknowledged"
    )


def counted(parts: Any, advance: Any) -> Any:
    """The parts, each counted when it has been taken."""
    done = 0
    for part in parts:
        done += len(part)
        yield part
        advance(done)


def progress(what: str, total: int) -> Any:
    """A bar on a terminal, nothing elsewhere; gives a function that is told how many are done."""
    import contextlib

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    screen = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    bar = Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=screen, disable=not screen.is_terminal
    )

    @contextlib.contextmanager
    def advancing() -> Any:
        with bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)

    return advancing()
