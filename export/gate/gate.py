"""One check from start to report: golden frames, the gate itself, and the chain where something broke or was asked for.

Each network runs over the faces once, whatever is asked of it. Knows no data set: prepared faces and labels come in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export.gate.baseline import Baseline, judge_baseline
from export.gate.budget import Budget
from export.gate.chain import PYTORCH, Link, Walk, frame_link, golden_link, path_to
from export.gate.form import Form, open_gpu_form
from export.gate.report import Report
from runtime.card import Model
from runtime.engines.engine import Engine
from runtime.engines.face_batches import engine_logits, run_all
from runtime.errors import BadInput
from runtime.machine import describe_machine


@dataclass(frozen=True)
class Asked:
    """What is checked: one form of a model's graph, on N prepared faces (N, C, H, W) uint8 with labels (N,).

    data: name, splits, images, sha256 and without_copies, as records carry them. pytorch: faces → logits and what it
    is, where PyTorch itself is the reference; else fp32.onnx on the CPU is. chain, bisect: walk though nothing broke.
    warnings: of the data, for the report.
    """

    model: Model
    form: Form
    faces: np.ndarray
    labels: np.ndarray
    image_names: tuple[str, ...]
    data: dict[str, Any]
    budget: Budget
    pytorch: Callable[[np.ndarray], np.ndarray] | None = None
    pytorch_facts: dict[str, Any] = field(default_factory=dict)
    baseline: Baseline | None = None
    chain: bool = False
    bisect: bool = False
    threads: int = 0
    warnings: tuple[str, ...] = ()


def run_gate(asked: Asked, opened: dict[str, Engine] | None = None) -> Report:
    """Check; `opened` holds graphs' engines that are open already.

    Raises BadInput without a face, or without one of a class that the budget names, BadModel, MienError for a
    reference whose answers are not finite.
    """
    if not len(asked.faces):
        raise BadInput("expected labelled faces to check on, found none; check --data and --split")
    absent = [name for name in asked.budget.classes if not (asked.labels == asked.model.card.labels.index(name)).any()]
    if absent:  # nothing would be asked of a class that shall gate
        raise BadInput(f"expected faces of {', '.join(absent)}, which the budget's classes name, found none among "
                       f"{len(asked.faces):,}; check --data, or leave the class out")
    runs = _Runs(asked, opened or {})
    model, form, graph = asked.model, asked.form, asked.form.graph
    walk = Walk(model, runs.logits, asked.faces, asked.labels, asked.budget, asked.bisect)
    links = [frame_link(model, graph)]
    replays = links[0].verdict == "pass"
    golden = golden_link(model, form.engine, graph, runs.name) if replays else None
    reference = PYTORCH if asked.pytorch else "fp32"
    gate = walk.link(runs.name, reference)
    if asked.chain or asked.bisect or "fail" in (gate.verdict, golden.verdict if golden else ""):
        names = [name for name in (model.card.graphs if asked.chain else path_to(graph)) if name != PYTORCH]
        links += walk.links([PYTORCH] * bool(asked.pytorch) + names, runs.golden if replays else None)
        links += [walk.link(runs.name, graph)] if runs.name != graph and walk.is_finite(graph) else []
    if golden and golden not in links:
        links.append(golden)
    entry = model.card.graphs[graph]
    assert gate.answers is not None
    against = (asked.baseline, judge_baseline(asked.baseline, gate.answers, asked.budget)) if asked.baseline else None
    facts = {"graph": graph, "form": form.name, "sha256": entry.sha256, "bytes": entry.bytes}
    return Report(model.card.name, facts, form.engine.target,
                  asked.pytorch_facts if asked.pytorch else {"name": "fp32.onnx"}, asked.data, asked.budget, gate,
                  tuple(links), asked.image_names, describe_machine(), against, _warnings(asked))


class _Runs:
    """Every network's logits on the faces, computed when first asked for."""

    def __init__(self, asked: Asked, opened: dict[str, Engine]):
        self.asked, self.opened = asked, opened
        target = asked.form.engine.target
        self.name = asked.form.graph if target == "cpu" else f"{target} engine"
        self._found: dict[str, np.ndarray] = {}

    def logits(self, name: str) -> np.ndarray:
        """Return one link's logits (N, classes)."""
        if name not in self._found:
            if name == PYTORCH:
                assert self.asked.pytorch is not None
                self._found[name] = self.asked.pytorch(self.asked.faces)
            else:
                self._found[name] = run_all(engine_logits(self._engine(name), self.asked.model), self.asked.faces, name)
        return self._found[name]

    def golden(self, graph: str) -> Link:
        """Return a graph's link to PyTorch's recorded logits."""
        return golden_link(self.asked.model, self._engine(graph), graph, graph)

    def _engine(self, name: str) -> Engine:
        if name == self.name:
            return self.asked.form.engine
        if name not in self.opened:
            self.opened[name] = open_gpu_form(self.asked.model, name, self.asked.threads)
        return self.opened[name]


def _warnings(asked: Asked) -> tuple[str, ...]:
    said, splits = list(asked.warnings), asked.data["splits"]
    if len(splits) > 1:
        said.append(f"{' and '.join(splits)} are pooled: what was chosen on one of them is not proven by these figures")
    if asked.form.graph == "fp16" and asked.form.name == "cpu":
        said.append("this CPU computed fp16 in float32: what overflows is not seen; leave --form cpu out")
    if asked.baseline and asked.baseline.logits is None:
        lacks = "logits" if asked.baseline.said is not None else "labels and no logits"
        said.append(f"the baseline {asked.baseline.name} kept no {lacks}: KL and calibration are not compared with it; "
                    "check that build again to have them")
    return tuple(said)
