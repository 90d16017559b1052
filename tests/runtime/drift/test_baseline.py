"""`drift.json`: read strictly, and only as far as it is of the files that the card names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tiny_model import write_tiny_model
from watched_model import watched_model

from runtime.card import FileEntry, Model, load_model, save_card
from runtime.drift.baseline import FILE, Baseline, read_baseline
from runtime.drift.bins import Bins
from runtime.errors import BadModel

BINS = Bins((0.0,), (1, 1))


def with_graphs(model: Model, **hashes: str) -> Model:
    graphs = {name: FileEntry(f"{name}.onnx", digest, 1) for name, digest in hashes.items()}
    return dataclasses.replace(model, card=dataclasses.replace(model.card, graphs=model.card.graphs | graphs))


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    baseline = read_baseline(watched_model(tmp_path / "m"))
    assert baseline is not None and baseline.faces == 600 and set(baseline.world) == {
        "brightness", "contrast", "sharpness"}
    assert baseline.to_json() == (tmp_path / "m" / FILE).read_text()


def test_a_model_without_one_has_none(tmp_path: Path) -> None:
    assert read_baseline(load_model(write_tiny_model(tmp_path / "m"))) is None


def test_an_engines_part_holds_for_the_very_file_only(tmp_path: Path) -> None:
    model = watched_model(tmp_path / "m")
    baseline = read_baseline(model)
    assert baseline is not None
    assert baseline.of_engine(model, "fp32") == Bins((-9.0,), (600, 0))
    assert baseline.of_engine(with_graphs(model, fp32="0" * 64), "fp32") is None
    assert baseline.of_engine(with_graphs(model, int8="0" * 64), "int8") is None


def test_another_fp32_or_calibration_leaves_what_is_of_the_crop(tmp_path: Path) -> None:
    model = with_graphs(watched_model(tmp_path / "m"), fp32="a" * 64, int8="b" * 64)
    names = ("brightness", "confidence", "energy", "beyond_range")
    baseline = Baseline("a" * 64, "b" * 64, 9, {}, dict.fromkeys(names, BINS))
    assert set(baseline.of_world(model)) == set(names)
    assert set(baseline.of_world(with_graphs(model, int8="c" * 64))) == set(names[:3])
    assert set(baseline.of_world(with_graphs(model, fp32="c" * 64))) == {"brightness"}


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    model = watched_model(tmp_path / "m")
    (tmp_path / "m" / FILE).write_text((tmp_path / "m" / FILE).read_text().replace("600", "601"))
    with pytest.raises(BadModel, match="expected the bytes whose hash is in card.json"):
        read_baseline(model)


@pytest.mark.parametrize("change", [{"version": 2}, {"faces": "many"}, {"extra": 1}, {"world": {"brightness": {
    "edges": [2.0, 1.0], "counts": [1, 1, 1]}}}])
def test_what_is_no_baseline_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    model = watched_model(tmp_path / "m")
    path = tmp_path / "m" / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    save_card(tmp_path / "m", dataclasses.replace(model.card, drift=FileEntry.of(path)))
    with pytest.raises(BadModel, match="expected a drift baseline in .*; mien drift baseline makes it again"):
        read_baseline(load_model(tmp_path / "m"))
