"""The score is what its formula says, whatever the length of the window."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training import export
from training.models.base import LARGEST_ERROR, channel_errors
from training.scorer import Scorer, scaling_of

LENGTHS = [1, 2, 3, 14, 15]


class Half(nn.Module):
    """Reconstructs half of each value."""

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return values * 0.5, values[:, 0]


@pytest.mark.parametrize("length", LENGTHS)
def test_errors_of_a_channel_are_the_sum_over_its_observed_cells(length: int) -> None:
    random = np.random.default_rng(length)
    values, reconstruction = random.normal(0, 3, (2, 20, length, 3)).astype(np.float32)
    observed = (random.random(values.shape) < 0.8).astype(np.float32)
    found = channel_errors(*map(torch.from_numpy, (values - reconstruction, observed)))
    expected = (np.log1p((values - reconstruction).astype(np.float64) ** 2) * observed).sum(1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_largest_errors_side_by_side_do_not_overflow() -> None:
    values = torch.full((1, 5, 2), 3e38)
    found = channel_errors(2 * values, torch.ones_like(values))
    np.testing.assert_allclose(found.numpy(), 5 * 2 * np.log(LARGEST_ERROR), rtol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
def test_windows_of_any_length_are_exported(length: int) -> None:
    windows = np.random.default_rng(0).normal(50, 4, (30, length, 3)).astype(np.float32)
    scorer = Scorer(scaling_of(windows.reshape(-1, 3)), Half())
    export.check_agreement(export.to_onnx(scorer, length, 3), scorer, export.golden_windows(windows))


def test_a_small_change_of_a_large_value_is_not_lost_in_scaling() -> None:
    readings = (1e5 + np.random.default_rng(0).normal(0, 0.05, (400, 1))).astype(np.float32)
    scaling = scaling_of(readings)
    values, _, _ = scaling(torch.from_numpy(readings.reshape(1, -1, 1)))
    exact = (readings.astype(np.float64) - float(scaling.mean)) / float(scaling.deviation)
    np.testing.assert_allclose(values.numpy()[0], exact, atol=1e-6)
