"""MNIST, where autoencoder tutorials start, by the loop and the families that windows are trained with.

    python -m tests.bench.mnist          784-32-784, 784-16-784 and a denoising one; minutes, writes a picture
    python -m tests.bench.mnist --quick  784-32-784 alone, under 90 s on one core

An image is a window of 28 rows by 28 columns, W buckets and C channels, with nothing missing; the network gives the
logit of a pixel's brightness. The loss is binary cross-entropy, mean over pixels, as in the Keras tutorial ("Building
autoencoders in Keras", Chollet 2016). The last training images choose the epoch; the 10,000 test images only report.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from monitor.errors import InvalidData, TocsinError
from tests.bench.idx import read_images
from training.descent import Recipe, descend
from training.fit import cpu_threads
from training.models import Family, Shape, family_named

SIDE = 28
VALIDATION = 2_500  # of the 60,000 training images
NOISE = 0.5  # deviation of the noise that the denoising one is trained at; pixels are 0 to 1
SHOWN_AT = (0.2, 0.5, 0.8)
SHOWN = 10  # digits in the picture
CHUNK = 1_000  # images at a time where nothing is learnt
PICTURE = Path(__file__).with_name("mnist.png")


@dataclass(frozen=True, slots=True)
class Digits:
    """Images (N, 28, 28) uint8."""

    train: Tensor
    validation: Tensor
    test: Tensor


class Images(nn.Module):
    """What gradient descent trains: a network that is shown brightness from 0 to 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def prepare(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 28, 28) uint8 as brightness, float32; all of it observed."""
        values = batch.float() / 255
        return values, torch.ones_like(values)

    def forward(self, values: Tensor) -> Tensor:
        """The restored brightness (B, 28, 28) of images (B, 28, 28), both 0 to 1."""
        return torch.sigmoid(self.network(values, torch.ones_like(values))[0])


def load(folder: Path) -> Digits:
    """The two files of images in a folder; raises InvalidData."""
    files = [folder / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    train, test = (torch.from_numpy(read_images(file).copy()) for file in files)
    for file, images, least in zip(files, (train, test), (2 * VALIDATION, 1), strict=True):
        if images.shape[1:] != (SIDE, SIDE) or len(images) < least:
            raise InvalidData(
                f"{file}: holds images {tuple(images.shape)}; at least {least} of {SIDE} x {SIDE} are needed"
            )
    return Digits(train[:-VALIDATION], train[-VALIDATION:], test)


def cross_entropy(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
    """Binary cross-entropy of brightness (B, 28, 28), mean over pixels and images."""
    return nn.functional.binary_cross_entropy_with_logits(network(values, observed)[0], values)


def denoising(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
    """The same, of what the network makes of the noisy images, against the clean ones (Vincent et al. 2008)."""
    logits, _ = network(noisy(values, NOISE), observed)
    return nn.functional.binary_cross_entropy_with_logits(logits, values)


def noisy(values: Tensor, deviation: float, generator: torch.Generator | None = None) -> Tensor:
    """Brightness with Gaussian noise, cut to 0 and 1."""
    return (values + deviation * torch.randn(values.shape, generator=generator)).clamp(0, 1)


def train(digits: Digits, family: Family, shape: Shape, recipe: Recipe) -> tuple[Images, list[tuple[float, float]]]:
    """An autoencoder of images and its losses (training, validation) by epoch."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        learner = Images(family.build(shape))
    curve = descend(learner, family, digits.train, digits.validation, recipe)
    return learner.eval(), curve


@torch.no_grad()
def mean_cross_entropy(learner: Images, images: Tensor) -> float:
    """Binary cross-entropy, mean over pixels and images (N, 28, 28) uint8."""
    losses = [
        float(cross_entropy(learner.network, *learner.prepare(chunk))) * len(chunk) for chunk in images.split(CHUNK)
    ]
    return sum(losses) / len(images)


