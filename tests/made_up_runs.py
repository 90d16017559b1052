"""Runs that were never trained, and reports nobody measured: what the results table is made of."""

from __future__ import annotations

from typing import Any

from train.expression.run_history import Epoch, RunHistory
from train.recipe import Recipe


def run_of(recipe: Recipe, epochs: int = 2, name: str = "") -> RunHistory:
    history = tuple(Epoch(n + 1, 1.0, 0.5, 0.6, 48, 90.0) for n in range(epochs))
    return RunHistory(name or recipe.name, {"epoch": epochs - 1}, recipe, history)


def report_of(*, views: str = "mirror", **splits: float) -> dict[str, Any]:
    """A report of 100 images a split, whose averaged views are a point better and whose own images two points worse."""
    entries = {name.replace("_", "-"): {"images": 100, "accuracy": accuracy, "averaged": {"accuracy": accuracy + 0.01},
                                        "without_training_copies": {"images": 90, "accuracy": accuracy - 0.02}}
               for name, accuracy in splits.items()}
    return {"network": {"parameters": 1234567}, "data": {"sha256": "0" * 64}, "views": views, "splits": entries}


def recipe_of(network: str, data: str = "fer2013", **choices: Any) -> Recipe:
    return Recipe("mine", network, data=data, epochs=4, **choices)


def folds(accuracies: list[float], **choices: Any) -> list[tuple[RunHistory, dict[str, Any]]]:
    return [(run_of(recipe_of("light-vgg16", "ck-plus", fold=n, **choices), name=f"fold-{n}"),
             report_of(**{f"{choices['protocol'].replace('-', '_')}_{n}": accuracy}))
            for n, accuracy in enumerate(accuracies)]
