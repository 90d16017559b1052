"""The share of right labels that a bench row may state: measured of that very graph, or none, with the reason.

From records of `mien check` (by the graph's SHA-256), else from the model's card. Measures nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import Model
from runtime.errors import BadInput

Checks = Mapping[str, Mapping[str, Any]]  # a graph's SHA-256 → the record of its check


@dataclass(frozen=True)
class Accuracy:
    """The share, and on which faces it was taken ('' where the card does not say); without one, `on` says why."""

    share: float | None
    on: str


def read_checks(paths: Iterable[Path]) -> Checks:
    """Read records of `mien check --record` by their graphs' SHA-256; the last of a graph counts. Raises BadInput."""
    checks = {}
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            share, faces = record["accuracy_engine"], record["data"]
            sound = type(share) is float and 0 <= share <= 1 and all(map(str, (faces["name"], *faces["splits"])))
            digest = str(record["sha256"])
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise BadInput(f"expected a record of mien check, found {path}: {error!r}; make it with mien check "
                           "--record") from error
        if not sound:
            raise BadInput(f"expected an accuracy of 0–1 in {path}, found {share!r}; make it again with mien check "
                           "--record")
        checks[digest] = record
    return checks


def accuracy_of(model: Model, graph: str, checks: Checks) -> Accuracy:
    """Return what is known of a graph, best first: a check's figure, the card's, training's own (FP32 only)."""
    card = model.card
    if card.task == "face":
        return Accuracy(None, "a detector has no share of right labels: mien faces check MODEL --precision "
                              f"{graph.removesuffix('-gpu')} --data PATH --labels FILE tells what it finds")
    if check := checks.get(card.graphs[graph].sha256):
        faces = check["data"]
        return Accuracy(check["accuracy_engine"], f"{faces['images']} faces of {' and '.join(faces['splits'])}, "
                                                  f"{faces['name']}, by mien check")
    stated = card.metrics.get("accuracy", {})
    if graph in stated:
        return Accuracy(float(stated[graph]), "")
    figures = card.training.get("figures", {}) if graph == "fp32" else {}
    if "accuracy" in figures:
        data = card.training.get("data", {})
        faces, name = data.get("chosen_on"), data.get("name", "its data")
        on = f"the {faces} faces of {name} that chose the epoch" if faces else f"{name}, as training saw it"
        return Accuracy(float(figures["accuracy"]), on)  # which flatters, and so says where it is from
    return Accuracy(None, f"nobody measured it: mien check MODEL --precision {graph.removesuffix('-gpu')} --data PATH "
                          "--record FILE, then mien bench --checks FILE")
