"""A network's recipe and a data set → the faces it is measured on, and those it may have learned. Knows no network.

By its recipe's protocol on its own data set, on the usual splits of any other, there with the network's labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.config import build
from runtime.errors import BadInput
from train.datasets import DATASETS, own_splits
from train.datasets.label_maps import EMOTIONS, label_map, relabel
from train.datasets.labelled_faces import LabelledFaces
from train.expression.open_network import OpenNetwork
from train.expression.parts import load_faces, parts_of
from train.recipe import Recipe


@dataclass(frozen=True)
class MeasuredFaces:
    """A named set of faces to measure on; `training` is empty where the data set has no such part."""

    name: str
    faces: LabelledFaces
    training: LabelledFaces


@dataclass(frozen=True)
class Measurement:
    """What is measured on: the sets, the one temperatures are fitted on, if any, and where the faces came from.

    left_out: images whose emotion the network has no word for.
    """

    sets: tuple[MeasuredFaces, ...]
    fitted_on: str | None
    data: str
    sha256: str
    left_out: int


def recipe_of(network: OpenNetwork) -> Recipe:
    """Return the recipe a network was trained by; of a model that does not say, how it wants its faces."""
    if network.recipe:
        return build(Recipe, network.recipe, f"the recipe of {network.what['name']}")
    how = network.input
    return Recipe(network.what["name"], network.what["network"], colour=how.colour, equalize=how.equalize,
                  size=how.resize or how.height, crop=how.height if how.resize else None)


def reported_on(recipe: Recipe) -> str:
    """Return what a recipe's figures are reported on: its data set's split, or its protocol and fold."""
    parts = own_splits(recipe.data)
    if recipe.protocol == "canonical" and parts:
        return parts.reported
    return f"{recipe.protocol}-{recipe.fold}" if recipe.protocol.startswith("ten-fold") else recipe.protocol


def load_measurement(network: OpenNetwork, path: Path, data: str = "", splits: Sequence[str] = ()) -> Measurement:
    """Read the faces to measure a network on: its own data set's, or those of `data`; the splits named, or the usual.

    A network that trained on a fold is measured on that fold's test: every split of the set holds faces it has seen.
    Raises BadInput.
    """
    recipe = recipe_of(network)
    own = data in ("", recipe.data)
    if not own:
        elsewhere = {"data": data, "protocol": "canonical", "fold": 0, "labels": ()}
        recipe = build(Recipe, recipe.as_dict() | elsewhere, "--dataset")
    everything = load_faces(recipe, path)
    faces = everything if own else as_the_network_says(everything, recipe.data, network)
    if own and not splits and recipe.protocol != "canonical":
        parts = parts_of(recipe, faces)
        sets: tuple[MeasuredFaces, ...] = (MeasuredFaces(reported_on(recipe), parts.reported, parts.training),)
    else:
        sets = _named_sets(faces, recipe.data, splits, own)
    names = own_splits(recipe.data)
    choosing = names.choosing if names else None
    fitted_on = choosing if choosing in [part.name for part in sets] else None
    return Measurement(sets, fitted_on, recipe.data, everything.sha256(), len(everything) - len(faces))


def _named_sets(faces: LabelledFaces, data: str, splits: Sequence[str], own: bool) -> tuple[MeasuredFaces, ...]:
    """Return the splits named, or the usual ones of a data set, which may be the network's own. Raises BadInput."""
    parts = own_splits(data)
    usual = [name for name in (parts.choosing, parts.reported) if name] if parts else list(DATASETS[data].published)
    training = faces.split(parts.training) if parts and own else faces.split()
    sets = tuple(MeasuredFaces(name, faces.split(name), training) for name in splits or usual)
    for part in sets:
        if not len(part.faces):
            there = ", ".join(dict.fromkeys(faces.splits.tolist()))
            raise BadInput(f"expected images of the split {part.name}, found none; there are {there or 'no images'}")
    return sets


def as_the_network_says(faces: LabelledFaces, data: str, network: OpenNetwork) -> LabelledFaces:
    """Give another data set's faces the labels of a network; emotions it has no word for are left out.

    Raises BadInput where the network's labels are no known data set's.
    """
    trained_on = recipe_of(network).data
    if not set(network.labels) <= set(EMOTIONS.get(trained_on, ())):
        raise BadInput(f"expected labels of {trained_on}, found a network of {', '.join(network.labels)}; measure it "
                       "on its own data set")
    mapping = label_map(data, trained_on)
    return relabel(faces, {label: word if word in network.labels else None for label, word in mapping.items()},
                   network.labels)


def require_alike(networks: Sequence[OpenNetwork]) -> None:
    """Refuse networks whose answers cannot be averaged. Raises BadInput where labels or the reading of faces differ."""
    first, *others = networks
    for other in others:
        if other.labels != first.labels:
            raise BadInput(f"expected networks of the same labels, found {', '.join(first.labels)} and "
                           f"{', '.join(other.labels)}; average those of one data set")
        for key in ("data", "face", "colour", "equalize", "size", "protocol", "fold", "seed"):
            ours, theirs = getattr(recipe_of(first), key), getattr(recipe_of(other), key)
            by_seed = key == "seed" and recipe_of(first).protocol == "canonical"  # no split is drawn
            if ours != theirs and not by_seed:
                raise BadInput(f"expected networks that read the same faces, found {key} {ours} and {theirs}; "
                               "evaluate them one by one")
