"""A drawn scene that moves: heads with eyes and a mouth, or pasted pictures, wandering over a slope of grey with noise.

The same seed gives the same pictures, frame for frame. For tests, benches and trying a kiosk without a camera. A drawn
head is no face: detectors may or may not take it for one. Pasted pictures (`faces=FOLDER`) are what they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import cv2
import numpy as np

from runtime.camera.image_files import images_in, read_image
from runtime.camera.source import Frame, FrameSource, check_pixels
from runtime.errors import BadInput

NOISES = 4  # fields of sensor noise, drawn once and shown in turn: two frames in a row never share one
NOISE = 3.0  # grey levels, standard deviation: an indoor webcam's
MOST_HEADS = 64


@dataclass(frozen=True)
class Scene:
    """What is drawn: width × height px, fps, `heads` of them, `frames` in all (0: endless), pictures from `faces`."""

    width: int = 640
    height: int = 480
    fps: float = 30.0
    seed: int = 0
    heads: int = 1
    frames: int = 0
    faces: str = ""

    def __post_init__(self) -> None:
        check_pixels(self.width, self.height, "synthetic://")
        if not 0 < self.fps <= 1000:
            raise BadInput(f"expected fps of 0–1000 in synthetic://, found {self.fps}")
        if not 0 <= self.heads <= MOST_HEADS:
            raise BadInput(f"expected heads of 0–{MOST_HEADS} in synthetic://, found {self.heads}")
        if self.frames < 0 or self.seed < 0:
            raise BadInput(f"expected frames and seed of at least 0, found {self.frames} and {self.seed}")


def scene_of(query: str) -> Scene:
    """Read `size=640x480&fps=30&seed=0&heads=1&frames=0&faces=FOLDER`. Raises BadInput."""
    known = {"fps": float, "seed": int, "heads": int, "frames": int, "faces": str}
    values: dict[str, int | float | str] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        try:
            if key == "size":
                values["width"], values["height"] = (int(side) for side in text.split("x"))
            else:
                values[key] = known[key](text)
        except (KeyError, ValueError):
            raise BadInput(f"expected synthetic://?size=640x480&{'&'.join(f'{k}=…' for k in known)}, found "
                           f"{key}={text}; check the name and its value") from None
    return Scene(**values)  # type: ignore[arg-type]


def render(scene: Scene) -> Iterator[np.ndarray]:
    """Yield the scene's pictures, (H, W, 3) BGR uint8, each a new array."""
    random = np.random.default_rng(scene.seed)
    slope = np.linspace(70, 150, scene.width, dtype=np.float32) + np.linspace(-20, 20, scene.height)[:, None]
    grounds = [np.repeat((slope + random.normal(0, NOISE, slope.shape)).astype(np.uint8)[..., None], 3, axis=2)
               for _ in range(NOISES)]
    side = min(scene.width, scene.height) // (2 if scene.heads <= 3 else 4)
    heads = [_head(side, random) for _ in range(scene.heads)]
    if scene.faces:
        files = images_in(Path(scene.faces))
        heads = [_fit(read_image(files[i % len(files)]), side) for i in range(scene.heads)]
    # angular speeds that share no short period, so that two heads do not move as one
    paths = [(random.uniform(0, math.tau, 2), random.uniform(0.2, 0.9, 2)) for _ in heads]
    number = 0
    while not scene.frames or number < scene.frames:
        image = grounds[number % NOISES].copy()
        for head, (phases, speeds) in zip(heads, paths):
            across, down = (np.sin(phases + speeds * number / scene.fps) + 1) / 2
            x, y = int(across * (scene.width - head.shape[1])), int(down * (scene.height - head.shape[0]))
            image[y : y + head.shape[0], x : x + head.shape[1]] = head
        yield image
        number += 1


def _head(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a head, (side, side, 3), on the slope's middle grey."""
    image = np.full((max(side, 1), max(side, 1), 3), 110, np.uint8)
    def at(x: float, y: float) -> tuple[int, int]:
        return int(x * side), int(y * side)

    skin = tuple(float(v) for v in random.integers((90, 120, 160), (150, 180, 230)))
    cv2.ellipse(image, at(0.5, 0.5), at(0.36, 0.48), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for x in (0.36, 0.64):
        cv2.ellipse(image, at(x, 0.42), at(0.07, 0.04), 0, 0, 360, (245, 245, 245), -1, cv2.LINE_AA)
        cv2.circle(image, at(x, 0.42), max(side // 30, 1), (30, 30, 30), -1, cv2.LINE_AA)
    cv2.ellipse(image, at(0.5, 0.7), at(0.15, 0.08), 0, 0, 180, (50, 50, 150), max(side // 50, 1), cv2.LINE_AA)
    return image


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


class Synthetic(FrameSource):
    """The scene as fast as it can be drawn."""

    def __init__(self, scene: Scene):
        """Take what to draw. Iterating raises BadInput where a picture cannot be read."""
        self._scene = scene
        self.name = "synthetic"
        self.fps = scene.fps
        self.size = (scene.width, scene.height)
        self.damaged = 0

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(render(self._scene)):
            yield Frame(image, index, index / self._scene.fps)

    def close(self) -> None:
        """Nothing is held open."""


class SyntheticGrabber:
    """The scene in real time, for the capture process: a camera that is always there."""

    def __init__(self, query: str):
        """Start drawing. Raises BadInput on a wrong query."""
        scene = scene_of(query)
        self.fps: float | None = scene.fps
        self._frames = render(scene)
        self._due = time.monotonic()

    def grab(self, into: np.ndarray) -> tuple[int, int] | None:
        """Be a Grabber's grab; a scene that was told to end hangs, as a camera would."""
        image = next(self._frames, None)
        while image is None:
            time.sleep(1)
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due + 1 / (self.fps or 30.0), time.monotonic() - 1)
        into[: image.size] = image.reshape(-1)
        return image.shape[1], image.shape[0]

    def close(self) -> None:
        """Nothing is held open."""
