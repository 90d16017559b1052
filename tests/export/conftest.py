"""One tiny network through the real exporter, once a session; and the model that ships."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_graphs import random_faces
from tiny_model import LABELS
from torch import Tensor, nn

from export.model_from_checkpoint import model_from_checkpoint
from export.onnx_from_torch import Exported, onnx_from_torch
from runtime.card import Model, load_model
from train.networks.convolutions import plain_conv
from train.networks.normalize import Normalize

SIDE = 16


class TinyVGG(nn.Module):
    """small-vgg's layers at a twentieth of its width, with batch norms that do something."""

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.features = nn.Sequential(plain_conv(1, 8), plain_conv(8, 8), nn.MaxPool2d(2), plain_conv(8, 16))
        self.pool, self.classify = nn.AdaptiveAvgPool2d(1), nn.Linear(16, classes)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.3, 0.3)
                nn.init.uniform_(layer.running_var, 0.5, 2)
        nn.init.normal_(self.classify.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classify(self.pool(self.features(self.normalize(pixels))).flatten(1))


FACTS: dict[str, Any] = {
    "network": "tiny-vgg", "labels": list(LABELS), "size": SIDE, "data": {"name": "noise"}, "sha256": "0" * 64,
    "recipe": {"name": "tiny", "epochs": 2, "seed": 5}, "torch": torch.__version__, "epoch": 0,
    "figures": {"accuracy": 0.5}, "command": "mien train --recipe tiny --epochs 2 --seed 5 --data PATH --out RUN",
}


@dataclass(frozen=True)
class TinyExport:
    """A network, its bare ONNX graph, and the model directory made of it (read-only: copy it to change it)."""

    network: nn.Module
    exported: Exported
    directory: Path
    facts: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(FACTS))


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory) -> TinyExport:
    """The exporter's work, done once: it costs seconds."""
    torch.manual_seed(0)
    network = TinyVGG().eval()
    directory = tmp_path_factory.mktemp("export") / "tiny-vgg"
    model_from_checkpoint(network, copy.deepcopy(FACTS), directory, random_faces(512), 0.0)
    return TinyExport(network, onnx_from_torch(network, (1, SIDE, SIDE), "faces", "logits"), directory)


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The model that ships."""
    return load_model(Path("mien-light"))


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[onnx.ModelProto | bytes, np.ndarray], np.ndarray]:
    """A function (graph, faces) → logits that computes every node as it is written, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")

    def run(model: onnx.ModelProto | bytes, faces: np.ndarray) -> np.ndarray:
        content = model if isinstance(model, bytes) else model.SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"faces": faces})[0]

    return run
