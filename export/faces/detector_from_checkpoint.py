"""A detector's checkpoint → a model directory: fp32.onnx, fp16.onnx, golden.npz and the card that binds them.

Height and width stay free in the graphs; an engine for a GPU fixes them to the card's. Refuses to write a graph whose
outputs depart from PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from calibration.onnx_graph import multiply_adds, parse_model, with_shape
from export.changing_model import replacing_model
from export.faces.golden_pictures import make_golden_pictures
from export.golden import golden_bytes
from export.half_from_onnx import half_from_onnx
from export.onnx_from_torch import onnx_from_torch
from export.photograph import load_photograph
from runtime.card import FileEntry, ModelCard, save_card
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import MienError
from runtime.face_input import FaceInput
from runtime.faces.letterbox import STEP
from train.networks import count_parameters

SIZE = (640, 480)  # (width, height) px that engines for a GPU are compiled for: what most cameras give at their fastest
TRACED = (160, 192)  # (height, width) px of the example the exporter follows; others are proven against PyTorch
# Largest |Δ| of a cell's sixteen outputs against PyTorch that is written, about ten times what a sound graph shows
BOUNDS = {"fp32": 1e-3, "fp16": 0.25}


def detector_from_checkpoint(network: nn.Module, facts: dict[str, Any], out: Path, threshold: float,
                             pictures: Sequence[np.ndarray] = ()) -> ModelCard:
    """Export a trained detector into the directory `out`, which appears whole or not at all.

    threshold: the score a face needs by default, 0–1. pictures: grey (H, W) uint8, sides multiples of 32, to prove the
    graphs on beside the golden ones. Raises MienError on a departure.
    """
    exported = onnx_from_torch(network, (1, *TRACED), "pictures", "cells", step=STEP)
    model = parse_model(exported.content, "fp32.onnx")
    contents = {"fp32": exported.content, "fp16": half_from_onnx(model).SerializeToString()}
    golden = make_golden_pictures(load_photograph(), SIZE, lambda batch: predict_cells(network, batch), threshold)
    proof = [*golden.faces[:, 0], *pictures]
    measured = {graph: _departure(content, network, proof) for graph, content in contents.items()}
    for graph, delta in measured.items():
        if not delta <= BOUNDS[graph]:
            raise MienError(f"expected {graph} within {BOUNDS[graph]} of PyTorch on {len(proof)} pictures, found |Δ| "
                            f"{delta:.3g}; nothing was written")
    with replacing_model(out) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        (directory / "golden.npz").write_bytes(golden_bytes(golden))
        card = ModelCard(
            name=out.name, task="face", network=facts["network"], labels=("face",),
            input=FaceInput(height=SIZE[1], width=SIZE[0], colour="grey"), input_name="pictures", output_name="cells",
            batches=(1, 1, 1), score_threshold=threshold,
            graphs={graph: FileEntry.of(directory / f"{graph}.onnx") for graph in contents},
            golden=FileEntry.of(directory / "golden.npz"), golden_bound=dict(BOUNDS),
            parameters=count_parameters(network),
            training={key: facts[key] for key in ("data", "recipe", "torch", "epoch", "figures") if key in facts}
            | {"checkpoint_sha256": facts["sha256"], "command": facts.get("command", "")},
            metrics={"multiply_adds": multiply_adds(with_shape(model, (1, 1, SIZE[1], SIZE[0]))),
                     "export": {"pictures": len(proof), "worst_delta": measured,
                                "simplify_delta": exported.simplify_delta}},
        )
        save_card(directory, card)
    return card


@torch.inference_mode()
def predict_cells(network: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """Return the network's float32 answers (N, cells, 16) for (N, 1, H, W) uint8 pictures, one at a time."""
    network.eval()
    return np.concatenate([network(torch.from_numpy(picture[None])).float().numpy() for picture in pictures])


def _departure(content: bytes, network: nn.Module, pictures: Sequence[np.ndarray]) -> float:
    """Return the largest |Δ| of a graph in ONNX Runtime; NaN where an output is."""
    engine = OnnxRuntimeEngine(content, "the exported graph", "fp32")
    worst = [np.abs(engine.run({"pictures": p[None, None]})["cells"].astype(np.float64)
                    - predict_cells(network, p[None, None])).max() for p in pictures]
    return float(np.max(worst))
