"""Laws that every model family keeps; `tests/training/test_laws.py` holds each family to each of them.

A plant of four correlated channels stands in for data: B windows of W buckets and C channels.
"""

from collections.abc import Callable

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from monitor.modelfile import INPUT, OUTPUTS
from training import export
from training.arguments import FitArgs
from training.learning import learn, score
from training.models import FAMILIES, Shape
from training.models.base import Judgement, judge
from training.scorer import Scorer, scaling_of

W, C, K = 14, 4, 3
BATCHES = 1, 7, 256
NAN = np.float32(np.nan)
WIDE = "cross", "forecast", "kernel", "overcomplete", "sparse", "subspace"  # their latent is not what K says
Windows = NDArray[np.float32]


def plant(count: int, seed: int = 0) -> Windows:
    """Windows (B, W, C) of a load cycle that all channels follow, each in its own units, with noise."""
    random = np.random.default_rng(seed)
    phase = np.arange(count * W) * 2 * np.pi / 37
    load = np.stack([np.sin(phase), np.cos(phase), np.sin(phase) + np.cos(phase), -np.sin(phase)], 1)
    noisy = load + 0.05 * random.standard_normal(load.shape)
    return (noisy * [1, 10, 0.1, 1000] + [0, 50, 1, -500]).astype(np.float32).reshape(count, W, C)


def fitted(family: str, seed: int = 0, epochs: int = 12) -> Scorer:
    """A scorer of this family, fitted to the plant."""
    torch.manual_seed(seed)
    windows = plant(200)
    scorer = Scorer(scaling_of(windows.reshape(-1, C)), FAMILIES[family].build(Shape(W, C, 32, K)))
    args = FitArgs(files=(), name="law", epochs=epochs, seed=seed)
    learn(scorer, FAMILIES[family], torch.from_numpy(windows), torch.from_numpy(plant(40, 1)), args)
    return scorer


def outputs(scorer: Scorer, windows: Windows) -> dict[str, NDArray[np.float32]]:
    """All outputs of the graph, by name."""
    with torch.no_grad():
        result = scorer.eval()(torch.from_numpy(windows))
    return {name: tensor.numpy() for name, tensor in zip(OUTPUTS, result, strict=True)}


def judgement(scorer: Scorer, windows: Windows) -> Judgement:
    """What the network makes of windows, cell by cell."""
    with torch.no_grad():
        return judge(scorer.eval().network, *scorer.scaling(torch.from_numpy(windows)))


def learning_loss(family: str, scorer: Scorer, windows: Windows) -> float:
    """What the family lowers, on windows that it does not learn from."""
    with torch.no_grad():
        _, seen, observed = scorer.eval().scaling(torch.from_numpy(windows))
        return float(FAMILIES[family].loss(scorer.network, seen, observed))


def outputs_have_the_contract_s_shapes(family: str, scorer: Scorer) -> None:
    for count in BATCHES:
        shapes = {name: array.shape for name, array in outputs(scorer, plant(count)).items()}
        latent = shapes.pop("latent")
        assert shapes == {"score": (count,), "channel_score": (count, C), "reconstruction": (count, W, C)}
        assert latent[0] == count
        assert latent[1:] == (K,) if family not in WIDE else len(latent) == 2 and latent[1] >= 1


