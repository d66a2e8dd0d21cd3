"""What each family adds to the laws: its penalty, its noise, its likelihood, its game, its closed form."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monitor.errors import InvalidConfiguration
from tests.laws import C, K, W, fitted, plant
from training import export
from training.arguments import FitArgs
from training.learning import learn
from training.models import FAMILIES, Shape, adversarial, denoising, forecast, overcomplete, sparse, tcn, variational
from training.models.base import judge, mean_error
from training.scorer import Scorer, halved, scaling_of

SHAPE = Shape(W, C, 32, K)


def batch(count: int = 8, seed: int = 0, shape: Shape = SHAPE) -> tuple[Tensor, Tensor]:
    """Scaled values with a tenth of the cells filled with 0, and the mask of the others."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(count, shape.window, shape.channels, generator=random)
    observed = (torch.rand(values.shape, generator=random) > 0.1).float()
    return values * observed, observed


def seen(scorer: Scorer, count: int = 60, seed: int = 9) -> tuple[Tensor, Tensor]:
    """What the network sees of windows of the plant, and what was observed."""
    _, values, observed = scorer.scaling(torch.from_numpy(plant(count, seed)))
    return values, observed


def raw(family: str) -> Scorer:
    """A scorer that has not learned."""
    torch.manual_seed(0)
    return Scorer(scaling_of(plant(50).reshape(-1, C)), FAMILIES[family].build(SHAPE))


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_any_window_and_a_single_channel_will_do(family: str, window: int) -> None:
    shape = Shape(window, 1, 3, 2)
    if (family, window) == ("forecast", 1):
        with pytest.raises(InvalidConfiguration, match="at least 2 periods"):
            FAMILIES[family].build(shape)
        return
    network = FAMILIES[family].build(shape).eval()
    values, observed = batch(shape=shape)
    with torch.no_grad():
        result = judge(network, values, values, observed)
    assert result.residual.shape == result.judged.shape == result.reconstruction.shape == values.shape
    assert result.latent.shape[0] == len(values)
    assert torch.isfinite(FAMILIES[family].loss(network, values, observed))


def test_an_overcomplete_code_is_wider_than_the_window() -> None:
    network = overcomplete.Overcomplete(SHAPE)
    assert network(*batch())[1].shape == (8, 2 * W * C)


def test_the_contraction_is_the_norm_of_the_code_s_jacobian() -> None:
    torch.manual_seed(0)
    network = overcomplete.Overcomplete(Shape(3, 2, 8, 2))
    values, observed = batch(4, shape=Shape(3, 2))
    jacobians = torch.func.vmap(torch.func.jacrev(lambda one: network(one[None], observed)[1][0]))(values)
    expected = jacobians.square().flatten(1).sum(1).mean() / 6
    torch.testing.assert_close(network.contraction(network(values, observed)[1]), expected)


def test_a_contractive_penalty_keeps_an_overcomplete_code_from_copying() -> None:
    scorer = fitted("overcomplete")
    values, observed = seen(scorer)
    noisy = values + torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        restored = scorer.eval().network(noisy, observed)[0]
    assert mean_error(restored - values, observed) < 0.5 * mean_error(noisy - values, observed)


def test_the_divergence_is_zero_at_the_target_and_that_of_bernoulli_variables_elsewhere() -> None:
    assert abs(float(sparse.divergence(torch.full((5, 3), sparse.ACTIVE)))) < 1e-6
    code = torch.rand(50, 7, generator=torch.Generator().manual_seed(0))
    target = torch.distributions.Bernoulli(torch.full((7,), sparse.ACTIVE))
    expected = torch.distributions.kl_divergence(target, torch.distributions.Bernoulli(code.mean(0))).mean()
    torch.testing.assert_close(sparse.divergence(code), expected)


