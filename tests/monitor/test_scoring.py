"""Model files: the good one is served, and one that breaks the contract is refused with the clause that it breaks."""

import hashlib
import json
import os

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from monitor.errors import InvalidModel
from monitor.modelfile import (
    METADATA_KEY,
    Calibration,
    Tail,
    current_version,
    encode_metadata,
    resolve_model,
    set_current,
)
from monitor.scored import recent_mean
from monitor.scoring import digest_of, load_model
from tests import models

WINDOWS = np.array([[[1, -2], [3, np.nan], [0, 0], [np.nan, 4]], np.full((4, 2), np.nan)], np.float32)


def refusal(path):
    with pytest.raises(InvalidModel) as caught:
        load_model(path)
    return str(caught.value)


def broken(tmp_path, edit):
    """What is said of a model file that `edit` has broken."""
    path = models.write_model(tmp_path, edit=edit)
    text = refusal(path)
    assert text.startswith(str(path / "1" / "model.onnx"))
    return text


def with_metadata(change):
    """An edit of the metadata document."""

    def edit(proto):
        document = json.loads(encode_metadata(models.metadata()))
        change(document)
        helper.set_model_props(proto, {METADATA_KEY: json.dumps(document)})

    return edit


def with_output(name, kind, shape):
    """An edit that declares an output anew, its shape no longer what the graph shows."""

    def edit(proto):
        places = [i for i, value in enumerate(proto.graph.output) if value.name == name]
        proto.graph.output[places[0]].CopyFrom(helper.make_tensor_value_info(name, kind, shape))

    return edit


# ------------------------------------------------------------------------------------------------ the good one


