"""What a run's folder says of its training: the recipe, and every epoch's figures from `metrics.jsonl`.

Read-only, also while the run goes on; opens no weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.config import build
from runtime.errors import BadInput
from train.datasets import own_splits
from train.recipe import Recipe
from train.schedules import learning_rate

_POINTS = 400  # of the learning-rate curve


@dataclass(frozen=True)
class Epoch:
    """One epoch, counted from 1: shares are 0–1, `size` the faces' side in pixels, `accuracy` the training's."""

    number: int
    loss: float
    accuracy: float | None
    held_out: float
    size: int
    seconds: float


@dataclass(frozen=True)
class RunHistory:
    """A run: its folder's name, the facts of its best checkpoint, and its epochs so far, at least one."""

    name: str
    facts: dict[str, Any]
    recipe: Recipe
    epochs: tuple[Epoch, ...]

    @property
    def kept(self) -> Epoch:
        """The epoch whose weights are kept as best."""
        return next((e for e in self.epochs if e.number == self.facts["epoch"] + 1), self.epochs[-1])

    @property
    def seconds(self) -> float:
        """The time all epochs took together."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def held_out_name(self) -> str:
        """The part of the data that the held-out accuracy was taken on."""
        parts = own_splits(self.recipe.data)
        if self.recipe.protocol != "canonical" or not parts:
            return "the fold's test"
        return parts.choosing or parts.reported

    def size_changes(self) -> list[tuple[int, int]]:
        """Return (first epoch, side in pixels) of each stretch of equal size."""
        return [(e.number, e.size) for before, e in zip((None, *self.epochs), self.epochs)
                if before is None or before.size != e.size]

    def learning_rates(self) -> list[tuple[float, float]]:
        """Return (epoch, learning rate) along the run so far, by the recipe's schedule; epoch 1 begins at 0.5."""
        done = self.epochs[-1].number / self.recipe.epochs
        shares = [done * i / _POINTS for i in range(_POINTS)]
        steps = 1_000_000  # a share of the run as a step of many
        return [(share * self.recipe.epochs + 0.5, learning_rate(int(share * steps), steps, self.recipe))
                for share in shares]


def read_run(path: Path) -> RunHistory:
    """Read a run's folder. Raises BadInput where it is none, or where a line of metrics.jsonl is no epoch's."""
    try:
        facts = json.loads((path / "best" / "checkpoint.json").read_text(encoding="utf-8"))
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadInput(f"expected a run's folder with best/ and metrics.jsonl, found {path}: {error}; give the "
                       "--out of mien train") from error
    try:
        recipe = build(Recipe, facts["recipe"], f"{path}/best/checkpoint.json")
        epochs = [_epoch(json.loads(line)) for line in lines if line.strip()]
        number = int(facts["epoch"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"expected one epoch a line in {path}/metrics.jsonl and its recipe in best/, found {error!r}; "
                       "train again") from error
    if not epochs or number < 0:
        raise BadInput(f"expected a finished epoch in {path}/metrics.jsonl, found none; wait for the first")
    return RunHistory(path.resolve().name, facts, recipe, tuple(epochs))


def _epoch(line: dict[str, Any]) -> Epoch:
    """Read one line. Runs of the first version count from 0, and their accuracy is the held-out one."""
    if "held_out" in line:
        return Epoch(int(line["epoch"]), float(line["loss"]), float(line["accuracy"]),
                     float(line["held_out"]["accuracy"]), int(line["size"]), float(line["seconds"]))
    return Epoch(int(line["epoch"]) + 1, float(line["loss"]), None, float(line["accuracy"]), int(line["size"]),
                 float(line["seconds"]))
