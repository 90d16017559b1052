"""What INT8 costs in each layer, and the fewest layers to leave in half precision so that a budget holds.

Every figure is measured on held-out faces through ONNX Runtime, against the float32 graph on the same faces; none is
estimated from ranges. Deterministic, and resumable: whatever was measured is kept by its content. Knows no data set,
and nothing of which precision a device is faster at.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from calibration.exposed_graph import batches_of, open_with_outputs
from calibration.onnx_graph import node_multiply_adds
from calibration.quantize import plan, quantize
from runtime.agreement import kl_divergence
from runtime.durable import write_text
from runtime.errors import BadInput

BATCH = 64
METHOD = 1  # raised where the same graph, ranges and faces are measured otherwise, so that old figures are not reused


@dataclass(frozen=True)
class Cost:
    """Some layers in INT8 against none, on the same faces. `accuracy_drop` is in points of 100, below 0 for a gain."""

    accuracy_drop: float
    agreement: float  # share of labels that stay
    kl: float  # mean KL(float32 ‖ quantized), nats


@dataclass(frozen=True)
class Layer:
    """One layer quantized alone. `sqnr` is that of its output: 10·log₁₀(signal power / noise power), dB."""

    name: str
    operator: str
    multiply_adds: int  # of one face
    cost: Cost
    sqnr: float


@dataclass(frozen=True)
class Mix:
    """Some layers left in float, the others in INT8. `int8_share` is of the quantizable multiply-adds."""

    kept_float: tuple[str, ...]
    int8_share: float
    cost: Cost


@dataclass(frozen=True)
class Found:
    """A search's result: the cheapest mix within the budget, or None, and every mix it measured, by `int8_share`."""

    mix: Mix | None
    measured: tuple[Mix, ...]


