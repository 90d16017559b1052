"""One face explained: the sentence, the picture, the verb's files and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from export.gate.explain import Explanation, explain
from export.gate.explain_picture import draw_explanation
from export.gate.rounding import LayerOnFace
from runtime.card import Model
from train.expression.pictures.style import save_png


def layer(name: str, beyond: float, clipped: bool = False, step: float = 0.1) -> LayerOnFace:
    flat = np.arange(36.0).reshape(6, 6)
    return LayerOnFace(name, beyond, 3, clipped, step, 25.0, 2.0, flat, flat + step)


FLIPPED = Explanation(
    "m", "a.png", np.zeros((1, 48, 48), np.uint8), ("calm", "glad", "sad"), 1.0, np.array([2.0, 1.9, 0.0]),
    np.array([1.9, 2.0, 0.0]), (layer("first", 0.9), layer("second", 4.0, clipped=True), layer("third", 9.0)), "")
CALM = replace(FLIPPED, engine=FLIPPED.reference, layers=(layer("first", 0.3), layer("second", 0.8)))


def test_a_flip_names_both_answers_and_the_first_layer_beyond_rounding() -> None:
    assert FLIPPED.line == (
        "a.png: calm 49.0% in FP32, glad 49.0% in INT8; layer second is the first beyond rounding, channel 3, "
        "4.0 times what rounding explains, clipped at 12.7; FP32's margin was 0.1 logits")


def test_without_a_flip_it_says_so_and_shows_the_closest_layer() -> None:
    assert CALM.first is None and CALM.shown.layer == "second" and CALM.margin == pytest.approx(0.1)
    assert "both say calm" in CALM.line and "no layer departs beyond rounding, the closest is second" in CALM.line


def test_an_answer_that_is_not_finite_is_no_label() -> None:
    broken = replace(FLIPPED, engine=np.array([np.nan, 1, 2]))
    assert "no finite answer in INT8" in broken.line
    assert json.loads(json.dumps(broken.as_dict(), allow_nan=False))["engine"] == "none"


def test_illegal_integers_are_the_backends_and_told() -> None:
    assert "integers are illegal, first in layer x" in replace(CALM, illegal="first in layer x: element").line


@pytest.mark.parametrize("found", [
    FLIPPED, CALM, replace(FLIPPED, face=np.zeros((3, 8, 8), np.uint8), engine=np.array([np.nan, 1, 2])),
    replace(CALM, layers=(replace(layer("dense", float("inf"), step=0), sqnr=float("nan"), steps=float("nan"),
                                  reference=np.ones((1, 1)), engine=np.full((1, 1), np.nan)),))])
def test_whatever_was_found_is_one_whole_picture(found: Explanation, tmp_path: Path) -> None:
    save_png(draw_explanation(found), tmp_path / "e.png")
    image = cv2.imread(str(tmp_path / "e.png"))
    assert image is not None and image.shape[0] > 900 and image.std() > 10


def test_a_layer_beyond_rounding_is_red_and_none_is_without(tmp_path: Path) -> None:
    def reds(found: Explanation) -> int:
        save_png(draw_explanation(found), tmp_path / "e.png")
        image = cv2.imread(str(tmp_path / "e.png")).astype(int)
        return int((np.abs(image - (0x00, 0x5E, 0xD5)).sum(axis=2) < 8).sum())  # style.RED, blue first

    assert reds(FLIPPED) > 500 and reds(CALM) == 0


@pytest.fixture(scope="module")
def golden(shipped: Model) -> np.ndarray:
    return shipped.read_golden().faces[0]


def test_the_shipped_models_integers_are_legal_and_its_answers_the_engines(shipped: Model, golden: np.ndarray) -> None:
    found = explain(shipped, golden, "golden")
    assert found.illegal == "" and len(found.layers) == 11
    assert np.abs(found.reference - shipped.read_golden().logits[0]).max() < 1e-3
    assert 0 < np.abs(found.engine - found.reference).max() < shipped.card.golden_bound["int8"]


def test_the_verb_draws_a_file_and_prints_one_object(golden: np.ndarray, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), golden[0])
    out = tmp_path / "deep" / "explained.png"
    assert mien.main(["explain", "mien-light", str(tmp_path / "face.png"), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["image"] == "face.png" and len(found["layers"]) == 11 and cv2.imread(str(out)) is not None
    assert said.err.startswith("face.png: ") and str(out) in said.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert mien.main(["explain", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mien: expected ") and said.count("\n") == 1
    return said


def test_an_image_or_a_data_set_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "found neither" in refused(capsys, "mien-light")
    assert "found both" in refused(capsys, "mien-light", "x.png", "--data", tmp_path)
    assert "--data PATH with --check" in refused(capsys, "mien-light", "x.png", "--check", "c.json")
    assert "a file to write" in refused(capsys, "mien-light", "x.png", "--out", tmp_path)


@pytest.fixture
def own_faces(shipped: Model, tmp_path: Path) -> Path:
    """Golden faces in two folders."""
    for place, face in enumerate(shipped.read_golden().faces[:4]):
        folder = tmp_path / "faces" / shipped.card.labels[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{place}.png"), face[0])
    return tmp_path / "faces"


@pytest.fixture
def record(shipped: Model, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes what explain reads of a check's record."""
    def write(**changes: object) -> Path:
        values = {"graph": "int8", "sha256": shipped.card.graphs["int8"].sha256,
                  "flips": [{"image": "angry/0.png"}, {"image": "disgust/3.png"}, {"image": "gone.png"}]} | changes
        (tmp_path / "check.json").write_text(json.dumps(values))
        return tmp_path / "check.json"

    return write


def test_a_flip_is_taken_from_a_checks_record(own_faces: Path, record: Callable[..., Path], tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["explain", "mien-light", "--data", str(own_faces), "--check", str(record()), "--flip", "2",
                      "--out", str(tmp_path / "e.png")]) == 0
    assert capsys.readouterr().err.startswith("disgust/3.png: ")


@pytest.mark.parametrize(("flip", "changes", "words"), [
    (4, {}, "--flip of 1–3, found 4"), (1, {"flips": []}, "no label flipped"), (3, {}, "gone.png of"),
    (1, {"flips": None}, "lists flips"), (1, {"graph": "fp16"}, "found one of fp16"),
    (1, {"sha256": "0" * 64}, "check this model")])
def test_a_flip_that_cannot_be_shown_is_refused(own_faces: Path, record: Callable[..., Path], flip: int,
                                                changes: dict[str, object], words: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(capsys, "mien-light", "--data", own_faces, "--check", record(**changes), "--flip", flip)


def test_without_a_record_both_networks_look_for_flips(own_faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no label flipped" in refused(capsys, "mien-light", "--data", own_faces)
