"""How fast training is against its limits: the loop against the bare step, augmentation against PIL, memory.

`mien bench-train` runs it and writes the record. Everything is compared within one run, as medians of paired rounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from train.augment import Augmentation, augment
from train.datasets.labelled_faces import LabelledFaces
from train.distributed import Group
from train.expression.task import ExpressionTask
from train.fit import Fitting, autocast
from train.networks import build_network
from train.optimizers import make_optimizer
from train.recipe import Recipe

STEPS = 6  # of one round
BATCH = 128
CROP = 44  # paper C's


def measure(faces: LabelledFaces, data: Path, rounds: int = 7) -> dict[str, Any]:
    """Return the figures; faces: at least 768 to train on. Takes a few minutes."""
    chosen = faces.where(np.arange(STEPS * BATCH))
    return {
        "loop": {name: _loop(Recipe("speed", name, epochs=1000, ema=0.998), chosen, rounds)
                 for name in ("small-vgg", "light-vgg16")},
        "augmentation": _augmentation(chosen, rounds),
        "memory": {"peak_mib_of_loading_fer2013": _peak_of_loading(data),
                   "array_mib": round(35_887 * 48 * 48 / 2**20, 1)},
    }


def _paired(one: Callable[[], float], other: Callable[[], float], rounds: int) -> dict[str, float]:
    """Return both medians and the median of their ratios, first over second; the first round only warms up."""
    pairs = [(one(), other()) for _ in range(rounds + 1)][1:]
    return {"ours": round(statistics.median(a for a, _ in pairs), 1),
            "theirs": round(statistics.median(b for _, b in pairs), 1),
            "ratio": round(statistics.median(a / b for a, b in pairs), 3)}


def _loop(recipe: Recipe, faces: LabelledFaces, rounds: int) -> dict[str, float]:
    """Images a second of `fit`'s loop, augmentation and averages included, over those of the bare step."""
    network = build_network(recipe.network, len(faces.label_names), 0.3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = ExpressionTask(faces, faces, recipe)
    batches = [(x.contiguous(memory_format=torch.channels_last), y.first)
               for x, y in task.batches(0, torch.Generator().manual_seed(0))]
    optimizer = make_optimizer(network, recipe)
    epoch = iter(range(rounds + 1))

    def bare() -> float:
        network.train()
        began = time.perf_counter()
        for inputs, labels in batches:
            with autocast("cpu", recipe.precision):
                outputs = network(inputs)
            loss = F.cross_entropy(outputs.float(), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return len(batches) * BATCH / (time.perf_counter() - began)

    with TemporaryDirectory() as out:
        fitting = Fitting(network, task, recipe, Path(out), {}, Group(), "cpu")
        fitting.start()
        return _paired(lambda: float(fitting.train_epoch(next(epoch))["images_per_second"]), bare, rounds)


class _PerImage(Dataset[tuple[torch.Tensor, int]]):
    """The usual way: one PIL image at a time, padded or cropped at random and mirrored, then a float tensor."""

    def __init__(self, faces: LabelledFaces):
        self.faces = faces
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.faces.images[index])
        left, top = self.random.integers(0, image.width - CROP + 1, 2).tolist()
        image = image.crop((left, top, left + CROP, top + CROP))
        if self.random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).unsqueeze(0).float().div(255).sub(0.5).div(0.25)
        return pixels, int(self.faces.labels[index])


def _augmentation(faces: LabelledFaces, rounds: int) -> dict[str, Any]:
    """Images a second of batches of 128 from memory: ours over PIL + DataLoader."""
    images = torch.from_numpy(faces.images).unsqueeze(1)
    generator = torch.Generator().manual_seed(0)
    alone = Augmentation(flip=0.5, rotation=0, scale=0, shift=0, contrast=0, brightness=0, cutout=0)
    loader = DataLoader(_PerImage(faces), BATCH, shuffle=True)

    def ours(size: int, how: Augmentation, crop: int | None) -> float:
        began, repeats = time.perf_counter(), 5
        for _ in range(repeats):
            order = torch.randperm(len(images), generator=generator)
            for start in range(0, len(images), BATCH):
                augment(images.index_select(0, order[start : start + BATCH]), size, how, generator, crop)
        return repeats * len(images) / (time.perf_counter() - began)

    def theirs() -> float:
        began = time.perf_counter()
        seen = sum(len(labels) for _, labels in loader)
        return seen / (time.perf_counter() - began)

    return {"crop_and_mirror": _paired(lambda: ours(CROP, alone, CROP), theirs, rounds),
            "all_of_ours_against_that": _paired(lambda: ours(48, Augmentation(), None), theirs, rounds),
            "their_path": "PIL crop and mirror, tensor and normalization an image; DataLoader in this process"}


def _peak_of_loading(data: Path) -> float:
    """Return the peak MiB of a process that loads FER2013, above one that only imports the loader."""
    code = ("import sys; from pathlib import Path; from runtime.machine import peak_memory; "
            "from train.datasets.fer2013 import load_fer2013; before = peak_memory(); "
            "faces = load_fer2013(Path(sys.argv[1])); print(before, peak_memory())")
    result = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parent.parent)
    before, peak = map(int, result.stdout.split())
    return round((peak - before) / 2**20, 1)
