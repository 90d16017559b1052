"""The verbs, on real pictures and a real teacher, with a detector that has learnt nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tiny_detector import RECIPE, untrained

import mien
from runtime.card import load_model
from train.checkpoint import save_checkpoint
from train.faces.labels import FaceLabels, save_labels

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def where(small_data: Path, labels: FaceLabels, tmp_path: Path) -> list[str]:
    """The flags that name data and labels."""
    save_labels(labels, tmp_path / "labels.npz")
    return ["--data", str(small_data), "--labels", str(tmp_path / "labels.npz")]


def test_export_calibrate_check_and_compare(where: list[str], labels: FaceLabels, mien_data: Path, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"format": 1, "task": "face", "network": "face-detector",
             "recipe": json.loads(json.dumps(dataclasses.asdict(RECIPE))), "data": {"sha256": labels.sha256()}}
    save_checkpoint(tmp_path / "best", untrained().state_dict(), facts)
    model = str(tmp_path / "tiny-face")
    assert mien.main(["faces", "export", str(tmp_path / "best"), "--out", model, "--scenes", "4", *where]) == 0
    assert 0.05 <= load_model(Path(model)).card.score_threshold <= 0.95
    assert mien.main(["faces", "calibrate", model, "-n", "4", *where]) == 0
    assert load_model(Path(model)).card.calibration["images_from"]["split"] == "training"
    capsys.readouterr()
    code = mien.main(["faces", "check", model, "--precision", "fp16", "--scenes", "4", "--json", *where])
    record = json.loads(capsys.readouterr().out)
    assert code == (0 if record["passed"] else 1 if record["broken"] else 4)
    assert record["data"]["part"] == "reported"
    gallery, report = tmp_path / "gallery.jpg", tmp_path / "record.json"
    yunet = str(mien_data / "models" / "yunet_n_dynamic.onnx")
    assert mien.main(["faces", "compare", model, "--teacher", yunet, "--scenes", "4", "--gallery", str(gallery),
                      "--record", str(report), *where]) == 0
    found = json.loads(report.read_text())["detectors"]
    assert found["yunet"]["24 px and more"]["ap50"] > found["tiny-face fp32"]["24 px and more"]["ap50"]
    assert gallery.read_bytes().startswith(b"\xff\xd8")


def test_an_expression_model_is_told_its_own_verbs(where: list[str], tiny_model: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    assert mien.main(["faces", "check", str(tmp_path / "model"), *where]) == 2
    assert "mien check" in capsys.readouterr().err
