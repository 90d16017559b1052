"""Figures as a folder: `figures.json` and the pictures drawn from it. Measures nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from runtime.durable import write_text
from runtime.errors import BadInput
from train.expression.pictures.confusion import draw_confusion
from train.expression.pictures.reliability import draw_reliability
from train.expression.pictures.style import save_png

FORMAT = 2  # of figures.json; the first had no calibration


def calibrations_of(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return one split's calibrations by what a reader calls them: as it is, and after the fitted temperature."""
    after = entry.get("calibration_after")
    named = {"as it is": entry["calibration"]}
    return named | ({f"after, T = {after['temperature']:.2f}": after} if after else {})


def write_figures(report: dict[str, Any], out: Path) -> None:
    """Write an evaluation's report, and a confusion matrix and a reliability diagram for each of its splits."""
    name = report["network"]["name"]
    for split, entry in report["splits"].items():
        title = f"{name} on {split}, accuracy {100 * entry['accuracy']:.1f} %"
        save_png(draw_confusion(np.array(entry["confusion"]), report["labels"], title), out / f"confusion-{split}.png")
        save_png(draw_reliability(calibrations_of(entry), f"{name} on {split}"), out / f"reliability-{split}.png")
    write_text(out / "figures.json", json.dumps({"format": FORMAT} | report, indent=2, allow_nan=False) + "\n")


def read_figures(folder: Path, sha256: str) -> dict[str, Any] | None:
    """Return the report of the weights with this hash; None where there is none, or one of other weights or format.

    Raises BadInput where figures.json is damaged.
    """
    path = folder / "figures.json"
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        current = report.get("format") == FORMAT and report["network"].get("sha256") == sha256
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"expected what mien evaluate writes in {path}, found {error!r}; measure again") from error
    return report if current else None
