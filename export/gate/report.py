"""A finished check: its verdict, the sentence that names the cause, its record and its lines for people.

JUnit, Markdown and the page are written from it, in files of their own. Measures nothing.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from export.gate.answers import Answers
from export.gate.baseline import Baseline
from export.gate.budget import Budget
from export.gate.chain import Link
from export.gate.check import Finding, Judgement, Verdict
from export.gate.packed import pack_labels, pack_logits

WORDS: dict[Verdict, str] = {"pass": "PASSED", "fail": "FAILED", "inconclusive": "INCONCLUSIVE"}
MOST_FLIPS = 200  # listed in a record; the count stands beside them


@dataclass(frozen=True)
class Report:
    """All that a check found. gate: the engine against the reference; links: what was walked, in the chain's order.

    data: name, splits, images, sha256 and which copies were left out; graph_facts: the graph's name, its form, file
    hash and bytes; image_names: (N,) of the faces, for the flips.
    """

    model: str
    graph_facts: dict[str, Any]
    target: str
    reference: dict[str, Any]
    data: dict[str, Any]
    budget: Budget
    gate: Link
    links: tuple[Link, ...]
    image_names: tuple[str, ...]
    made_on: dict[str, str]
    baseline: tuple[Baseline, Judgement] | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def judgement(self) -> Judgement:
        """The gate's."""
        assert self.gate.judgement is not None
        return self.gate.judgement

    @property
    def answers(self) -> Answers:
        """What both networks said."""
        assert self.gate.answers is not None
        return self.gate.answers

    @property
    def verdict(self) -> Verdict:
        """Fail where anything fails, else inconclusive where gate or baseline is; an undecided link only explains."""
        given = {self.gate.verdict, *("fail" for link in self.links if link.verdict == "fail")}
        given |= {self.baseline[1].verdict} if self.baseline else set()
        return "fail" if "fail" in given else "inconclusive" if "inconclusive" in given else "pass"

    @property
    def awaited(self) -> Judgement:
        """The judgement that more images would settle: the gate's, or the baseline's where that alone is undecided."""
        if self.baseline and self.gate.verdict == "pass":
            return self.baseline[1]
        return self.judgement

    @property
    def what(self) -> str:
        """The engine, the reference and the faces, in words."""
        graph = self.graph_facts["graph"]
        if (graph, self.target) == ("fp16", "cpu"):
            graph += f" in {'half' if self.graph_facts['form'] == 'gpu' else 'float32'} arithmetic"
        return (f"{self.model} {graph} on {self.target} against {self.reference['name']}, "
                f"{self.data['images']:,} faces of {data_name(self.data)}")

    @property
    def broken_link(self) -> Link | None:
        """The first link that fails; where labelled faces and golden ones both say so, the former, which tell more."""
        broken = [link for link in (*self.links, self.gate) if link.verdict == "fail"]
        named = [link for link in broken if link.name == broken[0].name]
        return next((link for link in named if link.judgement), broken[0]) if broken else None

    @property
    def headline(self) -> str:
        """The verdict and its cause: the first link that broke, or what is undecided."""
        word = WORDS[self.verdict]
        if self.verdict == "pass":
            return f"{word}: {self.what}"
        if self.verdict == "fail":
            broken = self.broken_link
            return f"{word}: {broken.text if broken else f'departs from the baseline: {self._baseline_said()}'}"
        more = self.awaited.more_images
        need = "no number of images tells: a figure lies on its limit" if more is None else (
            f"about {more:,} more images would decide, if the rates stay")
        undecided = "; ".join(f.text for f in self.awaited.findings if f.verdict == "inconclusive")
        return f"{word}: {need}; {undecided}"

    def _baseline_said(self) -> str:
        return "; ".join(self.baseline[1].broken) if self.baseline else ""

    def as_dict(self) -> dict[str, Any]:
        """Return the record: plain values for JSON, with labels and logits, so that it can be a baseline."""
        flips = self.answers.flips()
        found = {
            "model": self.model, **self.graph_facts, "target": self.target, "reference": self.reference,
            "data": self.data, "verdict": self.verdict, "passed": self.verdict == "pass", "headline": self.headline,
            "more_images": self.awaited.more_images, "broken": list(self.judgement.broken),
            "budget": asdict(self.budget), **self.answers.figures(),
            "findings": [finding_dict(f) for f in self.judgement.findings],
            "reported": [finding_dict(f) for f in self.judgement.reported],
            "classes": [asdict(c) for c in self.answers.classes()],
            "links": [_link_dict(link) for link in self.links], "warnings": list(self.warnings),
            "flipped": len(flips), "flips": [self._flip(int(i)) for i in flips[:MOST_FLIPS]],
            "predictions": pack_labels(self.answers.said_engine), "logits": pack_logits(self.answers.engine),
            "logits_sha256": hashlib.sha256(np.ascontiguousarray(self.answers.engine, "<f4").tobytes()).hexdigest(),
            "made_on": self.made_on,
        }
        golden = [link.golden for link in self.links if link.golden and link.name == self.gate.name]
        found |= {"golden": asdict(golden[0])} if golden else {}
        if self.baseline:
            found["baseline"] = {"name": self.baseline[0].name, "sha256": self.baseline[0].graph_sha256,
                                 "paired": self.baseline[0].said is not None,
                                 "logits": self.baseline[0].logits is not None, "verdict": self.baseline[1].verdict,
                                 "findings": [finding_dict(f) for f in self.baseline[1].findings]}
        return found

    def _flip(self, index: int) -> dict[str, str]:
        names, answers = self.answers.label_names, self.answers
        after = int(answers.said_engine[index])
        return {"image": self.image_names[index], "label": names[int(answers.labels[index])],
                "reference": names[int(answers.said_reference[index])],
                "engine": names[after] if after >= 0 else "none"}

    def lines(self) -> list[str]:
        """Return the report for people; its first line is the headline."""
        figures, classes = self.answers.figures(), self.answers.classes()
        recall = "  ".join(f"{c.name} {100 * (c.recall_engine - c.recall_reference):+.1f}" for c in classes)
        lines = [self.headline, *([self.what] if self.verdict != "pass" else [])]
        lines += [f"link: {link.text}" for link in self.links]
        lines += [f"{f.verdict:<13}{f.text}" for f in self.judgement.findings]
        lines += [f"{'reported':<13}{f.text}" for f in self.judgement.reported]
        if self.baseline:
            lines += [f"against {self.baseline[0].name}"]
            lines += [f"{f.verdict:<13}{f.text}" for f in self.baseline[1].findings]
        return [
            *lines,
            f"accuracy {figures['accuracy_reference']:.4f} → {figures['accuracy_engine']:.4f}; {figures['lost']} lost, "
            f"{figures['won']} won, McNemar p {figures['mcnemar_p']:.2g}; macro-F1 {figures['macro_f1_reference']:.4f} "
            f"→ {figures['macro_f1_engine']:.4f}",
            f"recall change, points: {recall}",
            f"KL mean {figures['mean_kl']:.5f} worst {figures['worst_kl']:.4f}; worst |Δlogit| "
            f"{figures['worst_delta']:.3g}; confidence {figures['confidence_shift']:+.4f}; ECE "
            f"{figures['ece_reference']:.4f} → {figures['ece_engine']:.4f}",
            *(f"warning: {text}" for text in self.warnings),
        ]


def data_name(data: dict[str, Any]) -> str:
    """Return what the faces were, in words; several splits are called pooled."""
    splits = " + ".join(data["splits"])
    pooled = " pooled" if len(data["splits"]) > 1 else ""
    return f"{data['name']} {splits}{pooled}{' less copies of training images' if data['without_copies'] else ''}"


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain values; a bound that is infinite becomes None."""
    values = asdict(finding)
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}


def _link_dict(link: Link) -> dict[str, Any]:
    layer = {"layer": link.layer.layer, "tensor": link.layer.tensor,
             "sqnr": None if math.isnan(link.layer.sqnr) else link.layer.sqnr} if link.layer else None
    return {"name": link.name, "against": link.against, "verdict": link.verdict, "said": link.said,
            "golden": asdict(link.golden) if link.golden else None, "first_layer": layer,
            "findings": [finding_dict(f) for f in link.judgement.findings] if link.judgement else []}


