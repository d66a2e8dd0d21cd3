"""Where models run, and how batches of any size and kind go through them."""

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from monitor import cuda
from monitor.errors import InvalidConfiguration
from monitor.modelfile import OUTPUTS
from monitor.runtime import CALL_VALUES, most_in_a_call, pruned
from monitor.scoring import load_model
from tests import models

NOWHERE = 99  # a device number that no machine has
needs_cuda = pytest.mark.skipif(not cuda.device_count(), reason="no NVIDIA device answers")


def windows(count, seed=0):
    made = np.random.default_rng(seed).normal(0, 3, (count, 4, 2)).astype(np.float32)
    made[made > 4] = np.nan
    return made


def same(found, expected, rtol=1e-5):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-6)


@pytest.fixture
def model(tmp_path):
    return load_model(models.write_model(tmp_path), "cpu")


# ----------------------------------------------------------------------------------------------------- the call


@pytest.mark.parametrize("count", [0, 1, CALL_VALUES // 8 - 1, CALL_VALUES // 8, CALL_VALUES // 8 * 2 + 1])
def test_a_batch_larger_than_a_call_is_scored_in_parts_and_given_whole(model, count):
    batch = windows(count)
    same(model.score(batch, OUTPUTS), models.score(batch, OUTPUTS))


def test_a_call_holds_a_window_however_large_and_more_of_them_for_more_threads():
    one, four = (most_in_a_call("CPUExecutionProvider", threads, CALL_VALUES // 10) for threads in (1, 4))
    assert (one, four) == (10, 40)
    assert most_in_a_call("CPUExecutionProvider", 1, CALL_VALUES * 10) == 1


def test_results_stay_what_they_are_when_the_next_batch_is_scored(model):
    buffer = model.buffer(8)
    buffer[:] = windows(8)
    first = model.score(buffer, OUTPUTS)
    kept = [result.copy() for result in first]
    buffer[:] = windows(8, seed=1)
    model.score(buffer, OUTPUTS)
    for result, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(result, copy)


@pytest.mark.parametrize(
    "kind",
    [
        lambda batch: batch.astype(np.float64),
        lambda batch: np.repeat(batch, 2, axis=0)[::2],
        lambda batch: batch.transpose(2, 1, 0).copy().transpose(2, 1, 0),
        lambda batch: np.frombuffer(batch.tobytes(), np.float32).reshape(batch.shape),
    ],
    ids=["float64", "every other window", "transposed", "read-only"],
)
def test_windows_may_lie_in_memory_in_any_way(model, kind):
    same(model.score(kind(windows(9)), OUTPUTS), models.score(windows(9), OUTPUTS))


def test_an_output_may_be_asked_for_twice_and_in_any_order(model):
    latent, score, again = model.score(windows(3), ("latent", "score", "latent"))
    same([score, latent[:, 0], again[:, 0]], models.score(windows(3), ("score",)) * 3)


# ------------------------------------------------------------------------------------------------ only what is asked


def proto():
    return helper.make_model(models.graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_nodes_and_weights_that_an_output_does_not_need_are_left_out():
    small = pruned(proto(), frozenset({"reconstruction"})).graph
    assert [node.op_type for node in small.node] == ["IsNaN", "Where", "Mul"]
    assert [tensor.name for tensor in small.initializer] == ["zero"]
    assert [value.name for value in small.output] == ["reconstruction"]


def test_all_outputs_need_the_whole_graph_in_its_order():
    whole = proto()
    assert pruned(whole, frozenset(OUTPUTS)) == whole


def test_what_a_graph_within_a_graph_reads_is_kept(tmp_path):
    """`score` becomes what an If gives, whose branches read a name of the graph around them."""

    def edit(model):
        graph = model.graph
        for node in graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    names[place] = {"score": "made"}.get(name, name)
        branches = {
            "then_branch": helper.make_graph(
                [helper.make_node("Identity", ["made"], ["inner"])],
                "then",
                [],
                [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
            ),
            "else_branch": helper.make_graph(
                [helper.make_node("Neg", ["made"], ["other"])],
                "else",
                [],
                [helper.make_tensor_value_info("other", TensorProto.FLOAT, None)],
            ),
        }
        yes = onnx.numpy_helper.from_array(np.array(True), "yes")
        graph.initializer.append(yes)
        node = helper.make_node("If", ["yes"], ["score"])
        node.attribute.extend(AttributeProto(name=k, type=AttributeProto.GRAPH, g=g) for k, g in branches.items())
        graph.node.append(node)

    model = load_model(models.write_model(tmp_path, edit=edit), "cpu")
    same(model.score(windows(5), ("score",)), models.score(windows(5), ("score",)))


# ------------------------------------------------------------------------------------------------------- the device


def test_a_cuda_device_that_is_not_there_is_one_sentence_and_nothing_on_the_screen(tmp_path, capfd):
    with pytest.raises(InvalidConfiguration, match=r"^scoring\.provider is 'cuda', but [^.\n]*$"):
        load_model(models.write_model(tmp_path), "cuda", device=NOWHERE)
    assert capfd.readouterr() == ("", "")


def test_without_the_device_auto_takes_the_cpu_and_says_nothing(tmp_path, capfd):
    model = load_model(models.write_model(tmp_path), "auto", device=NOWHERE)
    assert model.provider == "CPUExecutionProvider"
    same(model.score(windows(3), ("score",)), models.score(windows(3), ("score",)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(0, 4, 2), (5, 4, 2)])
def test_memory_for_a_device_that_is_not_there_is_ordinary_memory(shape):
    memory = cuda.host_memory(shape, NOWHERE)
    memory[:] = 1
    assert (memory.shape, memory.dtype, memory.sum()) == (shape, np.float32, memory.size)


@needs_cuda
def test_a_device_scores_as_the_cpu_does_from_its_own_buffer_and_from_any_array(tmp_path):
    model = load_model(models.write_model(tmp_path), "cuda")
    assert model.provider == "CUDAExecutionProvider"
    buffer = model.buffer(200)
    for count in (200, 3, 77):
        batch = windows(count, seed=count)
        buffer[:count] = batch
        expected = models.score(batch, OUTPUTS)
        same(model.score(buffer[:count], OUTPUTS), expected)
        same(model.score(batch, OUTPUTS), expected)
