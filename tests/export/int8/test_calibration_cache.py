"""A model's scales as NVIDIA's calibration cache: the file is the model's own, or refused with what makes it again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import mien
from calibration.tensorrt_cache import read_calibration_cache
from export.int8.calibration_cache import key_of, require_own_cache, save_cache, scales_of
from runtime.card import FileEntry, Model, ModelCard
from runtime.errors import BadInput


@pytest.fixture
def cache(shipped: Model, tmp_path: Path) -> Path:
    """The shipped model's cache for JetPack 6."""
    save_cache(tmp_path / "calibration.cache", shipped.card, "10.3.0")
    return tmp_path / "calibration.cache"


def test_a_cache_holds_the_scales_of_the_models_int8(shipped: Model, cache: Path) -> None:
    assert read_calibration_cache(cache, key_of(shipped.card)) == scales_of(shipped.card)
    assert require_own_cache(cache, shipped.card) == len(shipped.card.calibration["thresholds"])


def recalibrated(card: ModelCard, **facts: Any) -> ModelCard:
    return dataclasses.replace(card, calibration=card.calibration | facts)


def retrained(card: ModelCard) -> ModelCard:
    return dataclasses.replace(card, graphs=card.graphs | {"fp32": FileEntry("fp32.onnx", "0" * 64, 1)})


def of_other_faces(card: ModelCard) -> ModelCard:
    return recalibrated(card, images_sha256="0" * 64)


def by_another_method(card: ModelCard) -> ModelCard:
    thresholds = card.calibration["thresholds"]
    return recalibrated(card, thresholds=thresholds | {"relu_3": thresholds["relu_3"] * 1.01})


def with_a_layer_less(card: ModelCard) -> ModelCard:
    return recalibrated(card, thresholds={n: t for n, t in card.calibration["thresholds"].items() if n != "relu_3"})


@pytest.mark.parametrize(("change", "found"), [
    (retrained, "another graph_sha256"), (of_other_faces, "another images_sha256"),
    (by_another_method, "1 of 12 tensors, relu_3 first"), (with_a_layer_less, "1 of 11 tensors, relu_3 first"),
    (lambda card: dataclasses.replace(card, calibration={}), "mien-light without INT8")])
def test_a_cache_of_something_else_is_refused_with_what_makes_it_again(
        shipped: Model, cache: Path, change: Any, found: str) -> None:
    with pytest.raises(BadInput, match=f"{found}.*; mien calibrate MODEL --images PATH --tensorrt-cache FILE"):
        require_own_cache(cache, change(shipped.card))


def test_the_verb_checks_a_cache_and_calibrates_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["calibrate", "mien-light", "--check-cache", str(cache), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"model": "mien-light", "cache": "calibration.cache", "scales": 12}
    assert "12 scales, all of them mien-light's own" in told.err


def test_the_verb_refuses_a_cache_that_was_changed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.write_text(cache.read_text().replace(": 3", ": 4", 1))
    assert mien.main(["calibrate", "mien-light", "--check-cache", str(cache)]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert "found another cache_sha256; mien calibrate MODEL" in line


@pytest.mark.parametrize("flag", ["--images", "--from-histograms", "--tensorrt-cache"])
def test_checking_is_not_calibrating(cache: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert mien.main(["calibrate", "mien-light", "--check-cache", str(cache), flag, "x"]) == 2
    assert f"expected --check-cache alone, found it with {flag}" in capsys.readouterr().err
