"""Ten runs of one recipe, a fold each → mean, spread and best fold, as papers C and E report them.

Each fold is a run of its own under `out/fold-N`; what is finished is not trained again. Knows nothing of networks.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from runtime.durable import write_text
from runtime.errors import BadInput
from runtime.machine import describe_machine
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.protocols import FOLDS
from train.expression.parts import parts_of
from train.expression.run import load_network, train_expression
from train.expression.task import channels_first, predict
from train.expression.views import mean_probabilities, views_of
from train.recipe import Recipe


def cross_validate(recipe: Recipe, faces: LabelledFaces, out: Path, command: str = "", start: Path | None = None,
                   new_head: bool = False) -> dict[str, Any]:
    """Train and measure every fold; returns the record that also lies in `out/folds.json`, rewritten after each fold.

    A fold's figure is that of the last epoch, single view and the recipe's views: there is nothing to choose on, and
    the best epoch on the fold itself would flatter it. start, new_head: as in `train_expression`. Raises BadInput for a
    protocol without folds.
    """
    if not recipe.protocol.startswith("ten-fold"):
        raise BadInput(f"expected a recipe with protocol: ten-fold or ten-fold-by-subject, found {recipe.protocol}")
    folds: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    for number in range(FOLDS):
        fold = dataclasses.replace(recipe, fold=number)
        run = out / f"fold-{number}"
        fitted = train_expression(fold, faces, run, resume=(run / "last").exists(), start=start, command=command,
                                  new_head=new_head)
        parts = parts_of(fold, faces)
        folds.append({"fold": number, "images": len(parts.reported), "people_on_both_sides": parts.shared_people,
                      "seconds": round(fitted.seconds, 1), **_measure(run / "best", fold, parts.reported)})
        record = _summary(recipe, folds) | {
            "recipe": recipe.as_dict(), "command": command,
            "data": {"name": recipe.data, "sha256": faces.sha256(), "images": len(faces)},
            "made_on": describe_machine()}
        write_text(out / "folds.json", json.dumps(record, indent=2) + "\n")
    return record


def _measure(checkpoint: Path, recipe: Recipe, faces: LabelledFaces) -> dict[str, float]:
    """Return a fold's accuracy, single view and by the recipe's views."""
    network, _ = load_network(checkpoint)
    whole = channels_first(faces)
    single = predict(network, views_of(whole, "single", recipe.side)[0]).argmax(1)
    averaged = mean_probabilities(lambda seen: predict(network, seen), whole, recipe.test_views, recipe.side).argmax(1)
    return {"accuracy": float((single == faces.labels).mean()),
            "accuracy_of_views": float((averaged == faces.labels).mean())}


def _summary(recipe: Recipe, folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean, standard deviation (of the sample, n - 1) and best over the folds finished so far."""
    def over(key: str) -> dict[str, float]:
        values = np.array([fold[key] for fold in folds])
        return {"mean": float(values.mean()), "best": float(values.max()), "worst": float(values.min()),
                "standard_deviation": float(values.std(ddof=1)) if len(values) > 1 else 0.0}

    return {"protocol": recipe.protocol, "views": recipe.test_views, "epochs": recipe.epochs,
            "folds_finished": len(folds), "accuracy": over("accuracy"), "accuracy_of_views": over("accuracy_of_views"),
            "seconds": round(sum(fold["seconds"] for fold in folds), 1), "folds": folds}
