"""A short training of a finished network under its INT8 graph's rounding, so that INT8 says again what float said.

Its own float answers are the teacher (Mishra and Marr 2018, https://arxiv.org/abs/1711.05852), not the labels: what is
repaired is the rounding, and nothing else is learned. Knows nothing of ONNX; scales come in by module name.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from runtime.config import build
from runtime.errors import BadInput
from train.augment import Augmentation
from train.datasets.labelled_faces import LabelledFaces
from train.expression.parts import parts_of, with_streamed
from train.expression.task import ExpressionTask
from train.fake_quantize import InputGrid, fake_quantize
from train.fit import Fitted, fit
from train.recipe import Distillation, Recipe


@dataclass(frozen=True)
class FineTuning:
    """How long and how strongly: epochs over `images` training faces drawn once, AdamW's peak learning rate."""

    epochs: int = 2
    images: int = 4096
    batch_size: int = 32
    learning_rate: float = 2e-5
    seed: int = 0


@dataclass(frozen=True)
class FineTuned:
    """Held-out figures of the rounded network before the first step, and what the run came to."""

    before: dict[str, float]
    fitted: Fitted


def fine_tune(network: nn.Module, facts: dict[str, Any], inputs: Mapping[str, InputGrid], faces: LabelledFaces,
              out: Path, how: FineTuning, command: str = "") -> FineTuned:
    """Train a checkpoint's network (as `load_network` gives it) under fake quantizers; leaves a run in `out`.

    faces: the recipe's data set; the epoch is chosen on its held-out part, scored as INT8. `out/best` is a checkpoint
    of the float network with its batch norms folded. Raises BadInput, and MienError where the loss is not finite.
    """
    try:
        recipe = gentle(build(Recipe, facts["recipe"], "the checkpoint's recipe"), facts["sha256"], how)
    except ValueError as error:  # what a recipe refuses
        raise BadInput(str(error)) from error
    parts = with_streamed(recipe, parts_of(recipe, faces))
    if not recipe.batch_size <= how.images:
        raise BadInput(f"expected {recipe.batch_size} faces or more to fine-tune on, found {how.images}")
    count = min(how.images, len(parts.training))
    chosen = np.random.default_rng(how.seed).choice(len(parts.training), count, replace=False)
    teacher = copy.deepcopy(network).eval()
    student = fake_quantize(network, inputs)
    task = ExpressionTask(parts.training.where(np.sort(chosen)), parts.choosing or parts.reported, recipe,
                          parts.choosing is not None, [teacher])
    before = task.score(student)
    kept = {key: facts[key] for key in ("format", "task", "network", "labels", "size", "input") if key in facts}
    run_facts = kept | {
        "recipe": recipe.as_dict(), "command": command, "torch": torch.__version__,
        "data": {"name": recipe.data, "sha256": faces.sha256(), "training_images": count},
        "fine_tuned_from": {"sha256": facts["sha256"], "recipe": facts["recipe"]},
        "input_grids": {name: dataclasses.asdict(grid) for name, grid in inputs.items()}, "before": before}
    return FineTuned(before, fit(student, task, recipe, out, run_facts, resume=False))


def gentle(recipe: Recipe, teacher: str, how: FineTuning) -> Recipe:
    """Return the recipe of a fine-tuning: the same faces at full size, mirrored at most, taught by the float network.

    float32 throughout: bfloat16 holds 8 bits, and so not the products of an integer and its scale.
    """
    return dataclasses.replace(
        recipe, name=f"{recipe.name}-fine-tuned", epochs=how.epochs, batch_size=how.batch_size, seed=how.seed,
        learning_rate=how.learning_rate, optimizer="adamw", schedule="cosine", step_at=(), warm_up=0.1,
        weight_decay=0.0, label_smoothing=0.0, mixup=0.0, balance="none", dropout=0.0, image_sizes=(), patience=0,
        ema=0.98, precision="float32", distillation=Distillation((teacher,), weight=1.0, temperature=1.0),
        augmentation=Augmentation(flip=recipe.augmentation.flip, rotation=0, scale=0, shift=0, contrast=0,
                                  brightness=0, cutout=0))
