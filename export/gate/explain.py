"""One face, FP32 against INT8: both answers, and the first layer and channel where INT8 departs beyond rounding.

The CPU form is asked: its answer as it ships, fusions on; its layers as they are written. Knows no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.integer_oracle import ONNX_RUNTIME, Oracle, judge
from calibration.integer_oracle.witness import ask_onnxruntime
from calibration.onnx_graph import parse_model
from export.gate.rounding import LayerOnFace, layers_on_face
from runtime.agreement import softmax
from runtime.card import Model
from runtime.engines import open_graph_on_cpu
from runtime.engines.face_batches import engine_logits
from runtime.errors import BadInput


@dataclass(frozen=True, eq=False)
class Explanation:
    """What FP32 and INT8 said of one (C, H, W) uint8 face: (classes,) logits each, and every layer's departure.

    illegal: what the integer oracle says of ONNX Runtime's integers, "" where all are legal; None where it was not
    asked, for it does not run this graph.
    """

    model: str
    image: str
    face: np.ndarray
    label_names: tuple[str, ...]
    temperature: float
    reference: np.ndarray
    engine: np.ndarray
    layers: tuple[LayerOnFace, ...]
    illegal: str | None

    @property
    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """FP32's and INT8's, (classes,) each, at the card's temperature."""
        return softmax(self.reference, self.temperature), softmax(self.engine, self.temperature)

    @property
    def said(self) -> tuple[int, int]:
        """The place of FP32's label and of INT8's; -1 where INT8 gave no number."""
        return int(self.reference.argmax()), int(self.engine.argmax()) if np.isfinite(self.engine).all() else -1

    @property
    def first(self) -> LayerOnFace | None:
        """The first layer that departs beyond rounding."""
        return next((layer for layer in self.layers if layer.departs), None)

    @property
    def shown(self) -> LayerOnFace:
        """The first layer that departs; where none does, the one that comes closest."""
        return self.first or max(self.layers, key=lambda layer: layer.beyond)

    @property
    def margin(self) -> float:
        """By how many logits FP32 preferred its label to INT8's, or to its own second where both say the same."""
        before, after = self.said
        other = after if after not in (-1, before) else int(np.argsort(-self.reference, kind="stable")[1])
        return float(self.reference[before] - self.reference[other])

    @property
    def line(self) -> str:
        """Return it all in one sentence."""
        (before, after), (wanted, found) = self.said, self.probabilities
        names, layer = self.label_names, self.shown
        gave = f"{names[after]} {found[after]:.1%}" if after >= 0 else "no finite answer"
        answer = (f"both say {names[before]}, {wanted[before]:.1%} in FP32 and {found[before]:.1%} in INT8"
                  if before == after else f"{names[before]} {wanted[before]:.1%} in FP32, {gave} in INT8")
        if self.first:
            why = (f"layer {layer.layer} is the first beyond rounding, channel {layer.channel}, "
                   f"{layer.beyond:.1f} times what rounding explains"
                   + (f", clipped at {127 * layer.step:.3g}" if layer.clipped else ""))
        else:
            why = (f"no layer departs beyond rounding, the closest is {layer.layer}, channel {layer.channel}, with "
                   f"{layer.beyond:.2f} of it")
        illegal = f"; ONNX Runtime's integers are illegal, {self.illegal}" if self.illegal else ""
        return f"{self.image}: {answer}; {why}; FP32's margin was {self.margin:.3g} logits{illegal}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON, without pictures."""
        (before, after), (wanted, found) = self.said, self.probabilities
        return {
            "model": self.model, "image": self.image, "line": self.line, "flipped": before != after,
            "reference": self.label_names[before], "engine": self.label_names[after] if after >= 0 else "none",
            "probabilities": {name: {"reference": float(a), "engine": _number(float(b))}
                              for name, a, b in zip(self.label_names, wanted, found)},
            "margin": self.margin, "departs": self.first is not None, "illegal": self.illegal,
            "shown": {"layer": self.shown.layer, "channel": self.shown.channel},
            "layers": [{"layer": layer.layer, "beyond": _number(layer.beyond), "channel": layer.channel,
                        "clipped": layer.clipped, "sqnr": _number(layer.sqnr), "steps": _number(layer.steps)}
                       for layer in self.layers],
        }


def explain(model: Model, face: np.ndarray, image: str) -> Explanation:
    """Explain one prepared (C, H, W) uint8 face; `image` names it. Raises BadModel without an INT8 graph."""
    one = np.ascontiguousarray(face[None])
    fp32, int8 = (engine_logits(open_graph_on_cpu(model, graph), model)(one)[0] for graph in ("fp32", "int8"))
    layers = layers_on_face(model.read_graph("fp32"), model.read_graph("int8"), one)
    return Explanation(model.card.name, image, face, model.card.labels, model.card.temperature, fp32, int8, layers,
                       _illegal(model, one))


def _illegal(model: Model, face: np.ndarray) -> str | None:
    quantized = parse_model(model.read_graph("int8"), "int8.onnx")
    try:
        oracle = Oracle(quantized, ONNX_RUNTIME)
    except BadInput:
        return None
    first = judge(oracle, face, ask_onnxruntime(quantized, face, fuse=True)).first
    return f"first in layer {first.layer}: {first.first}" if first else ""


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
