"""A task for `train.fit` that learns in seconds: three-channel noise whose mean colour is its label.

`python tests/toy_task.py OUT EPOCH BATCH` trains and kills itself (SIGKILL) before that batch: a power cut.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.distributed import Group
from train.fit import Fitted, fit
from train.recipe import Recipe

FACTS: dict[str, Any] = {"task": "toy", "labels": ["red", "green", "blue"]}
RECIPE = Recipe(name="toy", network="toy", epochs=3, batch_size=8, learning_rate=5e-3, precision="float32", ema=0.9)


class ToyTask:
    """96 pictures (3, 8, 8), 12 batches of 8 an epoch; `before_batch(epoch, batch)` may interfere."""

    steps_per_epoch = 12
    chooses = True

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(0)
        self.labels = torch.arange(96) % 3
        self.pictures = torch.randn(96, 3, 8, 8, generator=source) + 0.6 * F.one_hot(self.labels, 3)[:, :, None, None]

    def before_batch(self, epoch: int, batch: int) -> None:
        """Do nothing."""

    def batches(self, epoch: int, generator: torch.Generator, group: Group) -> Iterator[tuple[Tensor, Tensor]]:
        order, rows = torch.randperm(96, generator=generator), group.share_of(8)
        for batch in range(self.steps_per_epoch):
            self.before_batch(epoch, batch)
            chosen = order[batch * 8 : batch * 8 + 8]
            noise = torch.randn(8, 3, 8, 8, generator=generator)
            yield (self.pictures[chosen] + 0.1 * noise)[rows], self.labels[chosen[rows]]

    def loss(self, outputs: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def correct(self, outputs: Tensor, targets: Tensor) -> float:
        return float((outputs.argmax(1) == targets).float().mean())

    @torch.inference_mode()
    def score(self, network: nn.Module) -> dict[str, float]:
        accuracy = self.correct(network(self.pictures), self.labels)
        return {"score": accuracy, "accuracy": accuracy}


class KilledTask(ToyTask):
    """Dies by SIGKILL before one batch."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__()
        self.dies = (epoch, batch)

    def before_batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)


def toy_network() -> nn.Module:
    """Convolutions of several channels (their memory layout matters), batch norm and dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(8, 3))


def train_toy(out: Path, task: ToyTask | None = None, resume: bool = False, facts: dict[str, Any] | None = None,
              recipe: Recipe = RECIPE) -> Fitted:
    """Train the toy through the real `fit`, on one thread: more would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fit(toy_network(), task or ToyTask(), recipe, out, facts or FACTS, resume)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    train_toy(Path(sys.argv[1]), KilledTask(int(sys.argv[2]), int(sys.argv[3])))
