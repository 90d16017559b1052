"""The record of which INT8 graphs NVIDIA's compiler takes: a row a network, made once, tried again where it failed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from export.zoo import compiles as zoo_compiles
from export.zoo.networks import Variant, zoo
from export.zoo.road import EngineFigures
from runtime.errors import MienError
from train.datasets.labelled_faces import LabelledFaces
from train.networks import build_network, small_vgg

NETWORK = Variant("small-vgg", "mien")
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')


@needs_rtx
def test_a_network_becomes_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_vgg, "STAGES", ((8,), (16,), (16, 16), (32,)))
    faces = np.random.default_rng(0).integers(0, 256, (32, 1, 48, 48), dtype=np.uint8)
    row = zoo_compiles.compile_variant(NETWORK, faces)
    assert row["engine"]["status"] == "built" and row["engine"]["bytes"] > 0
    assert row["quantized_nodes"] > 0 and row["faces"] == 32 and len(row["onnx_sha256"]) == 64


def test_a_network_that_fails_before_the_compiler_has_its_reason_in_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MienError("expected simplification to keep the logits")

    monkeypatch.setattr(zoo_compiles, "make_network", lambda *_: build_network("small-vgg", 7))
    monkeypatch.setattr(zoo_compiles, "onnx_from_torch", refuse)
    row = zoo_compiles.compile_variant(NETWORK, np.zeros((2, 1, 48, 48), np.uint8))
    assert row["engine"] == {"status": "expected simplification to keep the logits"}


@pytest.fixture
def said(fer2013: LabelledFaces, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the compiler says of a network, by its name; `built` unless told. No network is made."""
    said: dict[str, str] = {}

    def compile_variant(variant: Variant, calibration: np.ndarray) -> dict[str, object]:
        how = variant.input
        assert calibration.shape == (64, how.channels, how.height, how.width)
        return {"engine": vars(EngineFigures(said.pop(variant.name, "built")))}

    monkeypatch.setattr(zoo_compiles, "compile_variant", compile_variant)
    monkeypatch.setattr(zoo_compiles, "load_fer2013",
                        lambda path: fer2013.where(np.arange(0, len(fer2013), 100)))
    return said


def make(record: Path, only: str = "vgg19") -> int:
    return zoo_compiles.main(["--data", "fer2013", "--record", str(record), "--only", only])


def test_a_refused_graph_ends_with_1_and_is_tried_again(said: dict[str, str], tmp_path: Path, capsys) -> None:
    said["vgg19 44×44×1"] = "no such operator"
    assert make(tmp_path / "record.json") == 1
    assert "vgg19 44×44×1: no such operator" in capsys.readouterr().err
    assert make(tmp_path / "record.json") == 0
    rows = json.loads((tmp_path / "record.json").read_text())["networks"]
    assert list(rows) == [v.name for v in zoo() if "vgg19" in v.name]
    assert {row["engine"]["status"] for row in rows.values()} == {"built"}


def test_what_was_built_is_not_built_again(said: dict[str, str], tmp_path: Path) -> None:
    assert make(tmp_path / "record.json") == 0
    said["vgg19 44×44×1"] = "asked a second time"
    assert make(tmp_path / "record.json") == 0
