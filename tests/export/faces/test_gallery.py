"""The gallery shows what was missed and what is no face, and nothing that was found."""

from __future__ import annotations

import cv2
import numpy as np

from export.faces.gallery import COLUMNS, TILE, draw_gallery, missed_and_false
from runtime.faces.detector import Faces
from train.faces.metrics import Truth

TRUTH = Truth(np.array([[10.0, 10, 40, 40], [100, 10, 40, 40], [200, 10, 40, 40]]), np.zeros((3, 5, 2)),
              np.array([False, False, True]))
FOUND = Faces(np.array([[12, 11, 40, 40], [20, 120, 30, 30], [150, 150, 20, 20]], np.float32), None,
              np.array([0.9, 0.8, 0.1], np.float32))


def test_a_miss_is_a_true_face_that_counts_and_a_false_one_is_sure_enough() -> None:
    missed, false = missed_and_false(FOUND, TRUTH, 0.5)
    assert missed.tolist() == [[100, 10, 40, 40]]
    assert false.tolist() == [[20, 120, 30, 30]]


def test_the_picture_has_both_kinds_in_their_colours() -> None:
    encoded = draw_gallery([np.full((200, 300), 128, np.uint8)], [FOUND], [TRUTH], 0.5)
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (2 * (28 + TILE), COLUMNS * TILE, 3)
    upper, lower = picture[28 : 28 + TILE, :TILE], picture[-TILE:, :TILE]
    redder, warmer = (part[..., 2].astype(int) - part[..., 0] for part in (upper, lower))  # grey but for the drawn box
    assert redder.max() > 50 and warmer.max() > 50
    red, orange = (part[difference > 50, 1].mean() for part, difference in ((upper, redder), (lower, warmer)))
    assert red < orange
