"""From a scorer to a model file: one ONNX graph, its metadata, and the proof that both runtimes agree.

Shapes: B windows, W buckets, C channels, K latent units.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from monitor.errors import InvalidModel
from monitor.modelfile import INPUT, METADATA_KEY, OUTPUTS, ModelMetadata, encode_metadata
from training.lens import AnyScorer
from training.scorer import Scorer, halved

OPSET = 20
TOLERANCE = 1e-4
HALF_TOLERANCE = 1e-3  # what half precision may change of a score
SMALL_SCORE = 1e-2  # differences are relative to the score, or to this where it is smaller
CHUNK = 1024  # windows at a time
HUGE = 1e30


def to_onnx(scorer: AnyScorer, window: int, channels: int) -> Any:
    """Trace the scorer into an `onnx.ModelProto` with dynamic B; free of paths and traces of this machine."""
    scorer.eval()
    example = torch.zeros(2, window, channels)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            scorer,
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={INPUT: {0: torch.export.Dim("B", min=1)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    if program is None:
        raise InvalidModel("PyTorch gave no ONNX graph")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def golden_windows(windows: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Windows that a graph must survive: as recorded, with gaps, a dead channel, huge values, and nothing."""
    chosen = windows[np.linspace(0, len(windows) - 1, 8).astype(int)].copy()
    random = np.random.default_rng(seed)
    gaps, dead = chosen.copy(), chosen.copy()
    gaps[random.random(gaps.shape) < 0.3] = np.nan
    dead[:, :, 0] = np.nan
    huge, spike = gaps.copy(), gaps.copy()
    huge[:, -1, -1] = HUGE
    huge[:, 0, -1] = -HUGE
    spike[:, -1] *= 100
    nothing = np.full_like(chosen[:1], np.nan)
    return np.concatenate([chosen, gaps, dead, huge, spike, nothing])


def check_agreement(model: Any, scorer: AnyScorer, windows: NDArray[np.float32]) -> None:
    """Run windows (B, W, C) through both runtimes; raises InvalidModel where outputs differ or are infinite.

    Outputs may differ by 1e-4 of their value, or of what is small for them: a hundredth for scores, one for
    the latent, a deviation of the channel for its reconstruction.
    """
    session = _session(model)
    with torch.no_grad():
        expected = [output.numpy() for output in scorer.eval()(torch.from_numpy(windows))]
    actual = session.run(list(OUTPUTS), {INPUT: windows})
    small: dict[str, Any] = {
        "score": SMALL_SCORE,
        "channel_score": SMALL_SCORE,
        "latent": 1.0,
        "reconstruction": scorer.scaling.deviation.numpy(),
    }
    for name, torch_says, onnx_says in zip(OUTPUTS, expected, actual, strict=True):
        if not (np.isfinite(torch_says).all() and np.isfinite(onnx_says).all()):
            raise InvalidModel(f"{name}: not finite on windows with gaps or huge values")
        if torch_says.shape != onnx_says.shape:
            raise InvalidModel(f"{name}: shape {onnx_says.shape} instead of {torch_says.shape}")
        relative = np.abs(torch_says - onnx_says) / np.maximum(np.abs(torch_says), small[name])
        if (worst := float(relative.max())) > TOLERANCE:
            raise InvalidModel(f"{name}: ONNX Runtime and PyTorch differ by {worst:.1e}, more than {TOLERANCE}")


def half_precision(scorer: Scorer, single: Any, windows: NDArray[np.float32]) -> tuple[Any, float]:
    """The scorer's model in half precision, and the most that it changes of a score of windows (B, W, C), relative.

    That is infinite where an output is not finite; `single` is the same model in single precision.
    """
    _, window, channels = windows.shape
    half = to_onnx(halved(scorer), window, channels)
    return half, max(_differences(_session(half), _session(single), windows))


def _differences(half: Any, single: Any, windows: NDArray[np.float32]) -> Iterator[float]:
    """Largest relative difference of the scores of two sessions, for every CHUNK windows."""
    for first in range(0, len(windows), CHUNK):
        part = {INPUT: windows[first : first + CHUNK]}
        found, *others = half.run(list(OUTPUTS), part)
        (expected,) = single.run(["score"], part)
        finite = all(np.isfinite(output).all() for output in (found, *others))
        relative = np.abs(found - expected) / np.maximum(np.abs(expected), SMALL_SCORE)
        yield float(relative.max()) if finite else float("inf")


def _session(model: Any) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, one thread, errors only."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common public root
        raise InvalidModel(f"ONNX Runtime does not load the graph: {error}") from error


def write(model: Any, metadata: ModelMetadata, path: Path) -> None:
    """Put the metadata into the model and the model into its file, which appears whole or not at all."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, encode_metadata(metadata)
    half_written = path.with_name(f".{path.name}.{os.getpid()}")
    half_written.write_bytes(model.SerializeToString())
    half_written.replace(path)


def _strip(model: Any) -> None:
    """Drop what the exporter noted on nodes and values: stack traces with paths, half of the file's size."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    del graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about packages that are not needed off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
