"""Does an engine still say what the PyTorch network said? Its answers to the pinned faces, against the card's bound.

Knows nothing of accuracy: it proves that this engine is the network that was exported, before anything is scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.card import Model
from runtime.engines.engine import Engine
from runtime.errors import BadModel, MienError


@dataclass(frozen=True)
class Agreement:
    """Largest |Δlogit| over the golden faces, the most the card allows, and how many faces were asked."""

    largest: float
    bound: float
    faces: int


def require_agreement(model: Model, engine: Engine, graph: str) -> Agreement:
    """Run the golden faces through an engine of one graph. Raises MienError where it departs, BadModel."""
    card = model.card
    bound = card.golden_bound.get(graph)
    if bound is None:
        raise BadModel(f"expected a golden_bound for {graph} in {model.directory}/card.json, found none; "
                       "export or calibrate the model again")
    golden = model.read_golden()
    if not len(golden.faces):
        raise BadModel(f"expected golden faces in {model.directory}, found none; export the model again")
    logits = engine.run({card.input_name: golden.faces})[card.output_name]
    if logits.shape != golden.logits.shape:
        raise MienError(f"expected logits of {golden.logits.shape} for the golden faces, found {logits.shape}")
    largest = float(np.abs(logits.astype(np.float64) - golden.logits).max())
    if not largest <= bound:  # written so that NaN fails
        raise MienError(f"expected the {graph} engine within {bound:.3g} of PyTorch on the golden faces, found "
                        f"{largest:.3g}; nothing was scored: rebuild or reinstall the model")
    return Agreement(largest, bound, len(golden.faces))
