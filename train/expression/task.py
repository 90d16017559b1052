"""The expression task as `fit` sees it: augmented batches of faces, smoothed cross-entropy, accuracy held out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.augment import augment
from train.datasets.labelled_faces import LabelledFaces
from train.expression.metrics import score_labels
from train.recipe import Recipe

Targets = tuple[Tensor, Tensor, float]  # labels, labels mixed in, share of the first


class ExpressionTask:
    """Train on one set of faces, choose on another (never on the one that is reported)."""

    def __init__(self, training: LabelledFaces, held_out: LabelledFaces, recipe: Recipe):
        self.recipe, self.held_out = recipe, held_out
        self.images = torch.from_numpy(training.images).unsqueeze(1)  # (N, 1, H, W) uint8
        self.labels = torch.from_numpy(training.labels)
        self.steps_per_epoch = max(1, len(training) // recipe.batch_size)

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Targets]]:
        """Yield shuffled, augmented batches; the last incomplete one is left for another epoch's shuffle."""
        order = torch.randperm(len(self.labels), generator=generator)
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size]
            size = self.recipe.size_at(epoch)
            faces = augment(self.images[chosen], size, self.recipe.augmentation, generator)
            labels = self.labels[chosen]
            if not self.recipe.mixup:
                yield faces, (labels, labels, 1.0)
                continue
            # Beta(a, a) as a ratio of two gammas, so that it comes from our generator
            gammas = torch._standard_gamma(torch.full((2,), self.recipe.mixup), generator=generator)
            share = float(gammas[0] / gammas.sum())
            faces = faces.lerp(faces.flip(0), 1 - share)
            yield faces, (labels, labels.flip(0), share)

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy with smoothed labels (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567)."""
        first, second, share = targets
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(outputs, first, label_smoothing=smoothing)
        if share < 1:
            loss = share * loss + (1 - share) * F.cross_entropy(outputs, second, label_smoothing=smoothing)
        return loss

    def correct(self, outputs: Tensor, targets: Targets) -> float:
        """Share of the batch whose largest logit is the label."""
        return float((outputs.argmax(1) == targets[0]).float().mean())

    def score(self, network: nn.Module) -> dict[str, float]:
        """Accuracy and macro-F1 on the held-out faces, single view, unchanged faces, float32."""
        logits = predict(network, self.held_out.images[:, None])
        scores = score_labels(self.held_out.labels, logits.argmax(1), len(self.held_out.label_names))
        return {"score": scores.accuracy, "accuracy": scores.accuracy, "macro_f1": scores.macro_f1}


@torch.inference_mode()
def predict(network: nn.Module, faces: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Run (N, 1, H, W) uint8 faces through a network in float32; returns (N, classes) float32 logits."""
    network.eval()
    batches = [torch.from_numpy(faces[i : i + batch_size]) for i in range(0, len(faces), batch_size)]
    return torch.cat([network(batch) for batch in batches]).float().numpy()
