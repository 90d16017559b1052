"""The record of what calibrating costs, on a tiny graph: every entrant really runs, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_graphs import random_faces, vgg_graph

from export.int8.calibration_costs import compare_costs, measure
from runtime.errors import MienError


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    onnx.save(vgg_graph(), tmp_path / "fp32.onnx")
    np.save(tmp_path / "faces.npy", random_faces(40))
    return tmp_path / "fp32.onnx", tmp_path / "faces.npy"


def test_every_entrant_is_measured_and_compared(files: tuple[Path, Path]) -> None:
    found = compare_costs(*files, sizes=[32, 40], rounds=1)  # ONNX Runtime's calibrator takes whole batches only
    assert [(r["entrant"], r["images"]) for r in found["rows"]] == [
        ("graph", 32), ("mien", 32), ("graph", 32), ("onnxruntime", 32), ("mien", 40)]
    assert all(row["peak_mb"] > 30 and row["wall_s"] > 0 for row in found["rows"])
    ratio = found["ratios"]["mien_memory_40_to_32"]
    assert ratio == round(found["rows"][4]["peak_mb"] / found["rows"][1]["peak_mb"], 4)


def test_the_bytes_histogrammed_are_those_of_the_tensors(files: tuple[Path, Path]) -> None:
    row = measure("mien", *files, 20)
    assert row["bytes_histogrammed"] == 4 * 20 * (16 * 16 + 8 * 16 * 16 * 2 + 16 * 8 * 8 + 16)


def test_an_entrant_that_fails_is_named(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(b"no graph")
    with pytest.raises(MienError, match="expected mien to calibrate on 20 faces"):
        measure("mien", *files, 20)
