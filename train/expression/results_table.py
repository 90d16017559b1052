"""Finished runs side by side: a row a recipe, folds gathered, each beside its paper's figure. Measures nothing."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
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

# Student's t, two-sided 95 %, by degrees of freedom 1–9: NIST/SEMATECH e-Handbook, 1.3.6.7.2
STUDENT_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Row:
    """One recipe's figures; shares are 0–1, None is not known or not asked for.

    `accuracy` is the single view's on the split or protocol `reported_on`, of folds their mean, with `spread` their
    standard deviation and `best_fold` the best of them. `interval_95` is Wilson's over the images of
    one split, and the mean's by Student's t over folds: their images are not independent, three frames of a sequence
    least of all. `changes` are the settings that differ from the shipped recipe of that name, epochs and protocol
    apart; `started_from` is the SHA-256 of the weights that training began from.
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

    def name(self, usual: Mapping[str, str] | None = None) -> str:
        """The recipe, what it has otherwise than `usual`, its protocol if it has one, and how many folds there are.

        usual: settings' values that the table's note says of all rows of this recipe; none is as it ships.
        """
        said = [self.recipe, *_otherwise(self, usual or {})]
        parts = own_splits(self.data)
        if not (parts and self.reported_on == parts.reported):
            folds = self.reported_on.startswith("ten-fold") and len(self.runs) < 10
            said.append(self.reported_on + (f" ({len(self.runs)} of 10)" if folds else ""))
        return ", ".join(said)


def gather(runs: Sequence[tuple[RunHistory, dict[str, Any]]]) -> tuple[Row, ...]:
    """Return the rows of runs and their reports, in the order given; the folds of one recipe are one row.

    Raises BadInput where a fold is given twice: its images would count twice in the interval.
    """
    groups: dict[object, list[tuple[RunHistory, dict[str, Any]]]] = {}
    for number, (run, report) in enumerate(runs):
        recipe = run.recipe
        if not recipe.protocol.startswith("ten-fold"):
            groups[number] = [(run, report)]
            continue
        of_fold = groups.setdefault((repr(dataclasses.replace(recipe, fold=0)), _start(run)), [])
        if recipe.fold in [other.recipe.fold for other, _ in of_fold]:
            raise BadInput(f"expected each fold of {recipe.name} once, found two of fold {recipe.fold}; give one "
                           "cross-validation of a recipe at a time")
        of_fold.append((run, report))
    return tuple(_row(members) for members in groups.values())


def _start(run: RunHistory) -> str | None:
    """Return the SHA-256 of the weights that a run began from."""
    found: str | None = run.facts.get("started_from", {}).get("sha256")
    return found


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
        recipe=recipe.name, changes=_changes(recipe), started_from=_start(first),
        network=recipe.network, parameters=report["network"]["parameters"], data=recipe.data,
        data_sha256=report["data"]["sha256"], runs=tuple(run.name for run, _ in members),
        epochs_trained=max(len(run.epochs) for run, _ in members), epochs_planned=recipe.epochs,
        epoch_kept=first.kept.number, minutes=sum(run.seconds for run, _ in members) / 60,
        chosen_on=choosing if chosen else None, chosen_accuracy=chosen["accuracy"] if chosen else None,
        reported_on=reported, images=images, accuracy=float(np.mean(accuracies)),
        interval_95=_mean_interval(accuracies) if len(members) > 1 else wilson_interval(hits, images),
        views=report["views"],
        averaged=float(np.mean(averaged)) if len(averaged) == len(members) else None,
        without_copies=float(np.mean(own)) if len(own) == len(members) else None,
        spread=float(np.std(accuracies, ddof=1)) if folds and len(members) > 1 else None,
        best_fold=max(accuracies) if folds else None,
        paper=_paper(first, reported) or (_paper(first, choosing) if choosing else None))


def _mean_interval(accuracies: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of 2–10 folds, within 0–1: still narrow, for folds share training images."""
    mean, count = float(np.mean(accuracies)), len(accuracies)
    reach = STUDENT_T_975[count - 2] * float(np.std(accuracies, ddof=1)) / math.sqrt(count)
    return max(0.0, mean - reach), min(1.0, mean + reach)


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
        elif key == "distillation":
            flat["teachers"] = None  # so that a recipe without its teachers differs from one with them
        elif key not in ("name", "epochs", "fold", "protocol"):
            flat[key] = json.dumps(value) if isinstance(value, (list, tuple)) else value
    return flat


def _changed(row: Row) -> dict[str, str]:
    """Return the values of the settings that a row has otherwise than the shipped recipe."""
    return dict((key, value) for key, _, value in (change.partition("=") for change in row.changes))


def _otherwise(row: Row, usual: Mapping[str, str]) -> list[str]:
    """Return the settings in which a row differs from what is usual, where it differs by being as shipped too."""
    own = _changed(row)
    back = [key for key in usual if key not in own]
    shipped = _flat(load_recipe(row.recipe)) if back else {}
    own |= {key: str(shipped.get(key, "the network's own")) for key in back}
    return [f"{key}={value}" for key, value in own.items() if usual.get(key) != value]


def _usual(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Return, of each recipe, the values that more than half of its rows have otherwise than it ships."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row.recipe, []).append(row)
    usual = {}
    for recipe, of_recipe in named.items():
        times = Counter(change for row in of_recipe for change in row.changes)
        usual[recipe] = dict((key, value) for change, count in times.items() if 2 * count > len(of_recipe)
                             for key, _, value in [change.partition("=")])
    return usual


def as_markdown(rows: Sequence[Row]) -> str:
    """Return one table a data set, in the order of the rows; accuracies in percent, "–" is not known.

    Beneath it stands what the rows of one recipe have otherwise than it ships, where their names say nothing else, and
    whose weights they began from.
    """
    text = []
    for data in dict.fromkeys(row.data for row in rows):
        of_data = [row for row in rows if row.data == data]
        parts = own_splits(data)
        choosing = parts.choosing if parts else None
        heads = ["recipe", "network", "parameters", "epochs", "minutes", *([choosing] if choosing else []),
                 parts.reported if parts else "accuracy", "with views", "without copies", "the paper's"]
        usual = _usual(of_data)
        text += [f"### {data}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for row in of_data:
            cells = [row.name(usual[row.recipe]), row.network, f"{row.parameters:,}", _epochs(row),
                     f"{row.minutes:.0f}", *([_percent(row.chosen_accuracy)] if choosing else []),
                     _percent(row.accuracy) + _folds(row),
                     "–" if row.averaged is None else f"{_percent(row.averaged)} ({row.views})",
                     _percent(row.without_copies), _paper_cell(row)]
            text.append(f"| {' | '.join(cells)} |")
        text += ["", *_notes(of_data, usual)]
    return "\n".join(text)


def _notes(rows: Sequence[Row], usual: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a line for each recipe that was changed in most of its rows, or that began from other weights."""
    notes = []
    for recipe, values in usual.items():
        starts = sorted({row.started_from[:8] for row in rows if row.recipe == recipe and row.started_from})
        said = [f"{key}={value}" for key, value in values.items()] + [f"from the weights {start}…" for start in starts]
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
    usual = _usual(of_data)
    return tuple(
        Bar(row.name(usual[row.recipe]), row.accuracy, row.interval_95,
            row.paper.accuracy / 100 if row.paper and row.paper.split in (row.reported_on, "ten-fold") else None)
        for row in of_data)
