"""Finished runs side by side: a row a recipe, folds gathered, each beside its paper's figure. Measures nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.agreement import wilson_interval
from runtime.errors import BadInput
from train.datasets import own_splits
from train.expression.measured_faces import reported_on
from train.expression.paper_figures import PaperFigure, paper_figure
from train.expression.pictures.ablation import Bar
from train.expression.run_history import RunHistory
from train.recipe import RECIPES, Recipe, load_recipe


@dataclass(frozen=True)
class Row:
    """One recipe's figures; shares are 0–1, None is not known or not asked for.

    `accuracy` is the single view's on the split or protocol `reported_on`, of folds their mean, with `spread` their
    standard deviation and `best_fold` the best of them. `interval_95` counts every image tested once. `changes` are the
    settings that differ from the shipped recipe of that name, epochs and protocol apart; `started_from` is the SHA-256
    of the weights that training began from.
    """

    recipe: str
    changes: tuple[str, ...]
    started_from: str | None
    network: str
    parameters: int
    data: str
    data_sha256: str
    runs: tuple[str, ...]
    epochs_trained: int
    epochs_planned: int
    epoch_kept: int
    minutes: float
    chosen_on: str | None
    chosen_accuracy: float | None
    reported_on: str
    images: int
    accuracy: float
    interval_95: tuple[float, float]
    views: str
    averaged: float | None
    without_copies: float | None
    spread: float | None
    best_fold: float | None
    paper: PaperFigure | None

    def name(self, shared: Collection[str] = ()) -> str:
        """The recipe, its changes that are not `shared`, its protocol if it has one, and how many folds there are."""
        said = [self.recipe, *(change for change in self.changes if change not in shared)]
        parts = own_splits(self.data)
        if not (parts and self.reported_on == parts.reported):
            folds = self.reported_on.startswith("ten-fold") and len(self.runs) < 10
            said.append(self.reported_on + (f" ({len(self.runs)} of 10)" if folds else ""))
        return ", ".join(said)


def gather(runs: Sequence[tuple[RunHistory, dict[str, Any]]]) -> tuple[Row, ...]:
    """Return the rows of runs and their reports, in the order given; the folds of one recipe are one row."""
    groups: dict[str, list[tuple[RunHistory, dict[str, Any]]]] = {}
    for run, report in runs:
        recipe = run.recipe
        whole = repr(dataclasses.replace(recipe, fold=0)) if recipe.protocol.startswith("ten-fold") else run.name
        groups.setdefault(whole, []).append((run, report))
    return tuple(_row(members) for members in groups.values())


def _row(members: Sequence[tuple[RunHistory, dict[str, Any]]]) -> Row:
    """Make one row of one run, or of the folds of one recipe."""
    first, report = members[0]
    recipe, parts = first.recipe, own_splits(first.recipe.data)
    folds = recipe.protocol.startswith("ten-fold")
    reported = recipe.protocol if folds else reported_on(recipe)
    choosing = parts.choosing if parts and recipe.protocol == "canonical" else None
    entries = [_reported(run, found) for run, found in members]
    accuracies = [entry["accuracy"] for entry in entries]
    averaged = [entry["averaged"]["accuracy"] for entry in entries if "averaged" in entry]
    own = [entry["without_training_copies"]["accuracy"] for entry in entries if "without_training_copies" in entry]
    images = sum(entry["images"] for entry in entries)
    hits = round(sum(entry["accuracy"] * entry["images"] for entry in entries))
    chosen = report["splits"].get(choosing)
    return Row(
        recipe=recipe.name, changes=_changes(recipe), started_from=first.facts.get("started_from", {}).get("sha256"),
        network=recipe.network, parameters=report["network"]["parameters"], data=recipe.data,
        data_sha256=report["data"]["sha256"], runs=tuple(run.name for run, _ in members),
        epochs_trained=max(len(run.epochs) for run, _ in members), epochs_planned=recipe.epochs,
        epoch_kept=first.kept.number, minutes=sum(run.seconds for run, _ in members) / 60,
        chosen_on=choosing if chosen else None, chosen_accuracy=chosen["accuracy"] if chosen else None,
        reported_on=reported, images=images, accuracy=float(np.mean(accuracies)),
        interval_95=wilson_interval(hits, images), views=report["views"],
        averaged=float(np.mean(averaged)) if len(averaged) == len(members) else None,
        without_copies=float(np.mean(own)) if len(own) == len(members) else None,
        spread=float(np.std(accuracies, ddof=1)) if folds and len(members) > 1 else None,
        best_fold=max(accuracies) if folds else None,
        paper=_paper(first, reported) or (_paper(first, choosing) if choosing else None))


def _reported(run: RunHistory, report: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of the split, or of the fold, that the run is reported on. Raises BadInput."""
    name = reported_on(run.recipe)
    if name not in report["splits"]:
        raise BadInput(f"expected figures of {run.name} on {name}, found {', '.join(report['splits'])}; measure it "
                       "again without --split")
    entry: dict[str, Any] = report["splits"][name]
    return entry


