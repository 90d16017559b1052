"""Our detector, its teacher and OpenCV's cascade on the same held-out pictures, 640×480, one thread: one record.

All see the same grey pixels. On composed scenes truth is where a face was pasted; on photographs what the teacher finds
at full resolution, which favours the teacher. A stream searches a picture twice (`runtime/faces/model_detector.py`):
what it finds is measured so, all else with one search. Milliseconds are a picture's, each detector in turn on the same
one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from export.faces.find_faces import Find, finder_of_graph, finder_of_haar, finder_of_stream
from export.faces.gallery import draw_gallery
from export.faces.held_out import HeldOut, load_held_out
from runtime.card import Model
from runtime.durable import write_bytes
from runtime.errors import Unavailable
from runtime.faces.anchor_free import cells_of, decode_cells
from runtime.faces.detector import Faces
from runtime.faces.yunet import YuNetDetector
from runtime.machine import describe_machine
from train.faces.evaluate import SIZES, on_grey
from train.faces.labels import FaceLabels
from train.faces.metrics import MATCH, Truth, match, score_detections
from train.faces.recipe import FaceRecipe
from train.faces.teacher import Teacher

TIMED = 40  # pictures, after a fifth as many to warm up


def compare_detectors(model: Model, data: Path, labels: FaceLabels, teacher: Teacher, recipe: FaceRecipe, scenes: int,
                      gallery: Path | None = None) -> dict[str, Any]:
    """Return every detector's figures and milliseconds; `gallery` is the picture of misses to write, JPEG.

    Raises BadInput, BadModel.
    """
    held_out = load_held_out(data, labels, recipe, "reported", scenes)
    finders = {f"{model.card.name} {graph}": finder_of_graph(model, graph, threads=1)
               for graph in ("fp32", "int8") if graph in model.card.graphs}
    streamed = {name: finder_of_stream(model, name.split()[-1], threads=1) for name in finders}
    finders["yunet"] = on_grey(teacher)
    cv2.setNumThreads(1)
    with contextlib.suppress(Unavailable):  # OpenCV 5 has none
        finders["haar"] = finder_of_haar()
    record: dict[str, Any] = {"model": model.card.name, "sha256": {g: e.sha256 for g, e in model.card.graphs.items()},
                              "data": {"sha256": labels.sha256(), "part": "reported", "scenes": scenes,
                                       "photographs": len(held_out.photographs)},
                              "teacher": teacher.sha256, "detectors": {}}
    for name, find in finders.items():
        threshold = model.card.score_threshold if name.startswith(model.card.name) else YuNetDetector.THRESHOLD
        figures, composed = _figures(find, streamed.get(name, find), held_out, name,
                                     0.0 if name == "haar" else threshold)
        record["detectors"][name] = figures
        if gallery and name == f"{model.card.name} fp32":
            shown = draw_gallery(held_out.composed, composed, held_out.composed_truths, model.card.score_threshold)
            write_bytes(gallery, shown)
    as_streamed = {f"{name}, as a stream searches": find for name, find in streamed.items()}
    record["milliseconds"] = _milliseconds(finders | as_streamed, held_out.composed)
    record["milliseconds_to_decode_100_candidates"] = _decoding()
    record["made_on"] = describe_machine()
    return record


def comparison_lines(record: dict[str, Any]) -> list[str]:
    """Return a record as lines for people: one a detector and kind of picture, then times."""
    lines = []
    for name, figures in record["detectors"].items():
        for what in (*SIZES, "photographs"):
            of = figures[what]
            lines.append(f"{name}: {what}: {of['faces']:.0f} faces, AP50 {of['ap50']:.3f}, recall at one false face a "
                         f"picture {of['recall_at_1_false']:.3f}, landmarks off by {of['landmark_error']:.3f} of a "
                         "side")
        lines.append(f"{name}: false faces a picture without any {figures['false faces a scene without any']:.3f}; "
                     f"{record['milliseconds'][name]:.1f} ms a picture")
    return lines


def _figures(find: Find, streamed: Find, held_out: HeldOut, name: str, opened_at: float
             ) -> tuple[dict[str, Any], list[Faces]]:
    def all_of(pictures: Sequence[np.ndarray], find: Find = find) -> list[Faces]:
        return [find(p) for p in tqdm(pictures, desc=name, leave=False, disable=None, unit="picture")]

    composed = all_of(held_out.composed)
    figures: dict[str, Any] = {size: score_detections(composed, held_out.composed_truths, limits)
                               for size, limits in SIZES.items()}
    threshold = figures["24 px and more"]["threshold_there"]
    photographs, empty = all_of(held_out.photographs), all_of(held_out.empty)
    figures["photographs"] = score_detections(photographs, held_out.photograph_truths)
    figures["false faces a scene without any"] = _false_at(empty, threshold)
    opened = [composed, photographs, empty]
    if streamed is not find:
        opened = [all_of(pictures, streamed) for pictures in (held_out.composed, held_out.photographs, held_out.empty)]
    figures["as a stream opens it"] = {
        "threshold": opened_at,
        "recall, 24 px and more": _recall_at(opened[0], held_out.composed_truths, opened_at),
        "recall, photographs": _recall_at(opened[1], held_out.photograph_truths, opened_at),
        "false faces a scene without any": _false_at(opened[2], opened_at)}
    return figures, composed


def _decoding() -> float:
    """Return the median time to decode 640×480 with 100 candidates, non-maximum suppression included, in ms."""
    random, size = np.random.default_rng(0), (640, 480)
    cells = random.normal(0, 0.5, (len(cells_of(size)[0]), 16)).astype(np.float32)
    cells[:, :2] = -9.0
    cells[random.choice(len(cells), 100, replace=False), :2] = 3.0
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        decode_cells(cells, size, 0.5)
        taken.append(time.perf_counter() - began)
    return round(float(np.median(taken)) * 1e3, 3)


def _false_at(found: Sequence[Faces], threshold: float) -> float:
    return float(np.mean([(faces.scores >= threshold).sum() for faces in found]))


def _recall_at(found: Sequence[Faces], truths: Sequence[Truth], threshold: float) -> float:
    matches = match(found, truths, MATCH, SIZES["24 px and more"])
    return float(matches.hits[matches.scores >= threshold].sum() / max(1, matches.faces))


def _milliseconds(finders: dict[str, Find], pictures: Sequence[np.ndarray]) -> dict[str, float]:
    """Return each detector's median time for one picture, all of them in turn on each."""
    taken: dict[str, list[float]] = {name: [] for name in finders}
    for number, picture in enumerate([pictures[i % len(pictures)] for i in range(TIMED + TIMED // 5)]):
        for name, find in finders.items():
            began = time.perf_counter()
            find(picture)
            if number >= TIMED // 5:
                taken[name].append(time.perf_counter() - began)
    return {name: round(float(np.median(seconds)) * 1e3, 2) for name, seconds in taken.items()}
