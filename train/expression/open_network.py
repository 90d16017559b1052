"""A path → a function from faces to logits: a checkpoint in PyTorch, or a model directory in ONNX Runtime.

So that one verb measures both. PyTorch is loaded for a checkpoint only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.card import load_model
from runtime.engines import open_engine
from runtime.engines.face_batches import Logits, engine_logits, run_all
from runtime.preprocess import FaceInput, prepare_faces


def open_network(path: Path, precision: str) -> tuple[Logits, dict[str, Any]]:
    """Return (grey faces (N, 1, H, W) uint8 → logits, what it is).

    precision: which graph of a model directory. Raises BadInput, BadModel.
    """
    if (path / "checkpoint.json").is_file():
        # here, not at the top: a model directory is measured without PyTorch
        from train.expression.run import load_network
        from train.expression.task import predict

        network, facts = load_network(path)
        what = {"name": facts["network"], "sha256": facts["sha256"], "runs_in": "PyTorch", "epoch": facts["epoch"] + 1}
        how = FaceInput(facts["size"], facts["size"])
        return lambda faces: predict(network, prepare_faces(faces[:, 0], how)), what
    model = load_model(path)
    engine = open_engine(model, precision, "cpu")
    logits = engine_logits(engine, model)
    what = {"name": model.card.name, "sha256": model.card.graphs[precision].sha256, "runs_in": "ONNX Runtime",
            "precision": precision}
    return lambda faces: run_all(logits, prepare_faces(faces[:, 0], model.card.input), precision), what
