"""The card's crop must frame a face as the training images do, or the network sees other faces than it learned."""

import cv2
import numpy as np
import pytest
from opencv_four import needs_haar

from runtime.card import load_model
from runtime.faces import open_detector


@needs_haar
def test_the_stream_frames_faces_as_fer2013_does(fer2013):
    training = fer2013.split("Training").images[::180]
    detector = open_detector("haar", max_faces=1)
    sides, offsets = [], []
    for face in training:
        # the face fills 192 of 384 pixels, so that the detector may find a box larger or smaller than it
        large = cv2.resize(face, (192, 192), interpolation=cv2.INTER_CUBIC)
        frame = cv2.copyMakeBorder(large, 96, 96, 96, 96, cv2.BORDER_REPLICATE)
        found = detector.detect(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        if len(found.boxes):
            x, y, width, height = found.boxes[0]
            sides.append(192 / max(width, height))
            offsets.append((x + width / 2 - 192, y + height / 2 - 192))
    assert len(sides) > 80
    margin = load_model("mien-light").card.input.margin
    assert np.median(sides) == pytest.approx(1 + margin, abs=0.08)
    np.testing.assert_allclose(np.median(offsets, axis=0), 0, atol=6)
