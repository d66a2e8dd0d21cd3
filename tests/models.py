"""Small models for tests: one that a reader can check by hand, as a function and as a model file."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from monitor.modelfile import METADATA_KEY, Calibration, Channel, ModelMetadata, Tail, Training, encode_metadata
from monitor.scoring import Model

STEADY = {"priorities": (1e9, 1e9)}  # settings of a detector whose incidents keep the priority that they have


def metadata(channels=("a", "b"), window=4, stride=2, period_ms=1000, min_observed=0.5, **changes):
    """Metadata of a model whose normal scores are uniform between 0 and 1, with a tail above 0.9."""
    fields = {
        "schema": 1,
        "name": "plain",
        "version": "1",
        "family": "mean-absolute",
        "channels": tuple(each if isinstance(each, Channel) else Channel(each, "mm/s") for each in channels),
        "window": window,
        "stride": stride,
        "period_ms": period_ms,
        "min_observed": min_observed,
        "calibration": Calibration(1000, 500.0, ((0.0, 0.0), (0.9, 0.9)), Tail(0.9, 0.1, 0.0, 0.1)),
        "training": Training(1000, ("pump-1",), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "0" * 64),
        "metrics": {},
        "created": "2026-01-03T00:00:00Z",
    }
    return ModelMetadata(**(fields | changes))


def score(windows, outputs):
    """The mean absolute value of what was observed; the reconstruction is zero everywhere."""
    error = np.nan_to_num(np.abs(windows))
    seen = np.maximum((~np.isnan(windows)).sum(axis=(1, 2)), 1)
    share = error.sum(axis=1) / seen[:, None]
    results = {
        "score": share.sum(axis=1).astype(np.float32),
        "channel_score": share.astype(np.float32),
        "reconstruction": np.zeros_like(windows),
        "latent": share.sum(axis=1).astype(np.float32)[:, None],
    }
    return [results[name] for name in outputs]


def model(**changes):
    """A model in service that needs no file."""
    return Model(metadata(**changes), "none", score)


def graph(window=4, channels=2):
    """The same score as an ONNX graph."""
    nodes = [
        helper.make_node("IsNaN", ["window"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "window"], ["filled"]),
        helper.make_node("Abs", ["filled"], ["error"]),
        helper.make_node("Where", ["missing", "zero", "one"], ["observed"]),
        helper.make_node("ReduceSum", ["observed", "axes"], ["count"], keepdims=0),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("ReduceSum", ["error", "time"], ["per_channel"], keepdims=0),
        helper.make_node("Unsqueeze", ["divisor", "last"], ["column"]),
        helper.make_node("Div", ["per_channel", "column"], ["channel_score"]),
        helper.make_node("ReduceSum", ["channel_score", "last"], ["score"], keepdims=0),
        helper.make_node("Mul", ["filled", "zero"], ["reconstruction"]),
        helper.make_node("Unsqueeze", ["score", "last"], ["latent"]),
    ]
    constants = {"zero": np.float32(0), "one": np.float32(1), "axes": [1, 2], "time": [1], "last": [1]}
    shapes = {"score": ["B"], "channel_score": ["B", channels], "reconstruction": ["B", window, channels]}
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (shapes | {"latent": ["B", 1]}).items()
    ]
    return helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", window, channels])],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def write_version(directory: Path, meta: ModelMetadata | None = None, edit=lambda proto: None) -> Path:
    """Write the file of one version, `directory/name/version/model.onnx`; `edit` may break it first."""
    meta = meta or metadata()
    proto = helper.make_model(
        graph(meta.window, len(meta.channels)), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    helper.set_model_props(proto, {METADATA_KEY: encode_metadata(meta)})
    edit(proto)
    file = directory / meta.name / meta.version / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, file)
    return file


def write_model(directory: Path, meta: ModelMetadata | None = None, edit=lambda proto: None) -> Path:
    """Write a model directory `directory/name` with this version in service."""
    version = write_version(directory, meta, edit).parent
    (version.parent / "current").write_text(version.name + "\n")
    return version.parent


# Edits of a good model's graph: what follows its own score, called "plain", and gives the one that is told.


def _after_score(proto, *nodes, **constants):
    """Insert nodes that make "score" of "plain"; of what an edit before this one made, where there was one."""
    graph = proto.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["plainer" if name == "plain" else name for name in names]
    place = next(i for i, node in enumerate(graph.node) if "score" in node.output)
    graph.node[place].output[0] = "plain"
    rest = list(graph.node[place + 1 :])
    del graph.node[place + 1 :]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())


def scaled(factor):
    """An edit: scores are so many times as high."""
    node = helper.make_node("Mul", ["plain", "factor"], ["score"])
    return lambda proto: _after_score(proto, node, factor=np.float32(factor))


def giving(value, above):
    """An edit: a window that would score higher than `above` scores `value`."""
    nodes = [
        helper.make_node("Greater", ["plain", "above"], ["high"]),
        helper.make_node("Where", ["high", "value", "plain"], ["score"]),
    ]
    return lambda proto: _after_score(proto, *nodes, above=np.float32(above), value=np.float32(value))


def raising(above):
    """An edit: a call with a window that would score higher than `above` fails, by an index that is out of range."""
    nodes = [
        helper.make_node("Greater", ["plain", "above"], ["high"]),
        helper.make_node("Cast", ["high"], ["times"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["times"], ["row"], keepdims=0),
        helper.make_node("Gather", ["none", "row"], ["nothing"]),
        helper.make_node("Add", ["plain", "nothing"], ["score"]),
    ]
    return lambda proto: _after_score(proto, *nodes, above=np.float32(above), none=np.zeros(1, np.float32))


def looping(times):
    """An edit: every call adds nothing to the scores so many times over."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "none"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    node = helper.make_node("Loop", ["times", "yes", "plain"], ["score"], body=body)
    return lambda proto: _after_score(proto, node, times=np.int64(times), yes=np.array(True), none=np.float32(0))
