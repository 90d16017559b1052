"""The public-domain photograph that matplotlib ships (Rear Admiral Grace Hopper, US Navy), as a face to test with.

So that no face needs to lie in this repository as a file of its own.
"""

from __future__ import annotations

import cv2
import matplotlib.cbook
import numpy as np

from runtime.errors import Unavailable

FACE = (155.0, 105.0, 222.0, 222.0)  # x, y, width, height in pixels: what OpenCV's frontal Haar cascade finds
# right and left eye, nose tip, right and left mouth corner: the mean of what YuNet and mien-face find
LANDMARKS = np.array([(223.6, 197.2), (306.8, 195.8), (265.8, 241.0), (230.5, 277.0), (302.9, 276.0)])


def load_photograph() -> np.ndarray:
    """Return the photograph, (600, 512, 3) BGR uint8. Raises Unavailable where matplotlib was packed without it."""
    path = str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    photograph = cv2.imread(path)
    if photograph is None:
        raise Unavailable(f"expected matplotlib's sample photograph, found none at {path}; pip install matplotlib")
    return photograph
