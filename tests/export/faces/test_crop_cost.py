"""What the crop costs is measured on the same faces, paired, and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import export.faces.crop_cost as module
from export.faces.crop_cost import main
from train.datasets.fer2013 import load_fer2013


def test_the_record_has_both_cuts_of_the_same_faces(mien_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                    ) -> None:
    few = load_fer2013(mien_data / "fer2013").split("PublicTest")
    few = few.where(np.arange(60))
    monkeypatch.setattr(module, "load_fer2013", lambda path: few)
    record = tmp_path / "cost.json"
    assert main(["mien-light", "--data", "any", "--split", "PublicTest", "--record", str(record)]) == 0
    found = json.loads(record.read_text())["splits"]["PublicTest"]
    assert found["faces"] == 60 and 50 <= found["found"] <= 60
    assert found["low"] <= found["points_lost"] <= found["high"]
    assert 0.4 < found["accuracy_own"] <= 1 and 0.3 < found["accuracy_streamed"] <= 1


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "--data", "any"]) == 2
    assert "shipped models" in capsys.readouterr().err
