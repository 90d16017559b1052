"""The record of ONNX Runtime before the integer oracle, on the model that ships."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import export.int8.judge_onnxruntime
import mien
from calibration.integer_oracle.witness import ask_onnxruntime
from export.int8.judge_onnxruntime import judge_onnxruntime
from runtime.card import GoldenFaces, Model


class FewGolden(Model):
    """A model that shows its first golden face only: every draw runs over all of them."""

    def read_golden(self) -> GoldenFaces:
        golden = super().read_golden()
        return dataclasses.replace(golden, faces=golden.faces[:1], logits=golden.logits[:1])


@pytest.fixture(scope="module")
def faces(shipped: Model) -> np.ndarray:
    return shipped.read_golden().faces[3:5]


@pytest.fixture(scope="module")
def record(shipped: Model, faces: np.ndarray) -> dict:
    return judge_onnxruntime(FewGolden(shipped.directory, shipped.card), "cpu", faces, draws=4)


def test_every_way_is_judged_and_legal(record: dict) -> None:
    assert record["legal"] and [way["fusions"] for way in record["judged"]] == [False, True]
    for way in record["judged"]:
        assert way["illegal"] == 0 < way["undecided"] < way["integers"] == sum(
            t["elements"] for t in way["tensors"] if t["tensor"] != "logits")


def test_the_record_names_the_file_and_the_machine_and_is_json(shipped: Model, record: dict) -> None:
    assert record["sha256"] == shipped.card.graphs["int8"].sha256 and record["images"] == 2
    assert "int8_instructions" in record["made_on"]
    json.dumps(record, allow_nan=False)


def test_the_golden_bound_is_the_exact_departure_and_what_is_legal_beyond(record: dict) -> None:
    golden = record["golden"]
    assert golden["bound"] == golden["exact_departure"] + golden["legal_departure"]
    assert 0 < golden["exact_departure"] < golden["bound"] < 1 and golden["draws"] == 4
    assert golden["onnxruntime_departure"] < golden["bound"]


def test_without_draws_no_bound_is_derived(shipped: Model, faces: np.ndarray) -> None:
    assert "golden" not in judge_onnxruntime(shipped, "gpu", faces[:1], draws=0)


def test_an_illegal_integer_is_told_with_its_layer(shipped: Model, faces: np.ndarray,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(model: onnx.ModelProto, faces: np.ndarray, fuse: bool) -> dict[str, np.ndarray]:
        seen = ask_onnxruntime(model, faces, fuse)
        seen["relu_4_q"][0, 7, 2, 3] += 2
        return seen

    monkeypatch.setattr(export.int8.judge_onnxruntime, "ask_onnxruntime", ask)
    record = judge_onnxruntime(shipped, "gpu", faces[:1], draws=0)
    assert not record["legal"] and record["judged"][0]["illegal"] >= 1
    assert any("first in layer node_Conv_162, tensor relu_4_q: face 0, element (7, 2, 3): expected" in line
               for line in record["lines"])


def test_the_command_writes_its_record(fer2013, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.datasets.fer2013.load_fer2013", lambda _: fer2013)  # decoded once for all tests
    file = tmp_path / "record.json"
    assert mien.main(["oracle", "mien-light", "--form", "gpu", "--data", "PATH", "-n", "1",
                      "--record", str(file)]) == 0
    record = json.loads(file.read_text())
    assert record["data"]["images"] == 1 and len(record["data"]["sha256"]) == 64 and record["graph"] == "int8-gpu"
    assert "lines" not in record
