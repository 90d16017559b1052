"""A detector that has learnt nothing, exported as one that has: the road does not ask what weights say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from face_data import labels as labels
from face_data import small_data as small_data
from face_data import teacher as teacher
from tiny_detector import RECIPE, untrained

from export.faces.detector_from_checkpoint import detector_from_checkpoint
from runtime.card import Model, load_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model directory (read-only: copy it to change it)."""
    out = tmp_path_factory.mktemp("detector") / "tiny-face"
    facts = {"network": "face-detector", "recipe": dataclasses.asdict(RECIPE), "sha256": "0" * 64}
    detector_from_checkpoint(untrained(), facts, out, 0.6)
    return out


@pytest.fixture
def face_model(exported: Path) -> Model:
    """The same, loaded."""
    return load_model(exported)
