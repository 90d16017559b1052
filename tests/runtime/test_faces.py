"""Face detectors: outputs become boxes inside the frame, largest first, never more than asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opencv_four import needs_haar

from runtime.errors import BadInput, BadModel, Unavailable
from runtime.faces import open_detector
from runtime.faces.anchor_free import CHANNELS, STRIDES, decode, suppress
from runtime.faces.detector import Faces, keep_largest
from runtime.faces.haar import HaarDetector
from runtime.faces.letterbox import letterbox
from runtime.faces.yunet import YuNetDetector
from runtime.tracks.tracks import overlaps

FACE = (155, 98, 230, 233)  # of grace_hopper.jpg, by eye: from hat to chin


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    meet = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.maximum(meet, 0))
    return float(shared / (np.prod(a[2:]) + np.prod(b[2:]) - shared))


def found(*boxes: tuple[float, ...]) -> Faces:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Faces(array, np.zeros((len(array), 5, 2), np.float32), np.ones(len(array), np.float32))


def test_the_largest_come_first_and_no_more_than_asked() -> None:
    kept = keep_largest(found((0, 0, 10, 10), (0, 0, 30, 30), (0, 0, 20, 20)), (100, 100), 2)
    assert kept.boxes[:, 2].tolist() == [30, 20]
    assert len(kept.scores) == len(kept.landmarks) == 2


def test_boxes_are_clipped_to_the_frame() -> None:
    kept = keep_largest(found((-10, 80, 40, 30)), (100, 100), 8)
    assert kept.boxes.tolist() == [[0, 80, 30, 20]]


@pytest.mark.parametrize("box", [(-30, 0, 40, 40), (200, 0, 20, 20), (0, 0, 4, 40), (0, 0, -20, 20), (5, 5, 0, 0),
                                 (np.nan, 0, 20, 20), (0, 0, np.inf, 20), (0, 0, 3e38, 3e38)])
def test_a_box_mostly_outside_tiny_or_not_finite_is_dropped(box: tuple[float, ...]) -> None:
    assert len(keep_largest(found(box), (100, 100), 8)) == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 4), max_size=20), st.integers(1, 8))
def test_whatever_is_found_every_box_lies_in_the_frame(boxes: list[tuple[float, ...]], most: int) -> None:
    kept = keep_largest(found(*boxes), (320, 240), most).boxes
    assert len(kept) <= most
    assert (kept[:, :2] >= 0).all() and (kept[:, :2] + kept[:, 2:] <= (320.001, 240.001)).all()
    assert (kept[:, 2:] > 0).all()


@needs_haar
def test_haar_finds_the_face_of_the_photograph(face_photo: np.ndarray) -> None:
    faces = HaarDetector().detect(face_photo)
    assert len(faces) == 1
    assert overlap(faces.boxes[0], np.array(FACE)) > 0.5
    assert faces.landmarks is None
    assert 0 < faces.scores[0] < 1


@needs_haar
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_haar_gives_boxes_in_the_frames_own_pixels(face_photo: np.ndarray, scale: float) -> None:
    detector = HaarDetector()
    faces = detector.detect(cv2.resize(face_photo, None, fx=scale, fy=scale))
    assert overlap(faces.boxes[0] / scale, np.array(FACE)) > 0.5
    assert detector.scale == pytest.approx(min(1, 320 / (600 * scale)), rel=0.01)


@needs_haar
@pytest.mark.parametrize("size", [(1, 1), (5, 400), (19, 19), (480, 640)])
def test_haar_finds_nothing_in_an_empty_frame(size: tuple[int, int]) -> None:
    assert len(HaarDetector().detect(np.full((*size, 3), 90, np.uint8))) == 0


@needs_haar
def test_haar_returns_at_most_max_faces(face_photo: np.ndarray) -> None:
    pair = np.hstack([face_photo, face_photo])
    assert len(HaarDetector(8).detect(pair)) == 2
    assert len(HaarDetector(1).detect(pair)) == 1


@needs_haar
@pytest.mark.parametrize("frame", [
    np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)])
def test_another_kind_of_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(BadInput, match="expected a frame"):
        HaarDetector().detect(frame)


@needs_haar
def test_an_opencv_without_cascades_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")  # OpenCV 5 has none
    with pytest.raises(Unavailable, match=r"opencv-python-headless<5.*mien-face"):
        HaarDetector()


@needs_haar
def test_opencv_without_its_cascade_file_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    monkeypatch.setattr("runtime.faces.haar.SYSTEM_FOLDERS", ())
    with pytest.raises(Unavailable, match="haarcascade_frontalface"):
        HaarDetector()


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(BadInput, match="'haar' or the path"):
        open_detector("mtcnn")


def test_a_missing_yunet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.onnx"):
        open_detector(str(tmp_path / "nowhere.onnx"))


def test_an_expression_model_is_no_yunet(tiny_model: Path) -> None:
    with pytest.raises(BadModel, match=f"YuNet's outputs.*; give the model's directory, {tiny_model}"):
        open_detector(str(tiny_model / "fp32.onnx"))


def heads(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """YuNet's outputs for a picture of (width, height) in which nothing was found."""
    cells = {stride: (size[0] // stride) * (size[1] // stride) for stride in STRIDES}
    return {f"{name}_{stride}": np.zeros((1, cells[stride], channels), np.float32)
            for name, channels in CHANNELS.items() for stride in STRIDES}


def test_a_cell_decodes_by_the_papers_equations() -> None:
    outputs, cell = heads((64, 32)), 1 * 4 + 2  # stride 16: row 1, column 2 of 4
    outputs["cls_16"][0, cell], outputs["obj_16"][0, cell] = 0.9, 0.4
    outputs["bbox_16"][0, cell] = (0.5, 0.25, np.log(2), np.log(1.5))
    outputs["kps_16"][0, cell] = np.arange(10) / 10
    faces = decode(outputs, (64, 32), 0.5)
    assert faces.scores == pytest.approx([0.6])  # √(0.9 · 0.4)
    assert faces.boxes[0] == pytest.approx([(2.5 * 16) - 16, (1.25 * 16) - 12, 32, 24])
    assert faces.landmarks[0, 1] == pytest.approx([(2 + 0.2) * 16, (1 + 0.3) * 16])


def test_a_score_below_the_threshold_is_no_face() -> None:
    outputs = heads((64, 32))
    outputs["cls_8"][0, 0], outputs["obj_8"][0, 0] = 0.5, 0.5
    assert len(decode(outputs, (64, 32), 0.51)) == 0


def test_nan_and_overflow_in_the_heads_end_as_no_face() -> None:
    outputs = {name: np.full_like(head, np.nan) for name, head in heads((64, 32)).items()}
    outputs["cls_8"][:], outputs["obj_8"][:], outputs["bbox_8"][:] = 1, 1, 1e30
    assert len(keep_largest(decode(outputs, (64, 32), 0.5), (64, 32), 8)) == 0


def test_heads_of_another_size_are_refused() -> None:
    with pytest.raises(BadModel, match="no YuNet"):
        decode(heads((64, 32)), (64, 64), 0.5)


def test_of_two_boxes_on_one_face_the_better_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 10, 10], [50, 50, 10, 10]], np.float32)
    assert suppress(boxes, np.array([0.7, 0.9, 0.8]), 0.3).tolist() == [1, 2]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_suppression_is_opencvs(seed: int, count: int) -> None:
    """Of boxes no pair of which overlaps by the threshold itself: OpenCV judges in float32, and may round across it."""
    generator = np.random.default_rng(seed)
    boxes = np.concatenate([generator.uniform(0, 60, (count, 2)), generator.uniform(5, 40, (count, 2))], 1)
    assume(not (np.abs(overlaps(boxes, boxes) - 0.3) < 1e-6).any())
    scores = generator.permutation(count).astype(np.float32) / 100 + 0.1
    theirs = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, 0.3)
    assert suppress(boxes, scores, 0.3).tolist() == list(theirs)