def _paper(run: RunHistory, split: str) -> PaperFigure | None:
    # a person-independent protocol is beside the same figure: the papers split frames at random
    split = "ten-fold" if split == "ten-fold-by-subject" else split
    return paper_figure(run.recipe, split, started="started_from" in run.facts)


def _changes(recipe: Recipe) -> tuple[str, ...]:
    """Return what differs from the shipped recipe of that name, nothing where there is none."""
    if not (RECIPES / f"{recipe.name}.yaml").exists():
        return ()
    shipped, own = _flat(load_recipe(recipe.name)), _flat(recipe)
    return tuple(f"{key}={value}" for key, value in own.items() if shipped.get(key) != value)


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Return every setting by its own name, nested ones too; what the epochs' column and the row's name say is left."""
    flat: dict[str, Any] = {}
    for key, value in recipe.as_dict().items():
        if isinstance(value, Mapping):
            flat |= value
        elif key not in ("name", "epochs", "fold", "protocol"):
            flat[key] = json.dumps(value) if isinstance(value, (list, tuple)) else value
    return flat


def _shared(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Return, of each recipe with several rows, the changes that all of them have."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row.recipe, []).append(row)
    return {recipe: tuple(change for change in of_recipe[0].changes if all(change in row.changes for row in of_recipe))
            for recipe, of_recipe in named.items()}


def as_markdown(rows: Sequence[Row]) -> str:
    """Return one table a data set, in the order of the rows; accuracies in percent, "–" is not known.

    Beneath it stands what all rows of one recipe have otherwise than it ships, and whose weights they began from.
    """
    text = []
    for data in dict.fromkeys(row.data for row in rows):
        of_data = [row for row in rows if row.data == data]
        parts = own_splits(data)
        choosing = parts.choosing if parts else None
        heads = ["recipe", "network", "parameters", "epochs", "minutes", *([choosing] if choosing else []),
                 parts.reported if parts else "accuracy", "with views", "without copies", "the paper's"]
        shared = _shared(of_data)
        text += [f"### {data}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for row in of_data:
            cells = [row.name(shared[row.recipe]), row.network, f"{row.parameters:,}", _epochs(row),
                     f"{row.minutes:.0f}", *([_percent(row.chosen_accuracy)] if choosing else []),
                     _percent(row.accuracy) + _folds(row),
                     "–" if row.averaged is None else f"{_percent(row.averaged)} ({row.views})",
                     _percent(row.without_copies), _paper_cell(row)]
            text.append(f"| {' | '.join(cells)} |")
        text += ["", *_notes(of_data, shared)]
    return "\n".join(text)


def _notes(rows: Sequence[Row], shared: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return a line for each recipe that was changed in all its rows, or that began from other weights."""
    notes = []
    for recipe, changes in shared.items():
        starts = sorted({row.started_from[:8] for row in rows if row.recipe == recipe and row.started_from})
        said = [*changes, *(f"from the weights {start}…" for start in starts)]
        notes += [f"{recipe} here: {', '.join(said)}.", ""] if said else []
    return notes


def _epochs(row: Row) -> str:
    return f"{row.epochs_trained}" + ("" if row.epochs_trained == row.epochs_planned else f" of {row.epochs_planned}")


def _folds(row: Row) -> str:
    if row.best_fold is None:
        return ""
    spread = "" if row.spread is None else f" ± {100 * row.spread:.2f}"
    return f"{spread}, best fold {_percent(row.best_fold)}"


def _paper_cell(row: Row) -> str:
    paper = row.paper
    if paper is None:
        return "–"
    spread = "" if paper.spread is None else f" ± {paper.spread:.2f}"
    said = [f"{paper.paper}", *([paper.split] if paper.split not in (row.reported_on, "ten-fold") else []),
            *([paper.views] if paper.views != "single" else []), *([paper.note] if paper.note else [])]
    return f"{paper.accuracy:.2f}{spread} ({', '.join(said)})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def as_bars(rows: Sequence[Row], data: str) -> tuple[Bar, ...]:
    """Return one data set's rows for the chart; a paper's figure of another split is no tick beside ours."""
    of_data = [row for row in rows if row.data == data]
    shared = _shared(of_data)
    return tuple(
        Bar(row.name(shared[row.recipe]), row.accuracy, row.interval_95,
            row.paper.accuracy / 100 if row.paper and row.paper.split in (row.reported_on, "ten-fold") else None)
        for row in of_data)