class Trial:
    """One float32 graph, its scales and the faces it is judged on: measures any mix, each only once.

    faces: (N, C, H, W) uint8, labels: (N,) int64, neither seen in calibration nor reported afterwards. state: a file
    that remembers what was measured; one of another graph, scales or faces is refused with BadInput.
    """

    def __init__(self, model: onnx.ModelProto, scales: dict[str, np.float32], faces: np.ndarray, labels: np.ndarray,
                 state: Path | None = None):
        if len(faces) != len(labels) or not len(faces):
            raise BadInput(f"expected faces and as many labels, found {len(faces)} and {len(labels)}")
        self.model, self.scales, self.faces, self.labels = model, scales, faces, labels
        self.plan = plan(model)
        self.multiply_adds = {name: n for name, n in node_multiply_adds(model).items() if name in self.plan.nodes}
        self._output = model.graph.output[0].name
        self._reference = self._logits(model)
        self._state = state
        self._known: dict[str, dict[str, float]] = self._read_state()

    @property
    def accuracy(self) -> float:
        """The float32 graph's own accuracy, 0–1."""
        return float((self._reference.argmax(1) == self.labels).mean())

    def layers(self) -> tuple[Layer, ...]:
        """Measure every layer alone, in the graph's order."""
        return tuple(self.layer(name) for name in self.plan.nodes)

    def layer(self, name: str) -> Layer:
        """Measure one layer alone."""
        node = next(n for n in self.model.graph.node if n.name == name)
        others = [other for other in self.plan.nodes if other != name]
        return Layer(name, node.op_type, self.multiply_adds[name], self.cost(others), self._sqnr(node, others))

    def cost(self, kept_float: Collection[str]) -> Cost:
        """Measure the graph with these layers in float32 and the others in INT8."""
        key = json.dumps(sorted(kept_float))
        if key not in self._known:
            logits = self._logits(self._quantized(kept_float))
            said, truth = self._reference.argmax(1), self.labels
            drop = (said == truth).mean() - (logits.argmax(1) == truth).mean()
            self._keep(key, asdict(Cost(round(100 * float(drop), 4), float((logits.argmax(1) == said).mean()),
                                        float(kl_divergence(self._reference, logits).mean()))))
        return Cost(**self._known[key])

    def mix(self, kept_float: Collection[str]) -> Mix:
        """Measure a mix, its layers in the graph's order."""
        kept = tuple(name for name in self.plan.nodes if name in set(kept_float))
        left = sum(self.multiply_adds[name] for name in kept)
        return Mix(kept, 1 - left / max(1, sum(self.multiply_adds.values())), self.cost(kept))

    def _quantized(self, kept_float: Collection[str]) -> onnx.ModelProto:
        chosen = plan(self.model, kept_float)
        return quantize(self.model, chosen, {t: self.scales[t] for t in chosen.tensors}, "cpu")

    def _logits(self, model: onnx.ModelProto) -> np.ndarray:
        return np.concatenate(list(self._run(model, self._output))).astype(np.float64)

    def _run(self, model: onnx.ModelProto, tensor: str) -> Iterator[np.ndarray]:
        """Yield a tensor batch by batch: of all faces, one of VGG16's takes gigabytes."""
        session = open_with_outputs(model, [tensor])
        source = session.get_inputs()[0]
        for batch in batches_of(self.faces, tuple(source.shape[1:]), BATCH):
            yield session.run([tensor], {source.name: batch})[0]

    def _sqnr(self, node: onnx.NodeProto, others: Sequence[str]) -> float:
        key = f"sqnr {node.name}"
        if key not in self._known:
            signal = noise = 0.0
            clean, noisy = (self._run(model, node.output[0]) for model in (self.model, self._alone(others)))
            for a, b in zip(clean, noisy, strict=True):
                signal += float(np.square(a, dtype=np.float64).sum())
                noise += float(np.square(b.astype(np.float64) - a).sum())
            self._keep(key, {"sqnr": 10 * float(np.log10(max(signal, 1e-30) / max(noise, 1e-30)))})
        return self._known[key]["sqnr"]

    def _alone(self, others: Sequence[str]) -> onnx.ModelProto:
        """Quantize one layer's input and weights in the GPU form, which leaves its own output as it is."""
        chosen = plan(self.model, others)
        return quantize(self.model, chosen, {t: self.scales[t] for t in chosen.tensors}, "gpu")

    @functools.cached_property
    def _identity(self) -> str:
        digest = hashlib.sha256(self.model.SerializeToString(deterministic=True))
        digest.update(json.dumps({k: float(v) for k, v in sorted(self.scales.items())}).encode())
        digest.update(self.faces.tobytes() + self.labels.astype("<i8").tobytes())
        digest.update(f"{METHOD} {onnxruntime.__version__}".encode())
        return digest.hexdigest()

    def _read_state(self) -> dict[str, dict[str, float]]:
        if self._state is None or not self._state.exists():
            return {}
        try:
            content = json.loads(self._state.read_text())
            of, measured = content["of"], dict(content["measured"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"expected the state of a search in {self._state}, found another file; remove it") from error
        if of != self._identity:
            raise BadInput(f"expected the state of this graph, ranges and faces in {self._state}, found another's; "
                           "remove it or choose another --out")
        return measured

    def _keep(self, key: str, figures: dict[str, float]) -> None:
        self._known[key] = figures
        if self._state is not None:
            write_text(self._state, json.dumps({"of": self._identity, "measured": self._known}, indent=1) + "\n")


def fewest_float(trial: Trial, budget: float, layers: Sequence[Layer]) -> Found:
    """Search the mix with the fewest float multiply-adds whose accuracy drop is at most `budget` points.

    Layers go to float in the order of their KL a multiply-add until the budget holds, then back to INT8, the largest
    first, as long as it still does. Greedy: no set of layers is proven the smallest, every figure is measured.
    """
    order = sorted(layers, key=lambda layer: (-layer.cost.kl / max(1, layer.multiply_adds), layer.name))
    kept: list[str] = []
    measured = [trial.mix(kept)]
    while measured[-1].cost.accuracy_drop > budget and len(kept) < len(order):
        kept.append(order[len(kept)].name)
        measured.append(trial.mix(kept))
    if measured[-1].cost.accuracy_drop > budget:
        return Found(None, tuple(measured))
    best = measured[-1]
    for name in sorted(kept, key=lambda name: (-trial.multiply_adds[name], name)):
        without = trial.mix([other for other in best.kept_float if other != name])
        measured.append(without)
        if without.cost.accuracy_drop <= budget:
            best = without
    unique = {mix.kept_float: mix for mix in measured}
    return Found(best, tuple(sorted(unique.values(), key=lambda mix: (-mix.int8_share, mix.kept_float))))


def front(mixes: Sequence[Mix]) -> tuple[Mix, ...]:
    """Return the mixes that no other beats in both share of INT8 and accuracy, from most INT8 to least."""
    best: list[Mix] = []
    for mix in sorted(mixes, key=lambda mix: (-mix.int8_share, mix.cost.accuracy_drop, mix.kept_float)):
        if not best or mix.cost.accuracy_drop < best[-1].cost.accuracy_drop:
            best.append(mix)
    return tuple(best)
