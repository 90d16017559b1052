"""What a camera does to a grey picture: gamma, contrast, a light from one side, blur, noise, small pixels, JPEG.

One draw a scene, over faces and background alike. Knows nothing of faces. Noise is read from a bank drawn once:
drawing it anew would take as long as composing the scene.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

BANK = 2048  # px, the side of the noise bank, and the largest picture


class CameraEffects:
    """Applies random effects to pictures (H, W) uint8, at most BANK px a side."""

    def __init__(self, random: np.random.Generator):
        """Draw the noise bank: (BANK, BANK) of standard deviation 32 in int8."""
        self._noise = np.clip(random.normal(0, 32, (BANK, BANK)), -127, 127).astype(np.int8)

    def apply(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return a changed picture of the same size."""
        chance = random.random(7)
        if chance[0] < 0.15:
            picture = _fewer_pixels(picture, random)
        if chance[1] < 0.2:
            picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 1.6))
        elif chance[1] < 0.28:
            picture = _moved(picture, random)
        if chance[2] < 0.7:
            picture = cv2.LUT(picture, _tones(random))
        if chance[3] < 0.25:
            picture = _lit_from_a_side(picture, random)
        if chance[4] < 0.4:
            picture = self._noisy(picture, random)
        if chance[5] < 0.3:
            _, coded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 91))))
            picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
        return picture

    def _noisy(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Add noise of 1–14 grey levels: a window of the bank."""
        height, width = picture.shape
        top, left = random.integers(0, (BANK - height + 1, BANK - width + 1))
        window = self._noise[top : top + height, left : left + width]
        noisy: np.ndarray = cv2.addWeighted(picture, 1, window, random.uniform(1, 14) / 32, 0, dtype=cv2.CV_8U)
        return noisy


def _fewer_pixels(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = picture.shape
    share = random.uniform(0.4, 0.9)
    small = cv2.resize(picture, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _moved(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur along a line of 3–8 pixels: a camera, or a person, that moves."""
    length, angle = random.uniform(3, 8), random.uniform(0, math.pi)
    kernel = np.zeros((9, 9), np.float32)
    along = np.array([math.cos(angle), math.sin(angle)]) * length / 2
    first, last = (tuple(int(v) for v in np.round(4 + sign * along)) for sign in (-1, 1))
    cv2.line(kernel, first, last, 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())


def _tones(random: np.random.Generator) -> np.ndarray:
    """A table of 256 grey levels: gamma 0.5–2, contrast 0.5–1.4, brightness ±30."""
    levels = (np.arange(256) / 255) ** math.exp(random.uniform(-0.7, 0.7)) * 255
    table = (levels - 128) * random.uniform(0.5, 1.4) + 128 + random.uniform(-30, 30)
    return np.clip(table, 0, 255).astype(np.uint8)


def _lit_from_a_side(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Multiply by a ramp from 0.4–1 at one side to 1–1.3 at the other, whichever way it runs."""
    corners = np.array([random.uniform(0.4, 1), random.uniform(1, 1.3)], np.float32)
    ramp = np.empty((2, 2), np.float32)
    ramp[:] = corners if random.random() < 0.5 else corners[:, None]
    if random.random() < 0.5:
        ramp = np.ascontiguousarray(ramp[::-1, ::-1])
    gain = cv2.resize(ramp, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    lit: np.ndarray = cv2.multiply(picture, gain, dtype=cv2.CV_8U)
    return lit
