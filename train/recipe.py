"""A recipe: every choice that makes one training run, as a frozen dataclass read from YAML.

The shipped recipes lie in `train/recipes/`; `--recipe` takes a name or a path. Knows nothing of how they are cooked.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runtime.config import build, read_yaml
from runtime.errors import BadInput
from train.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how."""

    name: str
    network: str
    data: Literal["fer2013"] = "fer2013"
    dropout: float = 0.3
    epochs: int = 16
    batch_size: int = 128
    # [share of the run, side]: progressive resizing (Howard 2018, fast.ai DAWNBench)
    image_sizes: tuple[tuple[float, int], ...] = ((0.0, 32), (0.3, 40), (0.6, 48))
    learning_rate: float = 2e-3  # the one-cycle peak (Smith and Topin 2018, https://arxiv.org/abs/1708.07120)
    warm_up: float = 0.2  # share of the run
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.0  # Beta(a, a) (Zhang et al. 2018, https://arxiv.org/abs/1710.09412); 0 is off
    ema: float = 0.998  # decay a step of the averaged weights, which are the ones kept
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"expected epochs ≥ 1 and batch_size ≥ 2, found {self.epochs} and {self.batch_size}")
        if not self.image_sizes or self.image_sizes[0][0] != 0.0:
            raise ValueError(f"expected image_sizes to start at share 0.0, found {self.image_sizes}")
        if not (0 <= self.ema < 1 and 0 <= self.dropout < 1 and 0 <= self.label_smoothing < 1):
            raise ValueError("expected ema, dropout and label_smoothing of 0 up to 1")
        if not (self.learning_rate > 0 and 0 <= self.warm_up <= 1 and self.weight_decay >= 0 and self.mixup >= 0):
            raise ValueError("expected learning_rate above 0, warm_up of 0–1, weight_decay and mixup of 0 or more")

    def size_at(self, epoch: int) -> int:
        """Return the side of the faces in this epoch, pixels."""
        return [side for share, side in self.image_sizes if epoch / self.epochs >= share][-1]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as YAML and JSON hold them."""
        return dataclasses.asdict(self)


def load_recipe(name_or_path: str, **overrides: Any) -> Recipe:
    """Read a recipe by shipped name or by path; `overrides` replace single values. Raises BadInput, BadConfig."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
        known = sorted(p.stem for p in RECIPES.glob("*.yaml"))
        if name_or_path not in known:
            close = difflib.get_close_matches(name_or_path, known, n=1)
            advice = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise BadInput(f"expected a recipe, found {name_or_path!r}; {advice}")
    values = {"name": path.stem} | read_yaml(path) | {k: v for k, v in overrides.items() if v is not None}
    return build(Recipe, values, str(path))