def test_good_model_scores_what_its_graph_says_with_missing_values(tmp_path):
    model = load_model(models.write_model(tmp_path))
    assert model.metadata == models.metadata()
    score, channels, reconstruction, latent = model.score(
        WINDOWS, ("score", "channel_score", "reconstruction", "latent")
    )
    np.testing.assert_allclose(score, [10 / 6, 0], rtol=1e-6)
    np.testing.assert_allclose(channels, [[4 / 6, 1], [0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(reconstruction, np.zeros((2, 4, 2)))
    np.testing.assert_array_equal(latent, score[:, None])


def test_only_the_outputs_that_are_wanted_are_given(tmp_path):
    model = load_model(models.write_model(tmp_path))
    assert len(model.score(WINDOWS, ("latent",))) == 1
    assert [result.shape for result in model.score(WINDOWS, ("channel_score", "score"))] == [(2, 2), (2,)]


def test_a_batch_of_any_size_is_scored(tmp_path):
    model = load_model(models.write_model(tmp_path))
    assert [len(model.score(np.ones((n, 4, 2), np.float32), ("score",))[0]) for n in (0, 1, 77)] == [0, 1, 77]


@pytest.mark.parametrize("model", [lambda path: load_model(models.write_model(path)), lambda path: models.model()])
def test_a_buffer_holds_windows_that_are_scored_where_they_lie(tmp_path, model):
    made = model(tmp_path)
    buffer = made.buffer(5)
    assert (buffer.shape, buffer.dtype) == ((5, 4, 2), np.float32)
    assert not np.shares_memory(buffer, made.buffer(5))
    buffer[:2] = WINDOWS
    np.testing.assert_array_equal(made.score(buffer[:2], ("score",)), made.score(WINDOWS, ("score",)))


def test_cpu_is_chosen_without_a_word_on_the_screen(tmp_path, capfd):
    model = load_model(models.write_model(tmp_path), provider="cpu")
    model.score(WINDOWS, ("score",))
    assert model.provider == "CPUExecutionProvider"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_refusal_says_nothing_on_the_screen_either(tmp_path, capfd, provider):
    path = models.write_model(tmp_path, edit=lambda proto: proto.graph.node.pop(0))
    with pytest.raises(InvalidModel):
        load_model(path, provider)
    assert capfd.readouterr() == ("", "")


def test_digest_is_that_of_the_file_and_tells_models_apart(tmp_path):
    one = models.write_model(tmp_path / "one")
    other = models.write_model(tmp_path / "other", models.metadata(version="2"))
    expected = hashlib.sha256((one / "1" / "model.onnx").read_bytes()).hexdigest()
    assert load_model(one).digest == digest_of(one) == expected
    assert digest_of(other) == load_model(other).digest != expected


def test_unknown_keys_of_the_metadata_are_ignored(tmp_path):
    path = models.write_model(tmp_path, edit=with_metadata(lambda document: document.update(later={"x": 1})))
    assert load_model(path).metadata == models.metadata()


def test_a_file_that_does_not_say_its_precision_is_in_single(tmp_path):
    path = models.write_model(tmp_path, edit=with_metadata(lambda document: document.pop("precision")))
    assert load_model(path).metadata.precision == "single"


# ------------------------------------------------------------------------------------------ the file and its graph


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    assert "no ONNX file" in refusal(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_file_is_refused(tmp_path, share):
    file = models.write_model(tmp_path) / "1" / "model.onnx"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    assert str(file) in refusal(file)


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04", b"\x08" * 1000, b"\x0a\xff\xff\xff\xff\x0f", b"{}", bytes(range(256))]
)
def test_file_that_is_something_else_is_refused(tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    assert "no ONNX file" in refusal(tmp_path / "model.onnx")


def test_file_larger_than_onnx_allows_is_refused_without_reading_it(tmp_path):
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(2**40)
    assert "it has 1099511627776 bytes" in refusal(tmp_path / "model.onnx")


def test_pipe_in_place_of_a_file_is_refused_without_waiting_for_its_writer(tmp_path):
    (tmp_path / "1").mkdir()
    os.mkfifo(tmp_path / "1" / "model.onnx")
    (tmp_path / "current").write_text("1")
    assert "it is no file" in refusal(tmp_path)


def test_missing_metadata_is_refused(tmp_path):
    assert "metadata_props['tocsin'] is missing" in broken(tmp_path, lambda proto: proto.ClearField("metadata_props"))


def test_operators_of_a_custom_domain_are_refused(tmp_path):
    def edit(proto):
        proto.graph.node[2].domain = "com.example"
        proto.opset_import.append(helper.make_opsetid("com.example", 1))

    assert "no custom operators: the graph uses the domain 'com.example'" in broken(tmp_path, edit)


def external(tensor):
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="../../../etc/passwd"))
    return tensor


def test_external_data_is_refused(tmp_path):
    assert "no external data" in broken(tmp_path, lambda proto: external(proto.graph.initializer[0]) and None)


def test_external_data_of_a_constant_is_refused(tmp_path):
    constant = helper.make_node(
        "Constant", [], ["c"], value=external(numpy_helper.from_array(np.ones(1, np.float32)))
    )
    assert "no external data" in broken(tmp_path, lambda proto: proto.graph.node.insert(0, constant))


def test_external_data_of_a_graph_within_is_refused(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["out"])],
        "inner",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [external(numpy_helper.from_array(np.ones(1, np.float32), "w"))],
    )
    branch = helper.make_node("If", ["condition"], ["chosen"])
    for name in ("then_branch", "else_branch"):
        branch.attribute.append(AttributeProto(name=name, type=AttributeProto.GRAPH, g=inner))
    assert "no external data" in broken(tmp_path, lambda proto: proto.graph.node.insert(0, branch))


def test_graph_that_cannot_be_built_is_refused(tmp_path):
    assert "ONNX Runtime refuses the graph" in broken(tmp_path, lambda proto: proto.graph.node.pop(0) and None)


