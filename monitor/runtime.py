"""ONNX Runtime: where a model runs, the memory its windows lie in, and the call that scores them.

The same path serves every device: windows and results are arrays of this machine that are bound to the session, and
ONNX Runtime copies what is elsewhere. On a CPU nothing is copied. With CUDA the windows are copied once, from pinned
memory if they lie in a buffer of the model's, and back comes only what was asked for.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from monitor import cuda
from monitor.errors import InvalidConfiguration, InvalidModel
from monitor.modelfile import INPUT

Floats = NDArray[np.float32]
# What the pipeline needs of a model: windows and the names of the outputs wanted -> those outputs.
Score = Callable[[Floats, tuple[str, ...]], Sequence[Floats]]
Open = Callable[[bytes], Any]  # a serialized graph -> its session

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# Values of windows in one call for each thread of a CPU: what lies between the nodes then stays in its cache.
# (Dense, 64 x 8, one thread, 8,192 windows: 3.4 us a window in calls of 256, 4.2 of 1,024, 5.8 in one.)
CALL_VALUES = 131_072


def open_session(data: bytes, provider: str, threads: int, device: int) -> Any:
    """A session on the device that `provider` (auto, cpu, cuda) and `device` ask for; prints nothing.

    'auto' takes CUDA where a device answers and its libraries load, else the CPU. Raises InvalidConfiguration where
    'cuda' is asked for and cannot be had, InvalidModel where the graph cannot be run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what matters is raised; the rest would land on the user's screen
    chosen = providers(provider, device)
    if chosen != [CPU]:
        _quiet_cuda()
    try:
        # Without its fallback, which prints, and goes on with a provider that nobody asked for.
        session = onnxruntime.InferenceSession(data, options, providers=chosen, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own classes share no root
        if provider == "auto" and chosen != [CPU]:
            return open_session(data, "cpu", threads, device)
        raise InvalidModel(f"ONNX Runtime refuses the graph: {str(error)[:300]}") from None
    if provider == "cuda" and session.get_providers()[0] != CUDA:
        raise InvalidConfiguration(
            "scoring.provider is 'cuda', but ONNX Runtime cannot load the CUDA and cuDNN libraries that it needs: "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return session


def providers(choice: str, device: int) -> list[Any]:
    """Execution providers to try in order; raises InvalidConfiguration where 'cuda' has no device to run on."""
    if choice == "cpu":
        return [CPU]
    if obstacle := _obstacle(device):
        if choice == "cuda":
            raise InvalidConfiguration(f"scoring.provider is 'cuda', but {obstacle}")
        return [CPU]
    # Scores are compared with a calibration that was made in full precision, which TF32 is not. An exhaustive search
    # for convolutions would be made again for every size of batch.
    options = {"device_id": str(device), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return [(CUDA, options), CPU]


def _obstacle(device: int) -> str:
    """Why this CUDA device cannot be used, as half a sentence; empty where nothing is known against it."""
    if CUDA not in onnxruntime.get_available_providers():
        return "the installed ONNX Runtime is built without it: pip install onnxruntime-gpu"
    count = cuda.device_count()
    if not count:
        return "no NVIDIA device answers on this machine"
    return "" if device < count else f"there is no CUDA device {device}: this machine has {count}, counted from 0"


def _quiet_cuda() -> None:
    """Let CUDA's libraries be found where pip puts them, and keep what is said of it off the screen."""
    onnxruntime.set_default_logger_severity(4)
    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            onnxruntime.preload_dlls()


def memory(provider: str, device: int) -> Callable[[tuple[int, ...]], Floats]:
    """What allocates arrays that the provider reads fastest: shape -> float32, content undefined."""
    if provider == CUDA:
        return partial(cuda.host_memory, device=device)
    return lambda shape: np.empty(shape, np.float32)


def most_in_a_call(provider: str, threads: int, values: int) -> int:
    """Windows of so many values each that are best scored in one call; one that is too large is scored alone."""
    if provider != CPU:
        return 2**31  # a device wants all at once
    return max(CALL_VALUES * (threads or os.cpu_count() or 1) // values, 1)


_limit = threading.local()  # the run options of calls by this thread


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Runs of graphs by this thread end after so many seconds, with InvalidModel: a loop in one may have no end."""
    options = _limit.options = onnxruntime.RunOptions()
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if options.terminate:
            raise InvalidModel(f"it has not ended within {seconds:g} s") from None
        raise
    finally:
        timer.cancel()
        del _limit.options


def run_options() -> Any:
    """What a run of a graph by this thread is limited by, None where it is not."""
    return getattr(_limit, "options", None)


def scorer(proto: Any, start: Open, shapes: dict[str, tuple[int, ...]], most: int) -> Score:
    """The call that scores, with at most `most` windows in one run; `shapes` are the outputs' without B.

    ONNX Runtime computes all nodes of a graph, whatever is asked for. So each set of outputs has a session of its
    own, of the nodes that it needs, which is made when it is first asked for.
    """
    sessions: dict[frozenset[str], Any] = {}

    def score(windows: Floats, outputs: tuple[str, ...]) -> Sequence[Floats]:
        wanted = frozenset(outputs)
        if wanted not in sessions:
            sessions[wanted] = start(pruned(proto, wanted).SerializeToString())
        windows = np.ascontiguousarray(windows, np.float32)
        results = {name: np.empty((len(windows), *shapes[name]), np.float32) for name in wanted}
        for first in range(0, len(windows), most):
            part = slice(first, first + most)
            _run(sessions[wanted], windows[part], {name: result[part] for name, result in results.items()})
        return [results[name] for name in outputs]

    return score


def _run(session: Any, windows: Floats, results: dict[str, Floats]) -> None:
    """One run, its results written where they shall lie; a binding of its own, so that calls may overlap."""
    binding = session.io_binding()
    binding.bind_cpu_input(INPUT, windows)
    for name, result in results.items():
        binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(result))
    session.run_with_iobinding(binding, run_options())


def pruned(proto: Any, outputs: frozenset[str]) -> Any:
    """The same model with these outputs, and the nodes and weights that they need."""
    needed, nodes = set(outputs), []
    for node in reversed(proto.graph.node):
        if needed.intersection(node.output):
            needed |= _read_by(node)
            nodes.append(node)
    small = type(proto)()
    small.CopyFrom(proto)
    for name, kept in {
        "node": reversed(nodes),
        "output": [value for value in proto.graph.output if value.name in outputs],
        "initializer": [tensor for tensor in proto.graph.initializer if tensor.name in needed],
        "sparse_initializer": [tensor for tensor in proto.graph.sparse_initializer if tensor.values.name in needed],
    }.items():
        small.graph.ClearField(name)
        getattr(small.graph, name).extend(kept)
    return small


def _read_by(node: Any) -> set[str]:
    """Names that a node reads, in the graphs inside it too."""
    graphs = [attribute.g for attribute in node.attribute] + [g for a in node.attribute for g in a.graphs]
    inner = [name for graph in graphs for part in graph.node for name in _read_by(part)]
    results = [value.name for graph in graphs for value in graph.output]  # which may be a name of the graph around
    return {*node.input, *inner, *results}
