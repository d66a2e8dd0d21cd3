"""Messages of the anomalies topic into what waits for its turn; what is no event is told and passed over."""

from collections.abc import Callable, Iterable

import msgspec

from monitor.columns import Headers, Messages
from monitor.events import IncidentEvent, decode_message, to_ns
from monitor.notify.ordering import Ordering


def read(
    ordering: Ordering,
    messages: Iterable[Messages],
    done: dict[int, int],
    now: int,
    tell: Callable[[int, int, str], None],
) -> None:
    """Put messages behind those that wait, but for those `done`; `tell` hears partition, offset, what is wrong."""
    for batch in messages:
        if batch.partition not in done:
            continue
        rows = zip(batch.offsets, batch.timestamps, batch.values, batch.headers, strict=True)
        for offset, stamp, value, headers in rows:
            if offset < done[batch.partition]:
                continue
            try:
                event = incident_of(headers, value)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                tell(batch.partition, offset, str(error)[:300])
                event = None
            time = to_ns(event.detected) if event is not None else 0
            ordering.add(batch.partition, offset, time, stamp * 1_000_000 if stamp >= 0 else now, now, event)
        ordering.read_to(batch.partition, batch.next_offset)


def incident_of(headers: Headers, value: bytes | None) -> IncidentEvent | None:
    """An incident event; None for what is about sensors or groups. Raises msgspec.DecodeError."""
    event = decode_message(headers, value or b"")
    return event if isinstance(event, IncidentEvent) else None
