"""Names and units of a detector's channels, read from its model file where this machine can reach it.

Score rows carry the channels in the model's order and no names, to stay small.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitor.config import Detector
from monitor.errors import InvalidModel
from monitor.modelfile import METADATA_KEY, MODEL_FILE, ModelMetadata, parse_metadata, resolve_model

RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class ChannelName:
    """What to call a channel on the screen."""

    name: str
    unit: str = ""


@dataclass(slots=True)
class ChannelNames:
    """Names by detector and model version; read once, asked for again later where there was no file."""

    detectors: Sequence[Detector]
    clock: Callable[[], float] = time.monotonic
    _known: dict[tuple[str, str], tuple[ChannelName, ...]] = field(default_factory=dict)
    _retry_s: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, detector: str, version: str, width: int) -> tuple[ChannelName, ...]:
        """Names of `width` channels; "channel 1" and so on where the model file says nothing that fits."""
        key = (detector, version)
        if key not in self._known and self.clock() >= self._retry_s.get(key, 0.0):
            self._retry_s[key] = self.clock() + RETRY_S
            if names := self._read(detector, version):
                self._known[key] = names
        names = self._known.get(key, ())
        return names if len(names) == width else tuple(ChannelName(f"channel {n + 1}") for n in range(width))

    def _read(self, detector: str, version: str) -> tuple[ChannelName, ...]:
        model = next((d.model for d in self.detectors if d.name == detector), None)
        if model is None:
            return ()
        try:
            exact = Path(model) / version / MODEL_FILE
            if version and exact.is_file():
                return names_of(read_metadata(exact))
            current = read_metadata(resolve_model(model))
            return names_of(current) if version in ("", current.version) else ()
        except (InvalidModel, OSError, ValueError):
            return ()


def names_of(metadata: ModelMetadata) -> tuple[ChannelName, ...]:
    """Names and units of a model's channels."""
    return tuple(ChannelName(channel.name, channel.unit) for channel in metadata.channels)


def read_metadata(file: Path) -> ModelMetadata:
    """What a model file says of itself; raises InvalidModel, OSError or ValueError."""
    import onnx  # here, since most pages of most installations are drawn before a name is needed
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    text = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY, "")
    return parse_metadata(text)
