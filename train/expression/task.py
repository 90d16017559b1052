"""The expression task as `fit` sees it: augmented batches, a loss of labels and teachers, accuracy held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.augment import change, draw
from train.datasets.labelled_faces import LabelledFaces
from train.distributed import Group
from train.expression.metrics import score_labels
from train.expression.views import views_of
from train.recipe import Recipe


@dataclass(frozen=True)
class Targets:
    """A batch's labels (N,), the labels mixed in, and the share of the first."""

    first: Tensor
    second: Tensor
    share: float


class ExpressionTask:
    """Train on one set of faces, measure on another; `chooses` says whether that one may choose the epoch."""

    def __init__(self, training: LabelledFaces, held_out: LabelledFaces, recipe: Recipe, chooses: bool = True,
                 teachers: Sequence[nn.Module] = ()):
        self.recipe, self.held_out, self.chooses, self.teachers = recipe, held_out, chooses, tuple(teachers)
        self.images = torch.from_numpy(channels_first(training))  # (N, C, H, W) uint8
        self.labels = torch.from_numpy(training.labels)
        self.steps_per_epoch = max(1, len(training) // recipe.batch_size)
        counts = torch.bincount(self.labels, minlength=len(training.label_names)).clamp(min=1)
        rarity = len(training) / (counts * len(counts))  # 1 where the classes are equal
        self.class_weights = rarity.float() if recipe.balance == "weights" else None
        self.face_weights = rarity[self.labels] if recipe.balance == "sampling" else None

    def batches(self, epoch: int, generator: torch.Generator, group: Group | None = None
                ) -> Iterator[tuple[Tensor, Targets]]:
        """Yield shuffled, augmented batches; the last incomplete one is left for another epoch's shuffle.

        Every process of a group draws for the whole batch and changes its own rows. Balanced sampling draws with
        replacement, each class as often as another.
        """
        recipe, count = self.recipe, self.recipe.batch_size
        rows = (group or Group()).share_of(count)
        size = recipe.size_at(epoch)
        if self.face_weights is None:
            order = torch.randperm(len(self.labels), generator=generator)
        else:
            order = torch.multinomial(self.face_weights, len(self.labels), replacement=True, generator=generator)
        for step in range(self.steps_per_epoch):
            chosen = order[step * count : (step + 1) * count]
            changes = draw(len(chosen), recipe.augmentation, generator)
            faces = change(self.images.index_select(0, chosen[rows]), size, changes[rows], recipe.crop)
            labels = self.labels[chosen[rows]]
            if not recipe.mixup:
                yield faces, Targets(labels, labels, 1.0)
                continue
            # Beta(a, a) as a ratio of two gammas, so that it comes from our generator
            gammas = torch._standard_gamma(torch.full((2,), recipe.mixup), generator=generator)
            share = float(gammas[0] / gammas.sum())
            yield faces.lerp(faces.flip(0), 1 - share), Targets(labels, labels.flip(0), share)

    def loss(self, outputs: Tensor, targets: Targets, inputs: Tensor) -> Tensor:
        """Cross-entropy with smoothed labels (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567), and distillation.

        The teachers' part is KL(teachers ‖ student) at the distillation's temperature T, times T² (Hinton et al. 2015).
        """
        first, second = targets.first.to(outputs.device), targets.second.to(outputs.device)
        weights = None if self.class_weights is None else self.class_weights.to(outputs.device)
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(outputs, first, weights, label_smoothing=smoothing)
        if targets.share < 1:
            other = F.cross_entropy(outputs, second, weights, label_smoothing=smoothing)
            loss = targets.share * loss + (1 - targets.share) * other
        how = self.recipe.distillation
        if how is None:
            return loss
        with torch.no_grad():
            answers = torch.stack([teacher(inputs).float() for teacher in self.teachers])
            taught = (answers / how.temperature).softmax(2).mean(0)
        learned = (outputs / how.temperature).log_softmax(1)
        apart = F.kl_div(learned, taught, reduction="batchmean") * how.temperature**2
        return how.weight * apart + (1 - how.weight) * loss

    def correct(self, outputs: Tensor, targets: Targets) -> float:
        """Share of the batch whose largest logit is the label (the first, where two are mixed)."""
        return float((outputs.argmax(1).cpu() == targets.first).float().mean())

    def score(self, network: nn.Module) -> dict[str, float]:
        """Accuracy and macro-F1 on the held-out faces: single view, unchanged or the crop's centre, float32."""
        logits = predict(network, views_of(channels_first(self.held_out), "single", self.recipe.side)[0])
        scores = score_labels(self.held_out.labels, logits.argmax(1), len(self.held_out.label_names))
        return {"score": scores.accuracy, "accuracy": scores.accuracy, "macro_f1": scores.macro_f1}


def channels_first(faces: LabelledFaces) -> np.ndarray:
    """Return the images as (N, C, H, W) uint8: grey ones gain an axis, RGB ones move theirs."""
    images = faces.images
    return images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@torch.inference_mode()
def predict(network: nn.Module, faces: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Run (N, C, H, W) uint8 faces through a network in float32, not TF32; returns (N, classes) float32 logits."""
    network.eval()
    device = next(network.parameters()).device
    batches = [torch.from_numpy(faces[i : i + batch_size]).to(device) for i in range(0, len(faces), batch_size)]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # cuDNN's own default takes it on newer GPUs
        return torch.cat([network(batch).float().cpu() for batch in batches]).numpy()