def test_a_crowd_of_candidates_costs_bounded_memory() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (50_000, 1))
    assert len(suppress(boxes, np.linspace(0, 1, 50_000), 0.3)) == 1


@pytest.mark.parametrize(("size", "tensor"), [
    ((480, 640), (480, 640)), ((1080, 1920), (384, 640)), ((50, 70), (64, 96))])
def test_a_free_size_is_shrunk_and_padded_to_multiples_of_32(size: tuple[int, int], tensor: tuple[int, int]) -> None:
    for channels in ((), (3,)):
        picture, scale = letterbox(np.full((*size, *channels), 255, np.uint8), None, 640)
        assert picture.shape == (*tensor, *channels)
        seen = (picture == 255).reshape(*tensor, -1).all(axis=2)
        assert seen.sum() == round(size[0] * scale) * round(size[1] * scale)
        assert seen[: round(size[0] * scale), : round(size[1] * scale)].all()


@pytest.mark.parametrize("graph", ["yunet_n_320_320.onnx", "yunet_n_dynamic.onnx"])
def test_yunet_finds_face_and_landmarks(mien_data: Path, face_photo: np.ndarray, graph: str) -> None:
    faces = YuNetDetector(mien_data / "models" / graph).detect(face_photo)
    assert len(faces) == 1
    assert overlap(faces.boxes[0], np.array(FACE)) > 0.4
    right_eye, left_eye, nose, right_mouth, left_mouth = faces.landmarks[0]
    assert right_eye[0] < nose[0] < left_eye[0]  # the person's right is the picture's left
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_yunet_agrees_with_opencvs_own_decoder(mien_data: Path, face_photo: np.ndarray) -> None:
    path = mien_data / "models" / "yunet_n_320_320.onnx"
    theirs = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, 0.3, 5000)
    ours = YuNetDetector(path, max_faces=100, score_threshold=0.6)
    frames = [cv2.imread(str(p)) for p in sorted((mien_data / "heads").glob("*.jpg"))[:40]]
    collage = np.vstack([np.hstack([cv2.resize(f, (160, 160)) for f in frames[r : r + 2]]) for r in (0, 2)])
    faces_seen = 0
    for frame in (*(cv2.resize(f, (320, 320)) for f in frames), collage):
        _, expected = theirs.detect(frame)
        expected = np.zeros((0, 15), np.float32) if expected is None else expected
        faces = ours.detect(frame)
        inside = [row for row in expected if len(keep_largest(found(tuple(row[:4])), (320, 320), 1))]
        assert len(faces) == len(inside)
        for row in inside:
            clipped = keep_largest(found(tuple(row[:4])), (320, 320), 1).boxes[0]
            nearest = int(np.abs(faces.boxes - clipped).sum(axis=1).argmin())
            # FaceDetectorYN suppresses on whole pixels, so of two near-equal boxes it may keep the other
            assert overlap(faces.boxes[nearest], clipped) > 0.9
            assert faces.scores[nearest] == pytest.approx(row[14], abs=0.02)
            if np.abs(faces.boxes[nearest] - clipped).max() < 0.5:
                assert np.abs(faces.landmarks[nearest].ravel() - row[4:14]).max() < 0.5
        faces_seen += len(faces)
    assert faces_seen >= 40


def test_the_dynamic_graph_agrees_with_the_fixed_one(mien_data: Path) -> None:
    fixed = YuNetDetector(mien_data / "models" / "yunet_n_320_320.onnx")
    free = YuNetDetector(mien_data / "models" / "yunet_n_dynamic.onnx")
    frame = cv2.resize(cv2.imread(str(sorted((mien_data / "heads").glob("*.jpg"))[0])), (320, 320))
    assert np.abs(fixed.detect(frame).boxes - free.detect(frame).boxes).max() < 0.5
