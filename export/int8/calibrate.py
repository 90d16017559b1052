"""Choose faces, observe them, rebuild both INT8 graphs; or rebuild them from histograms, without a face.

What `mien calibrate` does; the verb only reads its flags. Knows nothing of how any of the steps works.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from calibration.coverage import coverage_lines, describe_coverage
from calibration.features import features_of
from calibration.image_list import ImageList, encode_list, find_images, list_images
from calibration.onnx_graph import parse_model
from calibration.pick_images import (
    BY_FEATURES,
    CHOICES,
    Choice,
    pick_herding,
    pick_k_center,
    pick_random,
    pick_stratified,
)
from export.int8.calibration_faces import FacePool
from export.int8.int8_from_onnx import RANGES_FILE, Rounding, int8_from_ranges
from export.int8.observe_model import kept_until_written, observe_model
from runtime.card import FileEntry, Model, ModelCard
from runtime.command_line import say
from runtime.errors import BadInput
from runtime.ranges_file import ActivationRanges, merge_ranges, read_ranges


@dataclass(frozen=True)
class Selection:
    """How faces are chosen from a pool: the choice's name, how many, and the seed."""

    choice: Choice = "random"
    images: int = 512
    seed: int = 0


def pool_features(model: Model, pool: FacePool) -> np.ndarray:
    """Return (N, D) float32 penultimate features of every face of a pool, with a progress bar."""
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    return features_of(fp32, tqdm(pool.faces, desc="features", leave=False, disable=None, unit="face"))


def pick(pool: FacePool, how: Selection, features: np.ndarray | None = None) -> np.ndarray:
    """Return the chosen faces' indices, sorted. Raises BadInput for an unknown choice or an unfit pool."""
    if how.choice == "random":
        return pick_random(len(pool.faces), how.images, how.seed)
    if how.choice == "stratified":
        if pool.labels is None:
            raise BadInput("expected labelled faces to stratify by class, found a folder of crops; "
                           "use --choice random or k-center")
        return pick_stratified(pool.labels, how.images, how.seed)
    if how.choice not in BY_FEATURES:
        raise BadInput(f"expected a choice among {', '.join(CHOICES)}, found {how.choice!r}")
    if features is None:
        raise BadInput(f"expected features to choose by {how.choice}, found none")
    return (pick_k_center(features, how.images, how.seed) if how.choice == "k-center"
            else pick_herding(features, how.images))


def calibrate_on_faces(model: Model, pool: FacePool, how: Selection, rounding: Rounding,
                       images: ImageList | None = None, resume: bool = False, coverage: bool = False) -> ModelCard:
    """Quantize a model on chosen faces, or on those of a list; leaves the list and the histograms beside the graphs.

    coverage: say how well the list stands for the pool, features included (one pass over the whole pool).
    """
    wants_features = coverage or (images is None and how.choice in BY_FEATURES)
    features = pool_features(model, pool) if wants_features else None
    picks = pick(pool, how, features) if images is None else find_images(images, pool.names, pool.faces)
    if pool.labels is not None and len(np.unique(pool.labels[picks])) < 2:
        raise BadInput(f"expected calibration faces of two or more classes, found {len(picks)}, all "
                       f"{pool.label_names[int(pool.labels[picks[0]])]}; take more (-n) or other images")
    report = describe_coverage(pool.faces, picks, pool.labels, pool.label_names, features)
    for line in coverage_lines(report):
        say(line)
    faces = pool.faces[picks]
    images = images or list_images([pool.names[i] for i in picks], faces, how.choice, how.seed, pool.source)
    ranges = observe_model(model, faces, resume)
    chosen = images.source | {"choice": images.choice, "seed": images.seed, "list_sha256": images.sha256()}
    with kept_until_written(model, ranges):
        return int8_from_ranges(model, ranges, rounding, chosen, encode_list(images, report), faces)


def calibrate_from_histograms(model: Model, files: Sequence[Path], rounding: Rounding,
                              alone: bool = False) -> ModelCard:
    """Rebuild both INT8 graphs from what devices saw, merged with what the model was calibrated on unless `alone`.

    Every value counts once, so that a file of many images outweighs one of few. Raises BadInput for a file of another
    graph, or one that is in the model's histograms already.
    """
    facts = model.card.calibration
    before: dict[str, Any] = {} if alone else facts.get("images_from", {})
    merged = list(before.get("merged", []))
    own = facts.get("files", {}).get("ranges", {}).get("sha256")
    found: list[ActivationRanges] = [] if alone else [original_ranges(model)]
    for file in files:
        ranges = read_ranges(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest in [entry["sha256"] for entry in merged] + ([] if alone else [own]):
            raise BadInput(f"expected histograms that {model.directory} does not hold yet, found {file} for the second "
                           "time; leave it out")
        found.append(ranges)
        merged.append({"sha256": digest, "images": ranges.images})
    return int8_from_ranges(model, merge_ranges(found), rounding, {**before, "merged": merged})


def original_ranges(model: Model) -> ActivationRanges:
    """Return the histograms that a model was calibrated on, checked against its card. Raises BadInput."""
    path, entry = model.directory / RANGES_FILE, model.card.calibration.get("files", {}).get("ranges")
    if entry is None:
        raise BadInput(f"expected {RANGES_FILE} in {model.directory}, found a model that was calibrated without; "
                       f"mien calibrate {model.directory} --images PATH makes it, --alone does without")
    ranges = read_ranges(path)
    if dataclasses.asdict(FileEntry.of(path)) != entry:
        raise BadInput(f"expected the {RANGES_FILE} whose hash is in {model.directory}/card.json, found another; "
                       f"mien calibrate {model.directory} --images PATH makes it again")
    return ranges