# ------------------------------------------------------------------------------------------------- the metadata


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1', "[" * 5000, '{"x": ' * 5000])
def test_metadata_that_is_no_document_is_refused(tmp_path, text):
    text = broken(tmp_path, lambda proto: helper.set_model_props(proto, {METADATA_KEY: text}))
    assert "metadata_props['tocsin']" in text


def quantiles(*points):
    return lambda document: document["calibration"].update(quantiles=points)


def incidents(*rates, days=30.0, **more):
    """A change of the metadata document: incidents that normal data raised at each limit."""
    told = {"days": days, "rates": rates, "clear": 0.5} | more
    return lambda document: document["calibration"].update(incidents=told)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (lambda d: d.update(schema=2), "schema is 2"),
        (lambda d: d.pop("calibration"), "`calibration`"),
        (lambda d: d.update(name="../evil"), "`$.name`"),
        (lambda d: d.update(version=""), "`$.version`"),
        (lambda d: d.update(channels=[]), "`$.channels`"),
        (lambda d: d.update(channels=[{"name": "a"}, {"name": "a"}]), "channels: a channel name stands twice"),
        (lambda d: d.update(window=0), "`$.window`"),
        (lambda d: d.update(window=10**12), "window and stride"),
        (lambda d: d.update(stride=0), "`$.stride`"),
        (lambda d: d.update(stride=10**12), "window and stride"),
        (lambda d: d.update(period_ms=0), "`$.period_ms`"),
        (lambda d: d.update(period_ms=10**15), "`$.period_ms`"),
        (lambda d: d.update(min_observed=1.5), "`$.min_observed`"),
        (lambda d: d["calibration"].update(n=0), "`$.calibration.n`"),
        (lambda d: d["calibration"]["tail"].update(scale=0), "`$.calibration.tail.scale`"),
        (lambda d: d["calibration"]["tail"].update(share=0), "`$.calibration.tail.share`"),
        (lambda d: d["calibration"]["tail"].update(shape=None), "`$.calibration.tail.shape`"),
        (quantiles([0.0, 0.0]), "`$.calibration.quantiles`"),
        (quantiles([0.0, 0.0], [1.5, 1.0]), "`$.calibration.quantiles"),
        (quantiles([0.0, 1.0], [0.9, 0.5]), "calibration.quantiles: probabilities and scores must rise"),
        (quantiles([0.5, 0.0], [0.5, 0.5]), "calibration.quantiles: probabilities and scores must rise"),
        (incidents([2.0, 1.0], [2.0, 1.5]), "calibration.incidents.rates: incidents a day must fall and scores rise"),
        (incidents([2.0, 1.5], [1.0, 1.0]), "calibration.incidents.rates: incidents a day must fall and scores rise"),
        (incidents([2.0, 1.0]), "`$.calibration.incidents.rates`"),
        (incidents([2.0, 0.0], [1.0, 1.0]), "`$.calibration.incidents.rates"),
        (incidents([2.0, 1.0], [1.0, 1.5], days=0), "`$.calibration.incidents.days`"),
        (incidents([2.0, 1.0], [1.0, 1.5], lift=0.9), "`$.calibration.incidents.lift`"),
    ],
)
def test_metadata_that_breaks_a_clause_is_refused_with_its_path(tmp_path, change, clause):
    assert clause in broken(tmp_path, with_metadata(change))


def test_metadata_is_checked_by_the_same_rules_when_it_is_written():
    tail = Tail(0.9, 0.1, 0.0, 0.1)
    with pytest.raises(InvalidModel, match="must rise"):
        encode_metadata(models.metadata(calibration=Calibration(10, 5.0, ((0.0, 1.0), (0.9, 0.5)), tail)))


# ------------------------------------------------------------------------------------------------ the signature

BATCH = ["B"]


@pytest.mark.parametrize(
    ("edit", "clause"),
    [
        (
            lambda proto: setattr(proto.graph.input[0], "name", "x") or rename(proto, "x"),
            "the only input is 'window'",
        ),
        (lambda proto: proto.graph.output.pop(0) and None, "output 'score' is missing"),
        (lambda proto: proto.graph.output.pop(1) and None, "output 'channel_score' is missing"),
        (lambda proto: proto.graph.output.pop(2) and None, "output 'reconstruction' is missing"),
        (lambda proto: proto.graph.output.pop(3) and None, "output 'latent' is missing"),
        (with_metadata(lambda d: d.update(window=5)), "'window' has shape (None, 5, 2)"),
        (with_metadata(lambda d: d["channels"].append({"name": "c"})), "'window' has shape (None, 4, 3)"),
        (lambda proto: fix_batch(proto), "the first axis of 'window' is dynamic; found 3"),
        (lambda proto: whole_numbers(proto), "'score' is float32; found tensor(int64)"),
        (lambda proto: deeper_score(proto), "'score' has rank 1"),
    ],
)
def test_signature_that_breaks_a_clause_is_refused(tmp_path, edit, clause):
    assert clause in broken(tmp_path, edit)


