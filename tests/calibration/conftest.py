"""Graphs of our networks' shapes, quantized in both forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from tiny_graphs import GRAPHS, random_faces

from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.pixel_grid import choose_scales
from calibration.quantize import Plan, plan, quantize


@dataclass(frozen=True)
class Quantized:
    """One float32 graph, what was planned, and both forms of it."""

    fp32: onnx.ModelProto
    plan: Plan
    scales: dict[str, np.float32]
    forms: dict[str, onnx.ModelProto]


def quantize_both(model: onnx.ModelProto) -> Quantized:
    """Calibrate on random faces, as `mien calibrate` does."""
    model = parse_model(model.SerializeToString(), "tiny")
    chosen = plan(model)
    histograms = observe(model, chosen.tensors, random_faces(64))
    scales = choose_scales(model, histograms, "percentile", 99.9)
    return Quantized(model, chosen, scales, {form: quantize(model, chosen, scales, form) for form in ("cpu", "gpu")})


_MADE: dict[str, Quantized] = {}


@pytest.fixture(params=sorted(GRAPHS))
def quantized(request: pytest.FixtureRequest) -> Quantized:
    """Each of the graphs in turn; made once, never changed."""
    if request.param not in _MADE:
        _MADE[request.param] = quantize_both(GRAPHS[request.param]())
    return _MADE[request.param]
