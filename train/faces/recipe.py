"""A detector's recipe: every choice that makes one training run of it, as a frozen dataclass read from YAML.

The shipped recipes lie in `train/faces/recipes/`. Knows nothing of how they are cooked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.config import build
from train.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class SceneRecipe:
    """How scenes are composed; probabilities are of one scene or of one face."""

    smallest: float = 10.0  # px, the geometric mean of a face box's sides; below 12 a face is hardly one
    largest: float = 1.1  # share of the scene's shorter side
    faces: int = 8  # at most, pasted into one scene
    distractors: int = 4  # at most: parts of photographs without a face, cut out and lit as faces are
    rotation: float = 14.0  # degrees, one standard deviation
    real_faces: float = 0.35  # probability of a photograph in which the teacher found a face
    mosaic: float = 0.25  # probability of a background of two photographs
    dressed: float = 0.5  # probability of something like hair or shoulders behind a face
    covered: float = 0.12  # probability of something in front of a face

    def __post_init__(self) -> None:
        if not (self.smallest >= 4 and 0 < self.largest <= 2 and self.faces >= 0 and self.distractors >= 0):
            raise ValueError("expected smallest of 4 px or more, largest of 0–2, faces and distractors of 0 or more, "
                             f"found {self.smallest}, {self.largest}, {self.faces}, {self.distractors}")
        if not all(0 <= share <= 1 for share in (self.real_faces, self.mosaic, self.dressed, self.covered)):
            raise ValueError("expected real_faces, mosaic, dressed and covered of 0–1")


@dataclass(frozen=True)
class LossWeights:
    """What each part of the loss counts; the starting point is YuNet's (1, 1, 5, 0.1), its landmarks' scale apart."""

    objectness: float = 1.0
    quality: float = 1.0
    box: float = 5.0
    landmarks: float = 2.0


@dataclass(frozen=True)
class FaceRecipe:
    """What detector is trained, on what scenes, and how; the fitting's fields are those of `train.recipe.Recipe`."""

    name: str
    widths: tuple[int, ...] = (16, 32, 64, 96, 96)  # channels at strides 2, 4, 8, 16, 32
    blocks: tuple[int, ...] = (2, 2, 1)  # depth-wise blocks at strides 8, 16, 32 after the one that shrinks
    scenes: SceneRecipe = field(default_factory=SceneRecipe)
    scenes_per_epoch: int = 9600
    size: int = 320  # side of a scene, px
    image_sizes: tuple[tuple[float, int], ...] = ()
    loss: LossWeights = field(default_factory=LossWeights)
    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 1e-2
    warm_up: float = 0.05
    weight_decay: float = 0.02
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = [self.size, *(side for _, side in self.image_sizes)]
        if any(not 64 <= side <= 1024 or side % 32 for side in sizes):
            raise ValueError(f"expected scenes of 64–1024 px, in multiples of 32, found {sizes}")
        if len(self.widths) != 5 or len(self.blocks) != 3 or min(self.widths) < 1 or min(self.blocks) < 0:
            raise ValueError(f"expected five widths and three numbers of blocks, found {self.widths} and {self.blocks}")
        if self.scenes_per_epoch < self.batch_size:
            raise ValueError(f"expected at least {self.batch_size} scenes_per_epoch, found {self.scenes_per_epoch}")
        try:
            self.fitting()
        except ValueError as error:
            raise ValueError(f"{error} (of the fitting)") from error

    def fitting(self) -> Recipe:
        """Return the choices that `train.fit` reads."""
        shared = {f.name for f in dataclasses.fields(Recipe)} & {f.name for f in dataclasses.fields(self)}
        return Recipe(network="face-detector", schedule="one-cycle", **{name: getattr(self, name) for name in shared})

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as YAML and JSON hold them."""
        return dataclasses.asdict(self)


def load_face_recipe(name_or_path: str, **overrides: Any) -> FaceRecipe:
    """Read a recipe by shipped name or by path; None overrides nothing. Raises BadInput, BadConfig."""
    path, values = read_recipe(name_or_path, RECIPES, "a detector's recipe")
    return build(FaceRecipe, values | {k: v for k, v in overrides.items() if v is not None}, str(path))