def rename(proto, name):
    for node in proto.graph.node:
        for place, used in enumerate(node.input):
            if used == "window":
                node.input[place] = name


def fix_batch(proto):
    for value in [proto.graph.input[0], *proto.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 3


def replace_score(proto, *nodes):
    """Let further nodes make `score` from what made it, now `made`."""
    for node in proto.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == "score":
                    names[place] = "made"
    proto.graph.node.extend(nodes)


def whole_numbers(proto):
    replace_score(proto, helper.make_node("Cast", ["made"], ["score"], to=TensorProto.INT64))
    with_output("score", TensorProto.INT64, BATCH)(proto)


def deeper_score(proto):
    replace_score(proto, helper.make_node("Unsqueeze", ["made", "last"], ["score"]))
    with_output("score", TensorProto.FLOAT, ["B", 1])(proto)


def test_graph_that_gives_nan_for_missing_values_is_refused(tmp_path):
    def edit(proto):
        for node in proto.graph.node:
            if node.op_type == "Abs":
                node.input[0] = "window"

    assert "NaN is handled in the graph" in broken(tmp_path, edit)


def test_graph_whose_score_does_not_follow_the_batch_is_refused(tmp_path):
    def edit(proto):
        replace_score(proto, helper.make_node("ReduceMean", ["made"], ["score"], keepdims=1))
        with_output("score", TensorProto.FLOAT, BATCH)(proto)

    assert "the first axis of 'score' is dynamic; found 1" in broken(tmp_path, edit)


# -------------------------------------------------------------------------------------------- model directories


def test_directory_serves_its_current_version(tmp_path):
    root = models.write_model(tmp_path)
    models.write_model(tmp_path, models.metadata(version="2"))
    assert load_model(root).metadata.version == "2"
    set_current(root, "1")
    assert load_model(root).metadata.version == "1"
    assert sorted(entry.name for entry in root.iterdir()) == ["1", "2", "current"]


def test_a_version_folder_and_a_file_can_be_given_too(tmp_path):
    root = models.write_model(tmp_path)
    assert resolve_model(root / "1") == resolve_model(root / "1" / "model.onnx") == resolve_model(root)


def test_directory_without_a_current_version_is_refused(tmp_path):
    root = models.write_model(tmp_path)
    (root / "current").unlink()
    assert "a model directory has a file 'current'" in refusal(root)


def test_current_version_that_is_not_there_is_refused(tmp_path):
    root = models.write_model(tmp_path)
    set_current(root, "9")
    assert str(root / "9" / "model.onnx") in refusal(root)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"..", b"../secret", b"/etc", b"1/../..", b"1\n2", b"a\0b", b"\xff\xfe", b".hidden", b"x" * 200],
)
def test_current_version_that_is_no_plain_name_is_refused(tmp_path, content):
    root = models.write_model(tmp_path)
    (root / "current").write_bytes(content)
    assert str(root / "current") in refusal(root)


def test_current_version_may_end_in_a_line_break(tmp_path):
    root = models.write_model(tmp_path)
    (root / "current").write_bytes(b" 1\r\n")
    assert current_version(root) == "1"


def test_path_that_is_not_there_is_refused(tmp_path):
    assert "no such model file or directory" in refusal(tmp_path / "nowhere")


# ------------------------------------------------------------------------------------------------------- means


def test_recent_mean_is_over_what_was_observed_in_the_last_stride():
    np.testing.assert_allclose(recent_mean(WINDOWS, 2), [[0, 2], [np.nan, np.nan]])
    np.testing.assert_allclose(recent_mean(WINDOWS, 4), [[4 / 3, 2 / 3], [np.nan, np.nan]], rtol=1e-6)
