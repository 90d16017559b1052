"""What a network's figures must hold for the road to be believed. Knows nothing of how they were taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from export.model_from_checkpoint import BOUNDS

# Share of labels that INT8 must keep on untrained weights: far below a trained network's 0.99, far above chance (1/7)
LEAST_AGREEMENT = 0.5


def broken_promises(figures: Mapping[str, Any]) -> list[str]:
    """Return every promise that figures (`road.Figures.as_dict`, or a row of the zoo's record) break, in words."""
    broken = []  # each is asked `not within`, so that NaN breaks it
    if not figures["fp32_delta"] <= BOUNDS["fp32"]:
        broken.append(f"fp32 departs from PyTorch by {figures['fp32_delta']:.2g}, {BOUNDS['fp32']} are allowed")
    for half in (figures[key] for key in ("half", "half_over_data") if key in figures):
        if half["non_finite"] or not math.isfinite(half["largest"]):
            broken.append(f"fp16 overflows in {half['tensor']}; {half['non_finite']} of {half['faces']} faces have no "
                          "finite answer")
    for name, against in figures["against_fp32"].items():
        if not (against["agreement"] >= LEAST_AGREEMENT and math.isfinite(against["delta"])):
            broken.append(f"{name} keeps {against['agreement']:.1%} of fp32's labels, {LEAST_AGREEMENT:.0%} are asked "
                          "for")
    return broken + [f"{name} with tensorrt-rtx: {engine['status']}" for name, engine in figures["engines"].items()
                     if engine["status"] != "built"]
