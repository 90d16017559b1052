"""A recipe: every choice that makes one training run, as a frozen dataclass read from YAML.

The shipped recipes lie in `train/recipes/`; `--recipe` takes a name or a path. Knows nothing of how they are cooked.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runtime.config import build, parse_yaml, read_yaml
from runtime.errors import BadInput
from train.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"

DataName = Literal["fer2013", "ck-plus", "raf-db", "sfew", "rafd", "folders"]  # folders: one a class, one's own
ProtocolName = Literal["canonical", "random-90-10", "ten-fold", "ten-fold-by-subject"]


@dataclass(frozen=True)
class Distillation:
    """Learn from other networks' answers as well (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).

    The teachers see the very faces the student sees (Beyer et al. 2022, https://arxiv.org/abs/2106.05237); their
    probabilities are averaged.
    """

    teachers: tuple[str, ...]  # checkpoint directories
    weight: float = 0.7  # of the teachers' part of the loss; the labels have the rest
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not self.teachers or not (0 < self.weight <= 1 and self.temperature > 0):
            raise ValueError("expected one teacher or more, a weight above 0 up to 1 and a temperature above 0, found "
                             f"{len(self.teachers)}, {self.weight} and {self.temperature}")


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how."""

    name: str
    # the network
    network: str
    network_options: dict[str, Any] = field(default_factory=dict)  # its own, such as hidden: 256
    dropout: float | None = None  # None is the network's own
    # the faces
    data: DataName = "fer2013"
    protocol: ProtocolName = "canonical"
    fold: int = 0  # of the ten, counted from 0
    labels: tuple[str, ...] = ()  # only these of the data set's; none is all. Of folders: the classes, in order
    face: Literal["whole", "haar"] = "whole"  # the image is the face, or OpenCV's cascade finds it
    as_streamed: bool = False  # learns from every face twice: as it is, and as the stream would cut it
    colour: Literal["grey", "rgb"] = "grey"
    equalize: bool = False  # histogram equalization
    size: int = 48  # side of a face as read, pixels
    crop: int | None = None  # side of the part the network sees: drawn at random in training, the centre in a test
    test_views: Literal["single", "mirror", "ten-crop"] = "single"
    # [share of the run, side]: progressive resizing (Howard 2018, fast.ai DAWNBench); none is one size throughout
    image_sizes: tuple[tuple[float, int], ...] = ()
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixup: float = 0.0  # Beta(a, a) (Zhang et al. 2018, https://arxiv.org/abs/1710.09412); 0 is off
    # against rare classes: weights in the loss, or sampling, each inverse to a class's share
    balance: Literal["none", "weights", "sampling"] = "none"
    # the fitting
    epochs: int = 16
    batch_size: int = 128
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 2e-3  # the schedule's peak
    schedule: Literal["one-cycle", "cosine", "step", "constant"] = "one-cycle"  # what each is: schedules.py
    warm_up: float = 0.2  # share of the run
    step_at: tuple[float, ...] = ()  # shares of the run at which `step` multiplies by step_factor
    step_factor: float = 0.1
    momentum: float = 0.9  # SGD's, Nesterov's form
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    distillation: Distillation | None = None
    ema: float = 0.998  # decay a step of the averaged weights, which are the ones kept; 0 keeps the last step's
    patience: int = 0  # epochs without a better score before a run stops early; 0 never does
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"  # of the forward pass; weights stay float32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"expected epochs ≥ 1 and batch_size ≥ 2, found {self.epochs} and {self.batch_size}")
        if not 1 <= (self.crop or self.size) <= self.size:
            raise ValueError(f"expected a crop of 1–{self.size} pixels, found {self.crop}")
        shares = [share for share, _ in self.image_sizes]
        if shares and (shares[0] != 0.0 or shares[-1] >= 1 or shares != sorted(set(shares))
                       or self.image_sizes[-1][1] != self.side):
            raise ValueError(f"expected image_sizes to start at share 0.0, rise below 1 and end at {self.side} pixels, "
                             f"found {self.image_sizes}")
        if not (0 <= self.ema < 1 and 0 <= (self.dropout or 0) < 1 and 0 <= self.label_smoothing < 1):
            raise ValueError("expected ema, dropout and label_smoothing of 0 up to 1")
        if not (self.learning_rate > 0 and 0 <= self.warm_up <= 1 and self.weight_decay >= 0 and self.mixup >= 0):
            raise ValueError("expected learning_rate above 0, warm_up of 0–1, weight_decay and mixup of 0 or more")
        if not (0 <= self.momentum < 1 and 0 < self.step_factor <= 1 and self.patience >= 0):
            raise ValueError("expected momentum of 0 up to 1, step_factor above 0 up to 1, patience of 0 or more")
        if (self.schedule == "step") != bool(self.step_at) or not all(0 < share < 1 for share in self.step_at):
            raise ValueError(f"expected step_at as shares of the run with schedule: step, and only there, found "
                             f"{self.schedule} and {self.step_at}")
        if not 0 <= self.fold < 10 or (self.fold and not self.protocol.startswith("ten-fold")):
            raise ValueError(f"expected a fold of 0–9, and only with ten-fold, found {self.fold} ({self.protocol})")
        if len({label.lower() for label in self.labels}) != len(self.labels):
            raise ValueError(f"expected distinct labels, found {', '.join(self.labels)}")
        if self.data == "folders" and (len(self.labels) < 2 or self.protocol not in ("random-90-10", "ten-fold")):
            raise ValueError("expected data: folders with labels, two classes or more, and with protocol: random-90-10 "
                             f"or ten-fold, found {len(self.labels)} labels and {self.protocol}")
        if self.equalize and self.colour != "grey":
            raise ValueError("expected equalize only with colour: grey")

    @property
    def side(self) -> int:
        """The side of the faces the network is tested and exported at, pixels."""
        return self.crop or self.size

    @property
    def channels(self) -> int:
        """Number of channels: 1 for grey, 3 for RGB."""
        return 1 if self.colour == "grey" else 3

    def size_at(self, epoch: int) -> int:
        """Return the side of the faces in this epoch, pixels."""
        return [side for share, side in self.image_sizes or ((0.0, self.side),) if epoch / self.epochs >= share][-1]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as YAML and JSON hold them."""
        return dataclasses.asdict(self)


def load_recipe(name_or_path: str, changes: Sequence[str] = (), **overrides: Any) -> Recipe:
    """Read a recipe by shipped name or by path. Raises BadInput, BadConfig.

    changes: `key=value` or `key.key=value`, the value as YAML has it. overrides: single values; None changes nothing.
    """
    path, values = read_recipe(name_or_path, RECIPES, "a recipe")
    for said in changes:
        _change(values, said)
    return build(Recipe, values | {k: v for k, v in overrides.items() if v is not None}, str(path))


def read_recipe(name_or_path: str, folder: Path, what: str) -> tuple[Path, dict[str, Any]]:
    """Read a recipe's YAML, shipped in `folder` by name or a file of one's own; returns where it stood and its values.

    Raises BadInput for an unknown name, with `what` was expected and the nearest that is known.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = folder / f"{name_or_path}.yaml"
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        if name_or_path not in known:
            close = difflib.get_close_matches(name_or_path, known, n=1)
            advice = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise BadInput(f"expected {what}, found {name_or_path!r}; {advice}")
    return path, {"name": path.stem} | read_yaml(path)


def _change(values: dict[str, Any], said: str) -> None:
    """Carry out one `key.key=value`."""
    path, equals, value = said.partition("=")
    *above, key = path.strip().split(".")
    if not equals or not key:
        raise BadInput(f"expected key=value, found {said!r}; for example --set network_options.hidden=256")
    for name in above:
        below = values.setdefault(name, {})
        if not isinstance(below, dict):
            raise BadInput(f"expected keys under {name}, found {below!r}; {said!r} has nothing to change there")
        values = below
    values[key] = parse_yaml(f"{key}: {value}", f"--set {said}")[key]
