"""A model directory small enough to make in a test: a real ONNX graph, a real card, goldens computed by numpy.

Knows nothing of training: the weights are random, the arithmetic is checked against numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.card import FileEntry, ModelCard, save_card
from runtime.preprocess import FaceInput

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SIDE = 48
CELL = 8  # faces are averaged over CELL × CELL pixels: enough for a linear network to tell pictures apart


@dataclass(frozen=True)
class TinyNetwork:
    """logits = mean-pooled faces / 255 · weights + bias; weights (36, classes), bias (classes,) float32."""

    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def random(cls, seed: int = 0, classes: int = len(LABELS)) -> TinyNetwork:
        """Draw weights that give clearly different logits."""
        generator = np.random.default_rng(seed)
        cells = (SIDE // CELL) ** 2
        return cls(generator.normal(0, 1, (cells, classes)).astype(np.float32),
                   generator.normal(0, 1, classes).astype(np.float32))

    def logits(self, faces: np.ndarray) -> np.ndarray:
        """Return logits of (N, 1, 48, 48) uint8 faces, in numpy."""
        cells = SIDE // CELL
        pooled = (faces.astype(np.float32) / 255).reshape(len(faces), cells, CELL, cells, CELL).mean(axis=(2, 4))
        return pooled.reshape(len(faces), -1) @ self.weights + self.bias

    def graph(self) -> onnx.ModelProto:
        """Return the same arithmetic as an ONNX graph with uint8 input and a free batch."""
        nodes = [
            helper.make_node("Cast", ["faces"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["float", "scale"], ["unit"]),
            helper.make_node("AveragePool", ["unit"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        ]
        constants = [
            numpy_helper.from_array(np.float32(255), "scale"),
            numpy_helper.from_array(self.weights, "weights"),
            numpy_helper.from_array(self.bias, "bias"),
        ]
        graph = helper.make_graph(
            nodes, "tiny",
            [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["batch", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", self.bias.size])],
            constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_tiny_model(
    directory: Path, network: TinyNetwork | None = None, labels: tuple[str, ...] = LABELS, temperature: float = 1.0
) -> Path:
    """Write card.json, fp32.onnx and golden.npz; the golden logits are numpy's."""
    network = network or TinyNetwork.random()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "fp32.onnx").write_bytes(network.graph().SerializeToString())
    faces = np.random.default_rng(1).integers(0, 256, (4, 1, SIDE, SIDE), dtype=np.uint8)
    np.savez(directory / "golden.npz", faces=faces, logits=network.logits(faces))
    write_tiny_card(directory, labels, temperature)
    return directory


def write_tiny_card(directory: Path, labels: tuple[str, ...] = LABELS, temperature: float = 1.0) -> None:
    """Write a card whose hashes fit the files that lie there: what an exporter would have signed."""
    save_card(directory, ModelCard(
        name="tiny", task="expression", network="linear", labels=labels, input=FaceInput(SIDE, SIDE),
        graphs={"fp32": FileEntry.of(directory / "fp32.onnx")}, golden=FileEntry.of(directory / "golden.npz"),
        golden_bound={"fp32": 1e-4}, temperature=temperature))
