"""One graph of a face model held to fp32.onnx on held-out scenes: load, find, judge, say. Knows no arithmetic of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.faces.find_faces import finder_of_graph
from export.faces.gate import FaceBudget, check_detections, verdict_facts
from export.faces.held_out import load_held_out
from runtime.card import Model
from runtime.engines import open_graph_on_cpu
from runtime.golden import require_agreement
from runtime.machine import describe_machine
from train.faces.labels import FaceLabels
from train.faces.recipe import FaceRecipe


def check_graph(model: Model, graph: str, data: Path, labels: FaceLabels, recipe: FaceRecipe, scenes: int,
                budget: FaceBudget | None = None) -> dict[str, Any]:
    """Return one record: the verdict on composed and real pictures together. Raises Departure, BadInput, BadModel."""
    budget = budget or FaceBudget()
    engine = open_graph_on_cpu(model, graph)
    golden = require_agreement(model, engine, graph)
    engine.close()
    held_out = load_held_out(data, labels, recipe, "reported", scenes)
    pictures = [*held_out.composed, *held_out.photographs]
    truths = [*held_out.composed_truths, *held_out.photograph_truths]
    found = {}
    for which in dict.fromkeys(("fp32", graph)):
        find = finder_of_graph(model, which)
        found[which] = [find(p) for p in tqdm(pictures, desc=which, leave=False, disable=None, unit="picture")]
    verdict = check_detections(found["fp32"], found[graph], truths, budget, model.card.score_threshold)
    return {"model": model.card.name, "graph": graph, "sha256": model.card.graphs[graph].sha256,
            "bytes": model.card.graphs[graph].bytes, "golden": vars(golden),
            "data": {"sha256": labels.sha256(), "part": "reported", "composed": len(held_out.composed),
                     "photographs": len(held_out.photographs)},
            "budget": vars(budget), **verdict_facts(verdict), "made_on": describe_machine()}


def check_lines(record: dict[str, Any]) -> list[str]:
    """Return a record as lines for people, the verdict last."""
    data = record["data"]
    lines = [f"{record['model']} {record['graph']} against fp32 on {data['composed']} composed scenes and "
             f"{data['photographs']} photographs, {record['reference']['faces']:.0f} faces"]
    for name, loss in record["losses"].items():
        lines.append(f"{name} {record['reference'][name]:.4f} → {record['engine'][name]:.4f}  worse by "
                     f"{loss['points']:+.2f} points ({loss['low']:+.2f} to {loss['high']:+.2f}), "
                     f"{loss['allowed']} allowed")
    lines.append(f"{record['same_faces']:.2%} of fp32's faces are found at the same place")
    lines += [f"broken: {text}" for text in record["broken"]]
    lines += [f"too few pictures to say: {text}" for text in record["inconclusive"]]
    return [*lines, "PASSED" if record["passed"] else "FAILED" if record["broken"] else "INCONCLUSIVE"]
