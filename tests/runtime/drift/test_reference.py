"""FP32 beside the engine: its answers, its histograms, and what lies beyond the calibrated range."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_model import TinyNetwork
from watched_model import random_faces, watched_model

from runtime.card import Model
from runtime.drift.reference import Reference
from runtime.errors import MienError
from runtime.histogram import Histogram
from runtime.ranges_file import decode_ranges, encode_ranges

FACES = random_faces(5)


@pytest.fixture
def calibrated(tmp_path: Path) -> Model:
    """A model whose card says that calibration chose 0.5 for the normalized pixels."""
    model = watched_model(tmp_path / "model")
    card = dataclasses.replace(model.card, calibration={"thresholds": {"unit": 0.5, "pooled": 1.0}})
    return dataclasses.replace(model, card=card)


@pytest.fixture
def reference(calibrated: Model) -> Iterator[Reference]:
    opened = Reference(calibrated)
    yield opened
    opened.close()


def test_it_answers_as_the_network_does(reference: Reference) -> None:
    for face in FACES:
        np.testing.assert_allclose(reference.run(face).logits, TinyNetwork.random().logits(face[None])[0], atol=1e-5)


def test_the_share_beyond_the_range_is_counted_over_all_tensors(reference: Reference) -> None:
    face = np.zeros((1, 48, 48), np.uint8)
    assert reference.run(face).beyond_range == 0
    face[0, 0, :10] = 255
    assert reference.run(face).beyond_range == 10 / (48 * 48 + 36)


def test_pixels_that_int8_holds_exactly_are_never_beyond(calibrated: Model) -> None:
    card = dataclasses.replace(calibrated.card, calibration=calibrated.card.calibration | {"exact_pixels": "unit"})
    reference = Reference(dataclasses.replace(calibrated, card=card))
    assert reference.run(np.full((1, 48, 48), 255, np.uint8)).beyond_range == 0
    assert reference.ranges is not None and reference.ranges.histograms["unit"].largest == 1
    reference.close()


def test_the_histograms_are_those_of_every_face_seen(reference: Reference) -> None:
    for face in FACES:
        reference.run(face)
    wanted = Histogram()
    wanted.add(FACES / np.float32(255))
    ranges = reference.ranges
    assert ranges is not None and ranges.images == 5
    assert ranges.histograms["unit"].counts.tolist() == wanted.counts.tolist()
    assert encode_ranges(decode_ranges(encode_ranges(ranges))) == encode_ranges(ranges)


def test_it_goes_on_from_histograms_of_the_same_graph_only(reference: Reference, calibrated: Model) -> None:
    for face in FACES:
        reference.run(face)
    assert reference.ranges is not None
    next_one = Reference(calibrated)
    assert next_one.go_on_from(reference.ranges)
    next_one.run(FACES[0])
    assert next_one.ranges is not None and next_one.ranges.images == 6
    assert next_one.ranges.histograms["unit"].total == 6 * 48 * 48
    foreign = dataclasses.replace(reference.ranges, graph_sha256="0" * 64)
    assert not next_one.go_on_from(foreign) and next_one.faces == 6


def test_an_uncalibrated_model_has_no_ranges(tmp_path: Path) -> None:
    reference = Reference(watched_model(tmp_path / "m"))
    assert reference.run(FACES[0]).beyond_range is None and reference.ranges is None


def test_an_activation_that_is_not_finite_is_refused(calibrated: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference(calibrated)
    real = reference._engine.run
    monkeypatch.setattr(reference._engine, "run", lambda arrays: {
        **real(arrays), "pooled": np.full((1, 1, 6, 6), np.nan, np.float32)})
    with pytest.raises(MienError, match="expected finite FP32 activations"):
        reference.run(FACES[0])
    assert reference.faces == 0 and reference.histograms["unit"].total == 0