@torch.no_grad()
def restored(learner: Images, images: Tensor, deviation: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Clean, noisy and restored brightness, each (N, 28, 28), of images (N, 28, 28) uint8."""
    clean, _ = learner.prepare(images)
    spoilt = noisy(clean, deviation, torch.Generator().manual_seed(seed))
    return clean, spoilt, torch.cat([learner(chunk) for chunk in spoilt.split(CHUNK)])


def draw(learner: Images, images: Tensor, seed: int, file: Path) -> None:
    """Write a picture of some digits: clean, then noisy and restored at each level of noise."""
    rows, labels = [], []
    for level in SHOWN_AT:
        clean, spoilt, result = restored(learner, images[:SHOWN], level, seed)
        rows += [spoilt, result]
        labels += [f"noise {level:.1f}", "restored"]
    grid = torch.cat([torch.cat(list(row), 1) for row in [clean, *rows]])
    figure = Figure(figsize=(7, 4.4), dpi=100)
    axes = figure.add_subplot()
    axes.imshow(grid.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks([SIDE * (row + 0.5) for row in range(len(labels) + 1)], ["clean", *labels])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, bbox_inches="tight")


def bottleneck(digits: Digits, latent: int, epochs: int, seed: int) -> dict[str, float]:
    """The test loss of 784 - 512 - latent - 512 - 784, fully connected."""
    began = time.perf_counter()
    say(f"784-{latent}-784: {epochs} epochs")
    family = replace(family_named("dense"), loss=cross_entropy)
    learner, _ = train(digits, family, Shape(SIDE, SIDE, 512, latent), one_cycle(epochs, 8e-3, seed))
    return {
        f"mnist_bce_{latent}": mean_cross_entropy(learner, digits.test),
        f"mnist_seconds_{latent}": time.perf_counter() - began,
    }


def denoised(digits: Digits, epochs: int, seed: int, picture: Path | None) -> dict[str, float]:
    """The mean squared error of noisy and of restored test images at each level of noise."""
    began = time.perf_counter()
    say(f"denoising: {epochs} epochs")
    family = replace(family_named("conv"), loss=denoising)
    learner, _ = train(digits, family, Shape(SIDE, SIDE, 1024, 128), one_cycle(epochs, 4e-3, seed))
    figures = {}
    for level in SHOWN_AT:
        clean, spoilt, result = restored(learner, digits.test, level, seed)
        figures[f"mnist_mse_noisy_{level}"] = float((spoilt - clean).square().mean())
        figures[f"mnist_mse_restored_{level}"] = float((result - clean).square().mean())
    if picture is not None:
        draw(learner, digits.test, seed, picture)
    return figures | {"mnist_seconds_denoising": time.perf_counter() - began}


def one_cycle(epochs: int, learning_rate: float, seed: int) -> Recipe:
    """One cycle of the learning rate over all epochs."""
    return Recipe(epochs, patience=epochs, batch=256, learning_rate=learning_rate, seed=seed, one_cycle=True)


def measure(
    quick: bool, folder: Path, picture: Path | None = None, seed: int = 0, threads: int = 1
) -> dict[str, float]:
    """All figures by name; `quick` gives `mnist_bce_32` alone. `folder` holds the idx files; raises InvalidData."""
    digits = load(folder)
    with cpu_threads(threads):
        if quick:
            return bottleneck(digits, 32, 4, seed)
        return (
            bottleneck(digits, 32, 20, seed) | bottleneck(digits, 16, 20, seed) | denoised(digits, 8, seed, picture)
        )


def table(figures: dict[str, float]) -> str:
    """The figures as Markdown."""
    lines = ["| autoencoder | binary cross-entropy, test | seconds |", "|---|---|---|"]
    for latent in (32, 16):
        if f"mnist_bce_{latent}" in figures:
            loss, seconds = figures[f"mnist_bce_{latent}"], figures[f"mnist_seconds_{latent}"]
            lines.append(f"| dense, 784-{latent}-784 | {loss:.4f} | {seconds:.0f} |")
    if "mnist_seconds_denoising" in figures:
        lines += ["", f"| noise (trained at {NOISE}) | squared error, noisy | restored |", "|---|---|---|"]
        for level in SHOWN_AT:
            before, after = figures[f"mnist_mse_noisy_{level}"], figures[f"mnist_mse_restored_{level}"]
            lines.append(f"| {level} | {before:.4f} | {after:.4f} |")
    return "\n".join(lines)


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m tests.bench.mnist", description="autoencoders on MNIST")
    parser.add_argument("--quick", action="store_true", help="784-32-784 alone, under 90 s")
    parser.add_argument("--data", type=Path, help="folder of the idx files; default: mnist in TOCSIN_DATA")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the denoising one is shown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.data is None and not os.environ.get("TOCSIN_DATA"):
        raise SystemExit(
            "MNIST is missing: set --data to a folder with its idx files, or TOCSIN_DATA to one above mnist"
        )
    folder = options.data or Path(os.environ["TOCSIN_DATA"]) / "mnist"
    try:
        figures = measure(options.quick, folder, options.picture, options.seed, options.threads)
    except TocsinError as error:
        raise SystemExit(str(error)) from None
    print(table(figures))
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
