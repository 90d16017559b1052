"""What only OpenCV 4 has."""

from __future__ import annotations

import cv2
import pytest

needs_haar = pytest.mark.skipif(not hasattr(cv2, "CascadeClassifier"), reason="OpenCV 5 has no Haar cascades")
