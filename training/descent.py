"""Gradient descent: a quiet, seeded Lightning loop that stops when later data stops getting better."""

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from training.models import Family


class Learner(Protocol):
    """An `nn.Module` that can be trained: a network, and what it is shown of a batch; `Scorer` is one."""

    network: nn.Module

    def prepare(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of a batch, and where that was observed; each (B, W, C) float32."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to descend.

    With `one_cycle` the learning rate rises to `learning_rate` and falls to nearly nothing over all epochs, of which
    fewer are then needed (Smith and Topin 2019, "Super-convergence"). The last ones are the best: let `patience` be
    `epochs`.
    """

    epochs: int = 40
    patience: int = 6  # epochs without a better validation loss
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    accelerator: str = "cpu"
    one_cycle: bool = False


class Batches:
    """Windows (B, W, C) in batches; in a new seeded order at each pass, or as they are."""

    def __init__(self, windows: Tensor, size: int, seed: int | None = None) -> None:
        self.windows = windows
        self.size = size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.windows) // self.size)

    def __iter__(self) -> Iterator[Tensor]:
        count = len(self.windows)
        order = torch.arange(count)
        if self.generator is not None:
            order = torch.randperm(count, generator=self.generator)
        for start in range(0, count, self.size):
            yield self.windows[order[start : start + self.size]]


class _Descent(LightningModule):  # type: ignore[misc]
    """What Lightning asks for: a step's loss, and the optimiser."""

    def __init__(self, learner: Learner, family: Family, recipe: Recipe, steps: int) -> None:
        super().__init__()
        self.learner = learner
        self.family = family
        self.recipe = recipe
        self.steps = steps  # over all epochs
        self.sums = {"train": [0.0, 0.0], "validation": [0.0, 0.0]}  # of losses, of windows

    def training_step(self, window: Tensor) -> Tensor:
        return self._loss("train", window)

    def validation_step(self, window: Tensor) -> None:
        self._loss("validation", window)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.Adam(self.learner.network.parameters(), self.recipe.learning_rate)
        if not self.recipe.one_cycle:
            return {"optimizer": optimizer}
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.recipe.learning_rate, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def _loss(self, part: str, window: Tensor) -> Tensor:
        seen, observed = self.learner.prepare(window)
        loss = self.family.loss(self.learner.network, seen, observed)
        self.sums[part][0] += float(loss.detach()) * len(window)
        self.sums[part][1] += len(window)
        return loss

    def take_means(self) -> tuple[float, float]:
        """Mean training and validation loss since the last call."""
        train, validation = (total / max(count, 1.0) for total, count in self.sums.values())
        self.sums = {"train": [0.0, 0.0], "validation": [0.0, 0.0]}
        return train, validation


class _KeepBest(Callback):  # type: ignore[misc]
    """Writes the curve, keeps the best weights, and stops once they have not been beaten for a while."""

    def __init__(self, patience: int, progress: Callable[[int], None]) -> None:
        self.patience = patience
        self.progress = progress
        self.curve: list[tuple[float, float]] = []
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Trainer, descent: _Descent) -> None:
        self.curve.append(descent.take_means())
        losses = [validation for _, validation in self.curve]
        if self.best_epoch < 0 or losses[-1] < losses[self.best_epoch]:
            self.best_epoch = len(self.curve) - 1
            weights = descent.learner.network.state_dict()
            self.best_weights = {name: weight.clone() for name, weight in weights.items()}
        self.progress(len(self.curve))
        trainer.should_stop = len(self.curve) - 1 - self.best_epoch >= self.patience


def descend(
    learner: Learner,
    family: Family,
    train: Tensor,
    validation: Tensor,
    recipe: Recipe,
    progress: Callable[[int], None] = lambda epoch: None,
) -> list[tuple[float, float]]:
    """Lower the family's loss on windows (B, W, C); the learner ends with the weights best on validation."""
    keeper = _KeepBest(recipe.patience, progress)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(recipe.seed)
        trainer = Trainer(
            accelerator=recipe.accelerator,
            devices=1,
            max_epochs=recipe.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,
            callbacks=[keeper],
        )
        batches = Batches(train, recipe.batch, recipe.seed)
        descent = _Descent(learner, family, recipe, recipe.epochs * len(batches))
        trainer.fit(descent, batches, Batches(validation, recipe.batch))
    descent.cpu()
    learner.network.load_state_dict(keeper.best_weights)
    return keeper.curve
