"""The answer to a question for older windows: columns and names as the asset's stream has them."""

from typing import Any

import msgspec
from starlette.requests import HTTPConnection

from dashboard.history import Past, Wanted, read_past
from dashboard.payload import columns
from dashboard.shared import Shared

LONGEST_NAME = 1024


def wanted_of(connection: HTTPConnection) -> Wanted:
    """The question in an address: asset, detector, from and to (event time, s); raises ValueError."""
    asked = connection.query_params
    asset, detector = asked.get("asset", ""), asked.get("detector", "")
    begin_s, end_s = float(asked.get("from", "")), float(asked.get("to", ""))
    if not asset or not detector or not 0 <= begin_s < end_s <= 1e11 or len(asset + detector) > LONGEST_NAME:
        raise ValueError
    return Wanted(asset, detector, int(begin_s * 1e9), int(end_s * 1e9))


def past(shared: Shared, wanted: Wanted) -> bytes:
    """Read, and encode for the browser; of an asset that nobody has scored there is no past."""
    partition = shared.plant.partition_of(wanted.asset, wanted.detector)
    found = Past() if partition is None else read_past(shared.config, partition, wanted)
    answer: dict[str, Any] = {"asset": wanted.asset, "detector": wanted.detector, "cut": found.cut}
    answer["begins"] = None if found.begins_ns is None else found.begins_ns / 1e9
    if found.points is not None:
        width = found.points.channel_scores.shape[1]
        names = shared.names.of(wanted.detector, found.model_version, width)
        answer["columns"] = columns(found.points)
        answer["channels"] = [{"name": channel.name, "unit": channel.unit} for channel in names]
    return msgspec.json.encode(answer)
