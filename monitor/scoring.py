"""Load a model file, hold it to the contract, warm it up, and score windows with it.

Shapes: windows (B, W, C) float32, NaN where missing -> score (B,), channel_score (B, C), reconstruction (B, W, C).
"""

import hashlib
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from monitor import runtime
from monitor.errors import InvalidModel
from monitor.modelfile import INPUT, METADATA_KEY, OUTPUTS, ModelMetadata, parse_metadata, resolve_model
from monitor.runtime import Floats as Floats  # part of what this module offers
from monitor.runtime import Score as Score

MAX_FILE_BYTES = 2**31 - 1  # of one Protocol Buffers message
_STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


@dataclass(frozen=True, slots=True)
class Model:
    """A model in service: what it says of itself, the provider that runs it, and the call that scores.

    `buffer(n)` is memory for n windows, (n, W, C) float32, its content undefined. Any array can be scored; a leading
    slice of a buffer is scored fastest. Ordinary memory does for the CPU, and is what a model made by hand has.
    More than `batch` windows at a time are no faster. `digest` is the file's SHA-256 in hexadecimal: models with the
    same one are the same; a model made by hand has none.
    """

    metadata: ModelMetadata
    provider: str
    score: Score
    buffer: Callable[[int], Floats] = None  # type: ignore[assignment]  # never None once it is made
    batch: int = 2**31
    digest: str = ""

    def __post_init__(self) -> None:
        """Give a model that names no memory of its own the ordinary kind."""
        if self.buffer is None:
            shape = self.metadata.window, len(self.metadata.channels)
            object.__setattr__(self, "buffer", lambda count: np.empty((count, *shape), np.float32))


def load_model(path: str | os.PathLike[str], provider: str = "auto", threads: int = 1, device: int = 0) -> Model:
    """Read, verify and warm up a model; `path` is an .onnx file or a model directory, `device` a CUDA device.

    Raises InvalidModel with the clause of the contract that the file breaks, InvalidConfiguration where the provider
    is 'cuda' and the device cannot be used.
    """
    file = resolve_model(path)
    data = _read(file)
    try:
        return _model(data, provider, threads, device)
    except InvalidModel as error:
        raise InvalidModel(f"{file}: {error}") from None


def digest_of(path: str | os.PathLike[str]) -> str:
    """`Model.digest` of what `load_model` would load now; raises InvalidModel where there is no file to read."""
    return hashlib.sha256(_read(resolve_model(path))).hexdigest()


def _read(file: Path) -> bytes:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InvalidModel(f"{file}: it is no file")  # to read a pipe would take as long as its writer likes
        if found.st_size > MAX_FILE_BYTES:
            raise InvalidModel(f"{file}: it has {found.st_size} bytes; ONNX allows {MAX_FILE_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise InvalidModel(f"{file}: {error.strerror or error}") from None


def _model(data: bytes, provider: str, threads: int, device: int) -> Model:
    proto, metadata = _verify_graph(data)
    start = partial(runtime.open_session, provider=provider, threads=threads, device=device)
    session = start(data)
    _verify_signature(session, metadata)
    shapes = _warm_up(session, metadata)
    window = metadata.window, len(metadata.channels)
    chosen = session.get_providers()[0]
    allocate = runtime.memory(chosen, device)
    batch = runtime.most_in_a_call(chosen, threads, math.prod(window))
    score = runtime.scorer(proto, start, shapes, batch)
    for outputs in (
        ("score", "channel_score"),
        ("reconstruction", "latent"),
    ):  # so that no window at night waits for these
        score(np.zeros((1, *window), np.float32), outputs)
    digest = hashlib.sha256(data).hexdigest()
    return Model(metadata, chosen, score, lambda count: allocate((count, *window)), batch, digest)


def _verify_graph(data: bytes) -> tuple[Any, ModelMetadata]:
    """Clauses that the file itself shows: ONNX, its metadata, one file, no operators of its own."""
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises whatever it likes at bytes that are no model
        raise InvalidModel(f"it is no ONNX file, or half of one: {error}") from None
    if not proto.graph.node:
        raise InvalidModel("it is no ONNX file, or half of one: the graph is empty")
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(METADATA_KEY)
    if text is None:
        raise InvalidModel(f"metadata_props['{METADATA_KEY}'] is missing: this file is no Tocsin model")
    if foreign := {node.domain for node in _nodes(proto.graph)} - _STANDARD_DOMAINS:
        raise InvalidModel(f"no custom operators: the graph uses the domain '{min(foreign)}'")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(proto.graph)):
        raise InvalidModel("no external data: a weight lies in another file")
    return proto, parse_metadata(text)


