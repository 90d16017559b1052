"""Every precision's golden logits against PyTorch's. Needs no onnx, so it runs on a lean Jetson too.

How far INT8 may legally be from its own exact integers is another question (`oracle.py`).
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from export.board.task import Measured, Task, of_every_precision
from runtime.card import Model
from runtime.engines import graph_for, open_engine
from runtime.errors import MienError


def compare_with_pytorch(task: Task) -> Measured:
    """Run the golden faces in every precision; each row is a `record.Numerics`. A departure fails and has its row."""
    model = task.open_model()
    golden = model.read_golden()

    def row(precision: str) -> dict[str, Any]:
        graph = graph_for(precision, task.target)
        logits = golden_logits(model, precision, task.target)
        return {"precision": precision, "graph_sha256": model.card.graphs[graph].sha256, "faces": len(logits),
                "labels_kept": int((logits.argmax(1) == golden.logits.argmax(1)).sum()),
                "worst": float(np.abs(logits - golden.logits).max()), "bound": model.card.golden_bound[graph]}

    measured = of_every_precision(row)
    measured.failures += [f"expected {found['precision']} within {found['bound']:.3g} of PyTorch on the golden faces, "
                          f"found {found['worst']:.3g}" for found in measured.found if found["worst"] > found["bound"]]
    return measured


def golden_logits(model: Model, precision: str, target: str) -> np.ndarray:
    """Return (N, classes) float64 of the golden faces. Raises MienError where one is not finite."""
    with closing(open_engine(model, precision, target)) as engine:
        logits = engine.run({model.card.input_name: model.read_golden().faces})[model.card.output_name]
    if not np.isfinite(logits).all():
        raise MienError(f"expected finite logits of {precision} on {target}, found NaN or infinity")
    return logits.astype(np.float64)
