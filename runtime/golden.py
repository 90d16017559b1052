"""Does this machine still say what the PyTorch network said? Golden frames → crops → logits, against the card.

Knows nothing of accuracy: it proves that this preprocessing and this engine are the ones that were exported, before
anything is scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.agreement import softmax
from runtime.card import GoldenFaces, Model
from runtime.engines.engine import Engine
from runtime.errors import BadModel, MienError
from runtime.preprocess import crop_faces

# Grey levels a golden crop may differ by: OpenCV's resize rounds the last bit otherwise on another processor
CROP_BOUND = 2
BOX_BOUND = 0.5  # px; the same float32 sums in another order
NOTHING = -20.0  # the logit of a cell that sees no face


class Departure(MienError):
    """An engine answers the golden faces otherwise than PyTorch did: it is wrong, not the machine."""


@dataclass(frozen=True)
class Agreement:
    """Largest |Δlogit| over the golden faces, the most the card allows, and how many faces were asked."""

    largest: float
    bound: float
    faces: int


def require_agreement(model: Model, engine: Engine, graph: str) -> Agreement:
    """Run the golden faces through an engine of one graph. Raises Departure, and what `read_golden` raises."""
    golden, bound = read_golden(model, graph)
    logits = golden_answers(engine, model, golden)
    if logits.shape != golden.logits.shape:
        raise Departure(f"expected logits of {golden.logits.shape} for the golden faces, found {logits.shape}")
    largest = float(np.abs(logits.astype(np.float64) - golden.logits).max())
    if not largest <= bound:  # written so that NaN fails
        raise Departure(f"expected the {graph} engine within {bound:.3g} of PyTorch on the golden faces, found "
                        f"{largest:.3g}; nothing was scored: rebuild or reinstall the model")
    return Agreement(largest, bound, len(golden.faces))


def golden_answers(engine: Engine, model: Model, golden: GoldenFaces) -> np.ndarray:
    """Return an engine's logits for the golden faces; a detector's of the pinned cells, one picture at a time."""
    name, output = model.card.input_name, model.card.output_name
    if golden.cells is None:
        return engine.run({name: golden.faces})[output]
    each = [engine.run({name: picture[None]})[output] for picture in golden.faces]
    if any(cells.shape[1] <= golden.cells.max() for cells in each):
        raise Departure(f"expected more than {golden.cells.max()} cells for the golden pictures, found "
                        f"{each[0].shape[1]}; the graph is another network's")
    return np.concatenate([cells[:, golden.cells] for cells in each])


def read_golden(model: Model, graph: str) -> tuple[GoldenFaces, float]:
    """Return the golden faces, which this machine crops and decodes as was pinned, and the bound of one graph.

    No engine takes part. Raises BadModel where the model has none, MienError where crops or answers are others.
    """
    bound = model.card.golden_bound.get(graph)
    if bound is None:
        raise BadModel(f"expected a golden_bound for {graph} in {model.directory}/card.json, found none; "
                       "export or calibrate the model again")
    golden = model.read_golden()
    if not len(golden.faces):
        raise BadModel(f"expected golden faces in {model.directory}, found none; export the model again")
    _require_same_crops(model, golden)
    _require_same_answers(model, golden)
    return golden, bound


def _require_same_answers(model: Model, golden: GoldenFaces) -> None:
    """Decode the golden logits as the card says. Raises MienError where labels, temperature or faces are others."""
    if golden.cells is not None:
        _require_same_faces(model, golden)
        return
    if golden.label_names is not None and tuple(golden.label_names.tolist()) != model.card.labels:
        raise MienError(f"expected the labels {', '.join(golden.label_names.tolist())} in {model.directory}/card.json, "
                        f"found {', '.join(model.card.labels)}; export the model again")
    if golden.probabilities is not None and not np.allclose(
            softmax(golden.logits, model.card.temperature), golden.probabilities, atol=1e-5):
        raise MienError(f"expected the golden probabilities at the card's temperature {model.card.temperature}, found "
                        f"others; export {model.directory} again")


def _require_same_faces(model: Model, golden: GoldenFaces) -> None:
    """Decode the golden cells at the card's threshold. Raises MienError where the faces are not the pinned ones."""
    from runtime.faces.anchor_free import cells_of, decode_cells  # not at the top: runtime.faces opens with this file

    size = (golden.faces.shape[3], golden.faces.shape[2])
    boxes = []
    for pinned in golden.logits:
        cells = np.full((len(cells_of(size)[0]), golden.logits.shape[-1]), NOTHING, np.float32)
        cells[golden.cells] = pinned
        boxes.append(decode_cells(cells, size, model.card.score_threshold).boxes)
    found = np.concatenate(boxes)
    wanted = golden.boxes
    if wanted is None or found.shape != wanted.shape or np.abs(found - wanted).max(initial=0) > BOX_BOUND:
        raise MienError(f"expected the golden faces within {BOX_BOUND} pixels, found others; the threshold in "
                        f"{model.directory}/card.json or the decoding has changed: export the model again")


def _require_same_crops(model: Model, golden: GoldenFaces) -> None:
    """Cut the golden frames again as the card says. Raises MienError where the crops are not the pinned ones."""
    if golden.frames is None or golden.boxes is None or golden.frame_of is None:
        return  # only faces were pinned
    of_frame = [golden.frame_of == number for number in range(len(golden.frames))]
    crops = np.concatenate([
        crop_faces(frame, golden.boxes[mine], model.card.input,
                   None if golden.landmarks is None else golden.landmarks[mine])
        for frame, mine in zip(golden.frames, of_frame)])
    same_shape = crops.shape == golden.faces.shape
    worst = int(np.abs(crops.astype(np.int16) - golden.faces).max()) if same_shape else 256
    if worst > CROP_BOUND:
        raise MienError(f"expected the golden crops within {CROP_BOUND} grey levels, found {worst}; the crop in "
                        f"{model.directory}/card.json or OpenCV's resize has changed: export the model again")
