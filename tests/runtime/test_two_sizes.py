"""A frame is searched whole and at half its side: large faces are found once, and small ones still are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.card import load_model
from runtime.engines.engine import Engine
from runtime.faces import open_detector
from runtime.faces.detector import Faces
from runtime.faces.model_detector import LARGEST_WHOLE, SMALLEST_HALVED, ModelDetector, join


class FixedSize:
    """An engine as a GPU's: pictures of 640×480 and no other."""

    target, precision = "tensorrt", "fp32"

    def __init__(self, engine: Engine):
        self._engine, self.outputs, self.runs = engine, engine.outputs, 0
        self.inputs = tuple(replace(spec, shape=(1, 1, 480, 640)) for spec in engine.inputs)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert [array.shape for array in arrays.values()] == [spec.shape for spec in self.inputs]
        self.runs += 1
        return self._engine.run(arrays)

    def close(self) -> None:
        self._engine.close()


def faces(*boxes: tuple[float, float, float, float]) -> Faces:
    box = np.array(boxes, np.float32).reshape(-1, 4)
    return Faces(box, np.zeros((len(box), 5, 2), np.float32), np.linspace(0.9, 0.8, len(box), dtype=np.float32))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    shared = (np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(shared / (a[2:].prod() + b[2:].prod() - shared))


@pytest.mark.parametrize(("width", "size"), [
    (40, (640, 480)), (110, (640, 480)), (185, (640, 480)), (260, (640, 480)), (340, (640, 480)), (400, (640, 480)),
    (330, (352, 288)), (300, (382, 382)), (330, (382, 382))])  # a small camera's frame is filled by less
def test_one_face_of_any_width_is_found_once(width: int, size: tuple[int, int], face_photo: np.ndarray) -> None:
    across, down = size
    scale = width / 185  # the photograph's face
    photo = cv2.resize(face_photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full((down, across, 3), 127, np.uint8)
    # the face's centre, in shares of the photograph, comes to the frame's
    x, y = across // 2 - round(0.53 * photo.shape[1]), down // 2 - round(0.37 * photo.shape[0])
    left, top = max(0, x), max(0, y)
    part = photo[top - y:top - y + down - top, left - x:left - x + across - left]
    frame[top:top + part.shape[0], left:left + part.shape[1]] = part
    detector = open_detector("mien-face", threads=1)
    try:
        found = detector.detect(frame)
    finally:
        detector.close()
    assert len(found) == 1
    centre = found.boxes[0, :2] + found.boxes[0, 2:] / 2
    assert np.abs(centre - (across // 2, down // 2)).max() < 0.25 * width
    assert found.boxes[0, 2] == pytest.approx(width, rel=0.25)
    assert found.landmarks is not None
    corner, side = found.boxes[0, :2], found.boxes[0, 2:]
    assert ((found.landmarks[0] > corner) & (found.landmarks[0] < corner + side)).all()


@pytest.mark.parametrize("size", [(480, 562), (64, 75), (2048, 2400), (2400, 300)])
def test_an_engine_of_a_fixed_size_gets_its_size_and_finds_the_same(size: tuple[int, int],
                                                                    face_photo: np.ndarray) -> None:
    opened = open_detector("mien-face", threads=1)
    assert isinstance(opened, ModelDetector)
    engine = FixedSize(opened.engine)
    side = min(size[0] / 512, size[1] / 600)
    photo = cv2.resize(face_photo, None, fx=side, fy=side, interpolation=cv2.INTER_AREA)
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    frame[:photo.shape[0], :photo.shape[1]] = photo[:size[1], :size[0]]
    try:
        found = ModelDetector(load_model(Path("mien-face")), engine, score_threshold=0.75).detect(frame)
    finally:
        opened.close()
    assert engine.runs == 2
    centre = found.boxes[0, :2] + found.boxes[0, 2:] / 2
    assert np.abs(centre / side - (272, 222)).max() < 40  # the face's centre in the photograph


def test_a_part_of_a_large_face_is_no_face() -> None:
    cheek, apart = (150, 150, 100, 100), (420, 10, 60, 60)
    joined = join(faces(cheek, apart), faces((100, 100, 300, 300)))
    assert joined.boxes.tolist() == [[100, 100, 300, 300], list(apart)]
    assert joined.landmarks is not None
    assert len(joined.landmarks) == len(joined.scores) == 2


def test_a_face_before_a_large_one_stays_where_less_than_half_of_it_overlaps() -> None:
    before = (370, 100, 80, 80)
    assert len(join(faces(before), faces((100, 100, 300, 300)))) == 2


def test_each_size_answers_for_its_own() -> None:
    too_large, too_small = (0, 0, LARGEST_WHOLE + 1, 50), (300, 300, 50, 2 * SMALLEST_HALVED - 1)
    assert len(join(faces(too_large), faces(too_small))) == 0


@pytest.mark.parametrize("whole", [[], [(1, 2, 30, 40)]])
@pytest.mark.parametrize("halved", [[], [(200, 2, 300, 340)]])
def test_either_may_be_empty(whole: list[tuple[float, float, float, float]],
                             halved: list[tuple[float, float, float, float]]) -> None:
    assert len(join(faces(*whole), faces(*halved))) == len(whole) + len(halved)
