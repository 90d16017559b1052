"""Fault 14: no face, fifty faces, boxes over the edge. Cost stays bounded, crops lie in the frame, the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.camera.source import Frame, FrameSource
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.expressions import ExpressionReader
from runtime.faces.detector import Faces, keep_largest
from runtime.faces.haar import HaarDetector
from runtime.pipeline import Pipeline, Scene, Tally
from runtime.tracks.tracking import FaceTracker
from runtime.tracks.tracks import TrackRules

WIDTH, HEIGHT = 640, 480
MOST = 6
FRAMES = 12


class Composites(FrameSource):
    """The same face pasted at these boxes; the picture moves 3 px to the right with each frame."""

    def __init__(self, photo: np.ndarray, boxes: np.ndarray):
        self.boxes = boxes
        self.name, self.fps, self.size, self.damaged = "composites", 25.0, (WIDTH, HEIGHT), 0
        face = photo[60:360, 130:410]
        wide = np.full((HEIGHT + 400, WIDTH + 400, 3), 120, np.uint8)  # a margin for what lies over the edge
        for x, y, width, height in boxes.round().astype(int) + np.array([200, 200, 0, 0]):
            wide[y : y + height, x : x + width] = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
        self._wide = wide

    def __iter__(self) -> Iterator[Frame]:
        for index in range(FRAMES):
            left = 200 - 3 * index
            yield Frame(np.ascontiguousarray(self._wide[200 : 200 + HEIGHT, left : left + WIDTH]), index, index / 25)

    def close(self) -> None:
        """Nothing is open."""


class Everywhere:
    """Says that the boxes are faces wherever they have moved to, as a detector would: clipped, largest first."""

    name = "everywhere"

    def __init__(self, boxes: np.ndarray, most: int):
        self._boxes, self._most, self.calls = boxes, most, 0

    def detect(self, frame: np.ndarray) -> Faces:
        self.calls += 1
        found = Faces(self._boxes.astype(np.float32), None, np.ones(len(self._boxes), np.float32))
        return keep_largest(found, (WIDTH, HEIGHT), self._most)

    def close(self) -> None:
        """Nothing is open."""


class Counted(ExpressionReader):
    """Remembers how many crops the network was asked for at once."""

    batches: list[int]

    def infer(self, crops: np.ndarray):  # type: ignore[no-untyped-def]
        self.batches.append(len(crops))
        return super().infer(crops)


@pytest.fixture
def reader(tiny_model: Path) -> Counted:
    model = load_model(tiny_model)
    counted = Counted(model, open_engine(model, "fp32", "cpu"))
    counted.batches = []
    return counted


def crowd(count: int) -> np.ndarray:
    places = np.arange(count)
    return np.stack([places % 10 * 60 + 8.0, places // 10 * 90 + 8.0, 48 + places % 5, 60 + places % 7], axis=1)


def run(source: Composites, detector, reader: ExpressionReader, every: int) -> tuple[Tally, list[Scene]]:  # type: ignore[no-untyped-def]
    scenes: list[Scene] = []
    tracker = FaceTracker(TrackRules(most=MOST), every)
    return Pipeline(source, detector, reader, [scenes.append], tracker).run(), scenes


@pytest.mark.parametrize("every", [1, 4])
def test_14_fifty_faces(
    face_photo: np.ndarray, reader: Counted, every: int, record_property: Callable[[str, object], None]
) -> None:
    boxes = crowd(50)
    detector = Everywhere(boxes, 64)
    tally, scenes = run(Composites(face_photo, boxes), detector, reader, every)
    assert max(reader.batches) == MOST and all(len(s.faces) <= MOST for s in scenes)
    assert detector.calls <= FRAMES and tally.ended == "source ended"
    largest = set(np.sort(np.prod(boxes[:, 2:], axis=1))[-MOST:].tolist())
    assert set(np.prod(scenes[0].faces.boxes[:, 2:], axis=1).tolist()) <= largest
    record_property("fault", "14 fifty faces in a frame")
    record_property("injected", f"50 faces pasted into {WIDTH}×{HEIGHT}, a detector that reports them all")
    record_property("observed", f"the {MOST} largest read, at most {max(reader.batches)} crops a frame, "
                                f"{detector.calls} detections in {FRAMES} frames")


def test_14_no_face(
    face_photo: np.ndarray, reader: Counted, record_property: Callable[[str, object], None]
) -> None:
    tally, scenes = run(Composites(face_photo, np.zeros((0, 4))), HaarDetector(), reader, 4)
    assert (tally.faces, tally.detections, tally.tracks) == (0, 3, 0)
    assert reader.batches == [0] * FRAMES and all(len(s.steady) == 0 for s in scenes)
    record_property("fault", "14 no face")
    record_property("injected", f"{FRAMES} frames without a face, Haar, a detection every 4th")
    record_property("observed", f"{tally.detections} detections, no crop read, no track")


@pytest.mark.parametrize("every", [1, 4])
def test_14_a_box_over_the_edge(
    face_photo: np.ndarray, reader: Counted, every: int, record_property: Callable[[str, object], None]
) -> None:
    boxes = np.array([[-40, -30, 150, 150], [WIDTH - 120.0, HEIGHT - 120, 160, 160], [300, -60, 140, 140],
                      [WIDTH - 10, 200, 120, 120]])
    _, scenes = run(Composites(face_photo, boxes), Everywhere(boxes, 8), reader, every)
    shown = np.concatenate([s.faces.boxes for s in scenes])
    assert len(shown) and (shown[:, :2] >= 0).all()
    assert (shown[:, :2] + shown[:, 2:] <= np.array([WIDTH, HEIGHT]) + 1e-3).all()
    assert max(reader.batches) == 3  # the last box is mostly outside
    record_property("fault", "14 boxes over the edge")
    record_property("injected", "faces pasted over three edges and one mostly outside, moving right")
    record_property("observed", f"{len(shown)} boxes shown, all inside the frame; the one mostly outside never read")


def test_14_a_real_detector_meets_fifty_faces(
    face_photo: np.ndarray, reader: Counted, record_property: Callable[[str, object], None]
) -> None:
    boxes = crowd(50) * (1, 1, 1.1, 1.1)
    tally, scenes = run(Composites(face_photo, boxes), HaarDetector(max_faces=MOST), reader, 4)
    assert max(len(s.faces) for s in scenes) <= MOST and tally.ended == "source ended"
    record_property("fault", "14 fifty faces in a frame, Haar")
    record_property("injected", f"50 faces pasted into {WIDTH}×{HEIGHT}")
    record_property("observed", f"at most {max(len(s.faces) for s in scenes)} faces shown")
