"""Images by the loop and families of windows: idx files are read rightly, and the losses fall."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from monitor.errors import InvalidData
from tests.bench import mnist
from tests.bench.idx import read_images
from training.descent import Recipe
from training.models import Shape, family_named

MAGIC = 0x00000803
RECIPE = Recipe(epochs=6, patience=6, batch=16, learning_rate=8e-3, one_cycle=True)
SHAPE = Shape(28, 28, hidden=64, latent=8)


def discs(count: int, seed: int) -> NDArray[np.uint8]:
    """Images (N, 28, 28) of a soft disc each, somewhere, of some size."""
    random = np.random.default_rng(seed)
    middle, radius = random.uniform(9, 19, (2, count, 1, 1)), random.uniform(3, 8, (count, 1, 1))
    rows, columns = np.mgrid[:28, :28]
    distance = np.hypot(rows - middle[0], columns - middle[1])
    return np.asarray(255 * np.clip(radius - distance + 0.5, 0, 1), np.uint8)


def content(images: NDArray[np.uint8], magic: int = MAGIC) -> bytes:
    """An idx file, byte by byte from its description."""
    return struct.pack(">4I", magic, *images.shape) + bytes(int(value) for value in images.ravel())


def packed(path: Path, unpacked: bytes) -> Path:
    """A file with this in it, gzipped."""
    path.write_bytes(gzip.compress(unpacked, 1))
    return path


@pytest.fixture(scope="module")
def digits() -> mnist.Digits:
    train, validation, test = (torch.from_numpy(discs(count, seed)) for seed, count in enumerate((400, 100, 100)))
    return mnist.Digits(train, validation, test)


def test_images_come_out_of_an_idx_file_as_they_went_in(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 27), np.uint8)
    assert np.array_equal(read_images(packed(tmp_path / "images.gz", content(images))), images)


def test_a_file_of_labels_is_told_from_one_of_images(tmp_path: Path) -> None:
    path = packed(tmp_path / "labels.gz", content(discs(1, 0), magic=0x00000801))
    with pytest.raises(
        InvalidData, match=r"labels\.gz: begins with 00000801 .*; an idx file of images with 00000803"
    ):
        read_images(path)


def test_missing_and_surplus_bytes_are_counted(tmp_path: Path) -> None:
    whole = content(discs(2, 0))
    assert len(whole) == 1584
    for other in (whole[:-1], whole[:-784], whole + b"\0"):
        path = packed(tmp_path / "cut.gz", other)
        with pytest.raises(InvalidData, match=rf"cut\.gz: holds {len(other)} bytes, .* need 1584"):
            read_images(path)


def test_an_empty_file_and_one_of_a_header_alone_are_refused(tmp_path: Path) -> None:
    for unpacked in (b"", b"\0\0\x08\x03"):
        with pytest.raises(InvalidData, match=r"empty\.gz: begins with"):
            read_images(packed(tmp_path / "empty.gz", unpacked))


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_download_that_broke_off_is_fetched_again(tmp_path: Path, share: float) -> None:
    path = packed(tmp_path / "half.gz", content(discs(4, 0)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InvalidData, match=r"half\.gz: cannot be unpacked, fetch it again"):
        read_images(path)


def test_a_missing_file_and_one_that_is_not_packed_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"none\.gz: there is no such file"):
        read_images(tmp_path / "none.gz")
    (tmp_path / "plain.gz").write_bytes(b"plain text, not packed")
    with pytest.raises(InvalidData, match=r"plain\.gz: cannot be unpacked"):
        read_images(tmp_path / "plain.gz")


def test_the_cross_entropy_falls_below_what_the_mean_image_has(digits: mnist.Digits) -> None:
    family = replace(family_named("dense"), loss=mnist.cross_entropy)
    learner, curve = mnist.train(digits, family, SHAPE, RECIPE)
    assert curve[-1] < curve[0]
    mean = (digits.train.float().mean(0) / 255).clamp(1e-3, 1 - 1e-3)
    test = digits.test.float() / 255
    guess = -(test * mean.log() + (1 - test) * (1 - mean).log()).mean()
    assert mnist.mean_cross_entropy(learner, digits.test) < 0.6 * float(guess)


def test_the_cross_entropy_is_the_textbook_s(digits: mnist.Digits) -> None:
    learner = mnist.Images(family_named("dense").build(SHAPE)).eval()
    with torch.no_grad():
        clean, _ = learner.prepare(digits.test)
        p = learner(clean).double().clamp(1e-7, 1 - 1e-7)
    y = digits.test.double() / 255
    assert mnist.mean_cross_entropy(learner, digits.test) == pytest.approx(
        float(-(y * p.log() + (1 - y) * (1 - p).log()).mean()), abs=1e-5
    )


def test_a_denoising_one_takes_noise_away_and_is_drawn(digits: mnist.Digits, tmp_path: Path) -> None:
    family = replace(family_named("conv"), loss=mnist.denoising)
    learner, _ = mnist.train(digits, family, SHAPE, RECIPE)
    clean, spoilt, result = mnist.restored(learner, digits.test, 0.5, seed=0)
    assert (result - clean).square().mean() < 0.5 * (spoilt - clean).square().mean()
    mnist.draw(learner, digits.test, 0, tmp_path / "shown" / "grid.png")
    assert (tmp_path / "shown" / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_figures(digits: mnist.Digits) -> None:
    family = replace(family_named("dense"), loss=mnist.cross_entropy)
    one, other, third = (mnist.train(digits, family, SHAPE, replace(RECIPE, epochs=1, seed=s))[1] for s in (1, 1, 2))
    assert one == other != third
