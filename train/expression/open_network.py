"""A path → a network ready to be measured: a checkpoint in PyTorch, or a model directory in ONNX Runtime.

So that one verb measures both. PyTorch is loaded for a checkpoint only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import load_expression_model
from runtime.config import build
from runtime.engines import open_engine
from runtime.engines.face_batches import Logits, engine_logits, run_all
from runtime.preprocess import FaceInput


@dataclass(frozen=True)
class OpenNetwork:
    """A network, and what must be known to ask it and to read its answers."""

    logits: Logits  # faces as `input` prepares them, (N, C, height, width) uint8 → (N, classes) float32
    input: FaceInput
    labels: tuple[str, ...]
    recipe: dict[str, Any]  # how it was trained, as its checkpoint or card has it; {} where that does not say
    temperature: float | None  # its card's; a checkpoint has none
    what: dict[str, Any]  # name, hash, where it runs and its parameters, as records carry them


def open_network(path: Path, precision: str) -> OpenNetwork:
    """Open a run's best or last, a model directory, or a shipped model by its name; precision: which of its graphs.

    Raises BadInput, BadModel.
    """
    if (path / "checkpoint.json").is_file():
        return _open_checkpoint(path)
    model = load_expression_model(path)
    logits = engine_logits(open_engine(model, precision, "cpu"), model)
    card = model.card
    what = {"name": card.name, "network": card.network, "sha256": card.graphs[precision].sha256,
            "runs_in": "ONNX Runtime", "precision": precision, "parameters": card.parameters}
    return OpenNetwork(lambda faces: run_all(logits, faces, precision), card.input, card.labels,
                       card.training.get("recipe", {}), card.temperature, what)


def _open_checkpoint(path: Path) -> OpenNetwork:
    # here, not at the top: a model directory is measured without PyTorch
    from train.expression.run import load_network
    from train.expression.task import predict
    from train.networks import count_parameters

    network, facts = load_network(path)
    how = (build(FaceInput, facts["input"], f"{path}/checkpoint.json") if "input" in facts
           else FaceInput(facts["size"], facts["size"]))
    what = {"name": facts["recipe"]["name"], "network": facts["network"], "sha256": facts["sha256"],
            "runs_in": "PyTorch", "epoch": facts["epoch"] + 1, "parameters": count_parameters(network)}
    return OpenNetwork(lambda faces: predict(network, faces), how, tuple(facts["labels"]),
                       facts["recipe"], None, what)