def test_penalties_keep_a_sparse_code_quieter_than_it_would_be() -> None:
    scorer = fitted("sparse")
    plain = raw("sparse")
    windows = torch.from_numpy(plant(200))
    learn(plain, FAMILIES["dense"], windows, windows, FitArgs(files=(), name="plain", epochs=12))
    with torch.no_grad():
        codes = [one.eval().network(*seen(one))[1] for one in (scorer, plain)]
    assert codes[0].mean() < 0.8 * codes[1].mean()
    assert (codes[0] > 0.5).float().mean() < 0.8 * (codes[1] > 0.5).float().mean()


def test_corruption_hides_its_share_and_fills_it_as_a_gap() -> None:
    torch.manual_seed(1)
    values, observed = batch(400)
    noisy, kept = denoising.corrupted(values, observed, noise=0.3, masked=0.25)
    assert float(kept.sum() / observed.sum()) == pytest.approx(0.75, abs=0.02)
    assert not (kept * (1 - observed)).any()
    assert float((noisy - values)[kept > 0].std()) == pytest.approx(0.3, abs=0.01)
    left = np.where(kept.numpy() > 0, noisy.numpy(), np.nan)[:50]
    filled = np.broadcast_to(np.nanmean(left, axis=1, keepdims=True), left.shape)
    np.testing.assert_allclose(noisy.numpy()[:50][np.isnan(left)], filled[np.isnan(left)], atol=1e-5)


def test_a_denoising_loss_is_against_the_clean_input() -> None:
    class Echo(nn.Module):
        def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
            return values, values[:, 0]

    values, observed = batch(100)
    loss = denoising.denoising_loss(noise=0.5, masked=0.0)
    assert float(loss(Echo().eval(), values, observed)) == 0
    torch.manual_seed(0)
    squares = (0.5 * torch.randn(100_000)) ** 2
    assert float(loss(Echo().train(), values, observed)) == pytest.approx(
        float(torch.log1p(squares).mean()), abs=0.01
    )


def test_denoising_infers_a_channel_that_is_hidden_from_the_others() -> None:
    scorer = fitted("denoising", epochs=40)
    values, observed = seen(scorer)
    hidden, left = values.clone(), observed.clone()
    hidden[:, :, 1] = left[:, :, 1] = 0
    with torch.no_grad():
        inferred = scorer.eval().network(hidden, left)[0]
    assert mean_error((inferred - values)[:, :, 1:2], observed[:, :, 1:2]) < 0.5 * mean_error(
        values[:, :, 1:2], observed[:, :, 1:2]
    )


def test_a_variational_loss_is_the_negative_evidence_lower_bound() -> None:
    torch.manual_seed(0)
    network = variational.Variational(SHAPE).eval()  # the latent is the mean: no sample to repeat
    nn.init.normal_(network.log_spread)
    values, observed = batch()
    mean, log_variance = network.posterior(values)
    reconstruction, latent, spread = network(values, observed)
    torch.testing.assert_close(latent, mean)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum()
    likelihood = torch.distributions.Cauchy(reconstruction, spread.expand_as(values)).log_prob(values) * observed
    expected = (divergence - likelihood.sum()) / observed.sum() - np.log(np.pi)
    torch.testing.assert_close(variational.loss(network, values, observed), expected)


def test_a_channel_that_is_never_sure_is_given_more_spread() -> None:
    torch.manual_seed(0)
    network = variational.Variational(SHAPE)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    values = torch.sin(torch.arange(W) * 0.3 + torch.rand(256, 1) * 6)[:, :, None].repeat(1, 1, C)
    values[:, :, 2] += 0.8 * torch.randn(256, W)
    for _ in range(300):
        optimiser.zero_grad()
        variational.loss(network, values, torch.ones_like(values)).backward()
        optimiser.step()
    spread = network.spread().mean(0)
    assert spread[2] > 2 * spread[[0, 1, 3]].max()


def test_both_reconstructions_are_in_an_adversarial_score() -> None:
    torch.manual_seed(0)
    network = adversarial.Adversarial(SHAPE).eval()
    values, observed = batch()
    first = network.first(network.encoder(values))
    second = network.second(network.encoder(first))
    beta = adversarial.SECOND
    expected = (1 - beta) * (values - first) ** 2 + beta * (values - second) ** 2
    torch.testing.assert_close(judge(network, values, values, observed).residual ** 2, expected)


