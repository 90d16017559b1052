"""Every link from the frame to the engine, each held against the one before, so that the one that broke has a name.

frame → crop → answer · PyTorch → fp32.onnx → fp16.onnx, and → int8.onnx → int8-gpu.onnx · graph → engine. The exporter
simplifies its graph in memory, before `fp32.onnx` is written: there is no link of its own to ask. Knows no data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from export.gate.answers import Answers
from export.gate.budget import Budget
from export.gate.check import Judgement, Verdict, judge, require_finite
from export.gate.first_layer import FACES, LayerDeparture, first_departure
from runtime.card import Model
from runtime.engines.engine import Engine
from runtime.errors import BadModel, MienError
from runtime.golden import Agreement, Departure, read_golden, require_agreement

PYTORCH, RECORDED = "PyTorch", "PyTorch's recorded logits"
BEFORE = {"fp32": PYTORCH, "fp16": "fp32", "int8": "fp32", "int8-gpu": "int8"}  # graph → the link it was made from


@dataclass(frozen=True)
class Link:
    """One link: what it is held against, the golden faces' word, the judgement on labelled faces where both ran.

    golden: None where the golden faces were not asked or depart; `said` then holds why. layer: what bisecting found.
    """

    name: str
    against: str
    golden: Agreement | None = None
    judgement: Judgement | None = None
    answers: Answers | None = field(default=None, repr=False, compare=False)
    layer: LayerDeparture | None = None
    said: str = ""

    @property
    def verdict(self) -> Verdict:
        """Fail where the golden faces depart, else the judgement's; pass where there is none."""
        if self.said:
            return "fail"
        return self.judgement.verdict if self.judgement else "pass"

    @property
    def text(self) -> str:
        """Return in words how this link stands."""
        reasons = [self.said] if self.said else []
        reasons += self.judgement.broken if self.judgement else ()
        where = ""
        if self.layer:
            what = "the first layer that departs" if self.layer.departs else "no layer departs, the noisiest"
            where = f"; {what} is {self.layer.layer} ({self.layer.sqnr:.1f} dB)"
        if self.verdict == "fail":
            return f"{self.name} departs from {self.against}: {'; '.join(reasons)}{where}"
        return f"{self.name} against {self.against}: {self.verdict}{where}"


@dataclass(frozen=True)
class Walk:
    """What a walk along the chain needs: the model, how a link is opened, labelled faces, the budget.

    logits: link's name → (N, classes) float32 on `faces`; asked once a link.
    """

    model: Model
    logits: Callable[[str], np.ndarray]
    faces: np.ndarray
    labels: np.ndarray
    budget: Budget
    bisect: bool = False

    def links(self, names: list[str], golden: Callable[[str], Link] | None) -> Iterator[Link]:
        """Judge graphs in the order given: first by the golden faces, then against the graph each was made from.

        golden: graph → its link to PyTorch's recorded logits, None where those do not replay. PyTorch itself takes
        part where it is among the names.
        """
        for name in names:
            if golden and name != PYTORCH:
                yield golden(name)
            if BEFORE.get(name) in names and self.is_finite(BEFORE[name]):  # else that one's own link has failed
                yield self.link(name, BEFORE[name])

    def link(self, name: str, before: str) -> Link:
        """Hold one link against another on the labelled faces; a link that fails names its first layer.

        Raises MienError where the other's answers are not finite.
        """
        reference, card = require_finite(self.logits(before), shown(before)), self.model.card
        answers = Answers(reference, self.logits(name), self.labels, card.labels, card.temperature)
        judgement = judge(answers, self.budget)
        layer = None
        if (self.bisect or judgement.verdict == "fail") and {before, name} <= set(card.graphs):
            worst = np.argsort(-np.where(answers.finite, 0, 1), kind="stable")[:FACES]
            layer = first_departure(self.model.read_graph(before), self.model.read_graph(name), self.faces[worst])
        return Link(shown(name), shown(before), None, judgement, answers, layer)

    def is_finite(self, name: str) -> bool:
        """Are a link's answers all numbers, so that others can be held against them?"""
        return bool(np.isfinite(self.logits(name)).all())


def shown(name: str) -> str:
    """Return a link's name as people know it: a graph's is its file's."""
    return f"{name}.onnx" if name in BEFORE else name


def path_to(graph: str) -> list[str]:
    """Return the links from PyTorch to a graph, in order."""
    names = [graph]
    while names[0] != PYTORCH:
        names.insert(0, BEFORE[names[0]])
    return names


def frame_link(model: Model, graph: str) -> Link:
    """Replay the golden frames to crops and the golden logits to answers: no engine takes part. Raises BadModel."""
    try:
        read_golden(model, graph)
    except BadModel:
        raise
    except MienError as error:
        return Link("frame → crop → answer", "the card", said=_first_part(error))
    return Link("frame → crop → answer", "the card")


def golden_link(model: Model, engine: Engine, graph: str, name: str) -> Link:
    """Hold an engine against PyTorch's recorded logits on the golden faces. Raises BadModel."""
    try:
        return Link(shown(name), RECORDED, require_agreement(model, engine, graph))
    except Departure as error:
        return Link(shown(name), RECORDED, said=_first_part(error))


def _first_part(error: MienError) -> str:
    """Return what was expected and found; what to do is the report's to say."""
    return str(error).partition(";")[0]
