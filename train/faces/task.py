"""The detector's task as `fit` sees it: composed batches, the loss, and average precision on scenes that choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from runtime.faces.anchor_free import decode_cells
from runtime.faces.detector import Faces
from train.distributed import Group
from train.faces.losses import detection_loss
from train.faces.metrics import Truth, score_detections
from train.faces.pictures import Pictures
from train.faces.recipe import FaceRecipe
from train.faces.scenes import Composer, Scene
from train.faces.targets import Targets, collate

LOWEST_SCORE = 0.05  # detections below it change no figure's second digit
SCENE_SIZE = (640, 480)  # (width, height) px of every scene that measures
CHOOSING_SCENES, CHOOSING_SEED = 96, 1


class FaceTask:
    """Train on scenes of one part's pictures, choose on fixed scenes of another's."""

    chooses = True

    def __init__(self, training: Pictures, choosing: Pictures, recipe: FaceRecipe,
                 choosing_scenes: int = CHOOSING_SCENES):
        self.recipe, self.schedule = recipe, recipe.fitting()
        self.composer = Composer(training, recipe.scenes, recipe.seed)
        self.steps_per_epoch = recipe.scenes_per_epoch // recipe.batch_size
        self.choosing = fixed_scenes(choosing, recipe, choosing_scenes, CHOOSING_SEED)

    def batches(self, epoch: int, generator: torch.Generator, group: Group | None = None
                ) -> Iterator[tuple[Tensor, Targets]]:
        """Yield composed batches, each scene from a seed of its own; a process of a group composes its own rows."""
        count = self.recipe.batch_size
        rows, side = (group or Group()).share_of(count), self.schedule.size_at(epoch)
        for _ in range(self.steps_per_epoch):
            seeds = torch.randint(2**62, (count,), generator=generator)[rows].tolist()
            scenes = [self.composer.compose((side, side), np.random.default_rng(seed)) for seed in seeds]
            yield torch.from_numpy(np.stack([s.picture for s in scenes])[:, None]), collate(scenes)

    def loss(self, outputs: Tensor, targets: Targets, inputs: Tensor) -> Tensor:
        """See `detection_loss`."""
        return detection_loss(outputs, targets, self.recipe.loss)

    def correct(self, outputs: Tensor, targets: Targets) -> float:
        """Share of the cells on a face that say so."""
        said = outputs[targets.scene, targets.cell, 1].float() > 0
        return float(said.float().mean()) if len(said) else 1.0

    def score(self, network: nn.Module) -> dict[str, float]:
        """Return the figures on the scenes that choose, float32; `score` is the mean of both average precisions."""
        figures = score_detections([detect(network, s.picture) for s in self.choosing], truths_of(self.choosing))
        return {"score": (figures["ap50"] + figures["ap75"]) / 2} | figures


def fixed_scenes(pictures: Pictures, recipe: FaceRecipe, count: int, seed: int, faces: int | None = None
                 ) -> list[Scene]:
    """Compose `count` scenes of SCENE_SIZE, the same in every run; `faces` as in `Composer.compose`."""
    composer = Composer(pictures, recipe.scenes, seed)
    return [composer.compose(SCENE_SIZE, np.random.default_rng((seed, i)), faces) for i in range(count)]


@torch.inference_mode()
def detect(network: nn.Module, picture: np.ndarray, threshold: float = LOWEST_SCORE) -> Faces:
    """Find the faces of a grey picture (H, W) uint8, sides multiples of 32, in float32; boxes clipped to it."""
    network.eval()
    device = next(network.parameters()).device
    pixels = torch.from_numpy(picture)[None, None].to(device).contiguous(memory_format=torch.channels_last)
    size = picture.shape[::-1]
    return clipped(decode_cells(network(pixels)[0].float().cpu().numpy(), size, threshold), size)


def clipped(found: Faces, size: tuple[int, int]) -> Faces:
    """Clip boxes to a picture of (width, height), as truths are."""
    first, last = (np.clip(edge, 0, size) for edge in (found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]))
    return dataclasses.replace(found, boxes=np.concatenate([first, last - first], axis=1).astype(np.float32))


def truths_of(scenes: Sequence[Scene]) -> list[Truth]:
    """Return what should be found."""
    return [Truth(s.boxes, s.landmarks, s.ignored) for s in scenes]