def a_window_scores_the_same_whatever_stands_beside_it(family: str, scorer: Scorer) -> None:
    windows = plant(7)
    alone = np.concatenate([score(scorer, windows[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(score(scorer, windows), alone, rtol=1e-5)


def channel_scores_add_up_to_the_score(family: str, scorer: Scorer) -> None:
    windows = plant(20)
    windows[np.random.default_rng(2).random(windows.shape) < 0.3] = NAN
    result = outputs(scorer, windows)
    np.testing.assert_allclose(result["channel_score"].sum(1), result["score"], rtol=1e-5)


def a_missing_value_counts_for_nothing(family: str, scorer: Scorer) -> None:
    windows = plant(5)
    windows[:, :, 1] = NAN
    result = outputs(scorer, windows)
    assert (result["channel_score"][:, 1] == 0).all()
    residual, judged, *_ = (tensor.numpy() for tensor in judgement(scorer, windows))
    assert not (judged * np.isnan(windows)).any()
    errors = np.log1p(residual.astype(np.float64) ** 2) * judged
    expected = errors.sum((1, 2)) / judged.sum((1, 2))
    np.testing.assert_allclose(result["score"], expected, rtol=1e-3, atol=1e-6)


def a_residual_is_what_is_left_of_a_value_and_nothing_but_that(family: str, scorer: Scorer) -> None:
    windows = plant(5)
    residual, judged, reconstruction, _ = (tensor.numpy() for tensor in judgement(scorer, windows))
    undone = outputs(scorer, windows)["reconstruction"]
    np.testing.assert_allclose(scorer.scaling.undo(torch.from_numpy(reconstruction)).numpy(), undone, rtol=1e-5)
    left = (windows - undone) / scorer.scaling.deviation.numpy()
    if not hasattr(scorer.network, "residuals"):
        assert (judged == 1).all()
        np.testing.assert_allclose(residual, left, atol=1e-4)
    # A larger fault is a larger residual, by whatever a family measures it.
    seen = torch.from_numpy(reconstruction)
    with torch.no_grad():
        sizes = [
            judge(scorer.network, seen + 4.0 * far, seen, torch.ones_like(seen)).residual.abs() for far in (1, 2, 3)
        ]
    counted = torch.from_numpy(judged) > 0
    assert (sizes[0] < sizes[1])[counted].all()
    assert (sizes[1] < sizes[2])[counted].all()


def a_gap_does_not_change_the_error_of_the_others(family: str, scorer: Scorer) -> None:
    windows = plant(5)
    windows[:, :, 2] = windows[:, :1, 2]  # steady, so that the value that fills the gap is the one that is missing
    gappy = windows.copy()
    gappy[:, 3:6, 2] = NAN
    whole, part = outputs(scorer, windows), outputs(scorer, gappy)
    cells_whole, cells_part = (judgement(scorer, one).judged.sum((1, 2)).numpy() for one in (windows, gappy))
    others = [0, 1, 3]
    np.testing.assert_allclose(
        part["channel_score"][:, others] * (cells_part / cells_whole)[:, None],
        whole["channel_score"][:, others],
        rtol=1e-3,
        atol=1e-6,
    )


def neither_scoring_nor_validating_draws_anything(family: str, scorer: Scorer) -> None:
    windows = plant(5)
    before = torch.get_rng_state()
    first, second = outputs(scorer, windows), outputs(scorer, windows)
    assert learning_loss(family, scorer, windows) == learning_loss(family, scorer, windows)
    assert torch.equal(before, torch.get_rng_state())
    for name in OUTPUTS:
        np.testing.assert_array_equal(first[name], second[name])


def an_empty_window_scores_zero(family: str, scorer: Scorer) -> None:
    result = outputs(scorer, np.full((2, W, C), np.nan, np.float32))
    assert (result["score"] == 0).all()
    assert (result["channel_score"] == 0).all()
    assert all(np.isfinite(array).all() for array in result.values())


def nothing_finite_gives_infinity(family: str, scorer: Scorer) -> None:
    for value in (1e30, -1e30, 3.4e38, 1e-38):
        windows = plant(3)
        windows[1, 4, :] = value
        windows[2, :, 0] = value
        windows[:, ::3, 2] = NAN
        assert all(np.isfinite(array).all() for array in outputs(scorer, windows).values())


def a_spike_scores_higher_and_is_blamed_on_its_channel(family: str, scorer: Scorer) -> None:
    normal = plant(30, 5)
    for channel in range(C):
        spiked = normal.copy()
        spiked[:, W // 2, channel] += 8 * scorer.scaling.deviation.numpy()[channel]
        before, after = outputs(scorer, normal), outputs(scorer, spiked)
        assert (after["score"] > before["score"]).all()
        rise = after["channel_score"] - before["channel_score"]
        assert (rise.mean(0).argmax() == channel).all()


def normal_data_is_reconstructed_better_than_by_its_mean(family: str, scorer: Scorer) -> None:
    windows = plant(60, 9)
    deviation = scorer.scaling.deviation.numpy()
    judged = judgement(scorer, windows).judged.numpy() > 0
    assert judged.mean() > 0.3  # a family may look back at the first rows only
    left = ((windows - outputs(scorer, windows)["reconstruction"]) / deviation)[judged]
    scaled = ((windows - scorer.scaling.mean.numpy()) / deviation)[judged]
    assert np.log1p(left**2).mean() < 0.5 * np.log1p(scaled**2).mean()


def the_same_seed_gives_the_same_model(family: str, scorer: Scorer) -> None:
    windows = plant(10, 3)
    np.testing.assert_array_equal(score(fitted(family), windows), score(scorer, windows))


def learning_lowers_the_loss(family: str, scorer: Scorer) -> None:
    torch.manual_seed(0)
    raw = Scorer(scorer.scaling, FAMILIES[family].build(Shape(W, C, 32, K)))
    windows = plant(40, 1)
    assert learning_loss(family, scorer, windows) < learning_loss(family, raw, windows)


def onnx_agrees_with_pytorch_at_any_batch_size(family: str, scorer: Scorer) -> None:
    model = export.to_onnx(scorer, W, C)
    export.check_agreement(model, scorer, export.golden_windows(plant(20)))
    for count in BATCHES:
        export.check_agreement(model, scorer, plant(count, 4))
    assert [value.name for value in model.graph.input] == [INPUT]
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


def half_precision_changes_scores_by_no_more_than_its_rounding(family: str, scorer: Scorer) -> None:
    single = export.to_onnx(scorer, W, C)
    windows = np.concatenate([plant(200, 6), export.golden_windows(plant(20))])
    half, differs_by = export.half_precision(scorer, single, windows)
    assert 0 < differs_by < 5e-3  # the plant's scores are very small; what is kept must be closer
    types = [{one.data_type for one in model.graph.initializer if len(one.dims) > 1} for model in (half, single)]
    assert onnx.TensorProto.FLOAT16 in types[0] - types[1]
    ends = [*half.graph.input, *half.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {onnx.TensorProto.FLOAT}


LAWS: list[Callable[[str, Scorer], None]] = [
    outputs_have_the_contract_s_shapes,
    a_window_scores_the_same_whatever_stands_beside_it,
    channel_scores_add_up_to_the_score,
    a_missing_value_counts_for_nothing,
    a_residual_is_what_is_left_of_a_value_and_nothing_but_that,
    a_gap_does_not_change_the_error_of_the_others,
    neither_scoring_nor_validating_draws_anything,
    an_empty_window_scores_zero,
    nothing_finite_gives_infinity,
    a_spike_scores_higher_and_is_blamed_on_its_channel,
    normal_data_is_reconstructed_better_than_by_its_mean,
    the_same_seed_gives_the_same_model,
    learning_lowers_the_loss,
    onnx_agrees_with_pytorch_at_any_batch_size,
    half_precision_changes_scores_by_no_more_than_its_rounding,
]