def _tensors(graph: Any) -> list[Any]:
    """Tensors of a graph and of the graphs inside it: initializers, dense and sparse, and attributes of nodes."""
    graphs = [graph, *(a.g for node in _nodes(graph) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)]
    attributes = [attribute for node in _nodes(graph) for attribute in node.attribute]
    sparse = [tensor for part in graphs for tensor in part.sparse_initializer]
    sparse += [attribute.sparse_tensor for attribute in attributes]
    return [
        *(tensor for part in graphs for tensor in part.initializer),
        *(attribute.t for attribute in attributes),
        *(tensor for attribute in attributes for tensor in attribute.tensors),
        *(half for tensor in sparse for half in (tensor.values, tensor.indices)),
    ]


def _nodes(graph: Any) -> list[Any]:
    """Nodes of a graph and of the graphs inside them."""
    inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [*graph.node, *(node for part in inner for node in _nodes(part))]


def _verify_signature(session: Any, metadata: ModelMetadata) -> None:
    """Names, types and ranks of the graph's input and outputs, and the lengths that the metadata states."""
    window, channels = metadata.window, len(metadata.channels)
    inputs = session.get_inputs()
    if [node.name for node in inputs] != [INPUT]:
        raise InvalidModel(f"the only input is '{INPUT}'; found {[node.name for node in inputs]}")
    _verify_shape(inputs[0], (None, window, channels))
    outputs = {node.name: node for node in session.get_outputs()}
    expected: dict[str, tuple[int | None, ...]] = {
        "score": (None,),
        "channel_score": (None, channels),
        "reconstruction": (None, window, channels),
        "latent": (None, None),
    }
    for name in OUTPUTS:
        if name not in outputs:
            raise InvalidModel(f"output '{name}' is missing")
        _verify_shape(outputs[name], expected[name])


def _verify_shape(node: Any, expected: tuple[int | None, ...]) -> None:
    if node.type != "tensor(float)":
        raise InvalidModel(f"'{node.name}' is float32; found {node.type}")
    if len(node.shape) != len(expected):
        raise InvalidModel(f"'{node.name}' has rank {len(expected)}; found shape {node.shape}")
    if isinstance(node.shape[0], int):
        raise InvalidModel(f"the first axis of '{node.name}' is dynamic; found {node.shape[0]}")
    for found, wanted in zip(node.shape, expected, strict=True):
        if isinstance(found, int) and wanted is not None and found != wanted:
            raise InvalidModel(f"'{node.name}' has shape {expected}; found {node.shape}")


def _warm_up(session: Any, metadata: ModelMetadata) -> dict[str, tuple[int, ...]]:
    """Run a small and an empty-celled batch: a graph that cannot is refused now, not at night.

    Returns the shape of each output, without B.
    """
    window, channels = metadata.window, len(metadata.channels)
    windows = np.zeros((3, window, channels), np.float32)
    windows[1:, :, 0] = np.nan
    windows[2] = np.nan
    try:
        found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {INPUT: windows}, runtime.run_options()), strict=True))
    except Exception as error:
        raise InvalidModel(f"the graph does not run: {str(error)[:300]}") from None
    shapes = {
        "score": (3,),
        "channel_score": (3, channels),
        "reconstruction": (3, window, channels),
        "latent": (3, *found["latent"].shape[1:2]),
    }
    for name, wanted in shapes.items():
        if found[name].shape != wanted:
            raise InvalidModel(f"'{name}' has shape {wanted} for 3 windows; found {found[name].shape}")
    if not np.isfinite(found["score"]).all() or not np.isfinite(found["channel_score"]).all():
        raise InvalidModel("NaN is handled in the graph: a window with missing values gave no finite score")
    return {name: shape[1:] for name, shape in shapes.items()}
