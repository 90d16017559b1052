"""What a check found, as lines for people and as a record that names device, versions, files and data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.gate.check import Budget, Verdict
from runtime.card import Model
from runtime.durable import write_text
from runtime.golden import Agreement
from runtime.machine import describe_machine


def describe_check(model: Model, graph: str, reference: dict[str, Any], data_sha256: str, splits: list[str],
                   golden: Agreement, budget: Budget, verdict: Verdict) -> dict[str, Any]:
    """Return one record; `lines` is the same for people."""
    found = verdict.comparison
    recall = "  ".join(f"{name} {change:+.1f}" for name, change in found.recall_change.items())
    lines = [
        f"{model.card.name} {graph} against {reference['name']} on {found.images} faces of {' + '.join(splits)}",
        f"accuracy {found.accuracy_reference:.4f} → {found.accuracy_engine:.4f} (drop {found.accuracy_drop:+.2f} "
        f"points)  agreement {found.agreement:.2%}",
        f"KL mean {found.mean_kl:.5f} worst {found.worst_kl:.4f}  worst |Δlogit| {found.worst_delta:.3g}",
        f"recall change, points: {recall}",
        *(f"broken: {text}" for text in verdict.broken),
        "PASSED" if verdict.passed else "FAILED",
    ]
    return {
        "model": model.card.name, "graph": graph, "sha256": model.card.graphs[graph].sha256,
        "bytes": model.card.graphs[graph].bytes, "reference": reference,
        "data": {"name": "fer2013", "splits": splits, "images": found.images, "sha256": data_sha256},
        "golden": asdict(golden), "budget": asdict(budget), **verdict.as_dict(), "made_on": describe_machine(),
        "lines": lines,
    }


def save_figures(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    write_text(path, json.dumps({k: v for k, v in record.items() if k != "lines"}, indent=2) + "\n")