def test_the_first_decoder_fools_the_second_and_the_second_spoils_what_it_is_shown() -> None:
    torch.manual_seed(0)
    network = adversarial.Adversarial(SHAPE).train()
    values, observed = batch()

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        network.zero_grad()
        loss.backward()
        return {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}

    whole = gradients(adversarial.loss(network, values, observed))
    plain = gradients(adversarial.loss(network.eval(), values, observed))
    again = gradients(mean_error(values - network(values, observed)[2], observed))
    game = {name: (whole[name] - plain[name]) / adversarial.ADVERSARIAL for name in whole}
    for name, gradient in game.items():
        if name.startswith("first."):
            torch.testing.assert_close(gradient, again[name], atol=1e-6, rtol=1e-3)
        if name.startswith("second."):
            torch.testing.assert_close(gradient, -again[name], atol=1e-6, rtol=1e-3)


def test_a_forecast_is_the_ridge_regression_on_rows_that_were_observed() -> None:
    values, observed = batch(40, seed=3)
    observed[:, :, 1] = 1  # one channel without gaps
    network = forecast.Forecast(SHAPE)
    forecast.solve(network, values, observed)
    lags = forecast.LAGS
    for channel in range(C):
        rows, targets = [], []
        for one, mask in zip(values.double().numpy(), observed.numpy(), strict=True):
            for row in range(lags, W):
                if mask[row, channel]:
                    rows.append(np.append(one[row - lags : row].T.ravel(), 1))
                    targets.append(one[row, channel])
        x, y = np.array(rows), np.array(targets)
        penalty = np.diag([*[forecast.RIDGE * len(x)] * (C * lags), 0])
        expected = np.linalg.solve(x.T @ x + penalty, x.T @ y)
        found = np.append(network.weight[channel].numpy().ravel(), network.bias[channel])
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_channel_that_was_never_observed_is_forecast_as_its_mean() -> None:
    values, observed = batch(40)
    values[:, :, 2] = observed[:, :, 2] = 0
    network = forecast.Forecast(SHAPE)
    forecast.solve(network, values, observed)
    np.testing.assert_allclose(network(values, observed)[0][:, :, 2], 0, atol=1e-6)


def test_rows_without_a_past_are_not_judged_even_where_they_are_huge() -> None:
    scorer = fitted("forecast")
    windows = plant(3)
    windows[:, : forecast.LAGS, 0] = 3e38
    _, channel_score, _, _ = scorer.eval()(torch.from_numpy(windows))
    assert torch.isfinite(channel_score).all()
    judged = judge(scorer.network, *scorer.scaling(torch.from_numpy(windows))).judged
    assert not judged[:, : forecast.LAGS].any()
    assert judged[:, forecast.LAGS :].all()


@pytest.mark.parametrize("window", [1, 2, 7, 8, 30])
def test_dilations_reach_from_the_last_bucket_to_the_first_and_no_further(window: int) -> None:
    steps = tcn.dilations(window)
    blocks = nn.Sequential(*(tcn.Block(2, step) for step in steps))
    series = torch.zeros(1, 2, window, requires_grad=True)
    blocks(series)[0, :, -1].sum().backward()
    assert series.grad is not None
    assert (series.grad[0].abs().sum(0) > 0).all()
    assert steps == [1] or 1 + 2 * sum(steps[:-1]) < window


def test_a_recurrent_graph_has_one_operator_a_layer_whatever_the_window() -> None:
    model = export.to_onnx(raw("recurrent"), W, C)
    assert sum(node.op_type == "GRU" for node in model.graph.node) == 2
    assert len(model.graph.node) < 80


def test_recurrences_stay_in_single_precision_when_all_else_is_halved() -> None:
    network = halved(raw("recurrent")).network
    types = {name.split(".")[1]: weight.dtype for name, weight in network.state_dict().items()}
    single, half = torch.float32, torch.float16
    assert types == {"encoder": single, "narrow": half, "decoder": single, "channels": half}
