"""Scenes composed on the fly: faces cut out of head shots, pasted into photographs, and what hides or imitates them.

Boxes and landmarks follow every face through its turn, its size and its mirror, so no label is drawn by hand. All
randomness comes from the generator given. Knows nothing of networks. What it cannot make: bodies, crowds that look at
each other, faces turned further than the head shots' are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from train.faces.camera_effects import CameraEffects
from train.faces.masks import SIDE, make_masks
from train.faces.pictures import SURE, Head, Photograph, Pictures
from train.faces.recipe import SceneRecipe

MIRRORED = [1, 0, 2, 4, 3]  # the person's right eye becomes the left one
VISIBLE = 0.5  # share of a box that must be in the frame and uncovered: less is neither face nor background
SMALLEST_JUDGED = 8.0  # px; a photograph's own face shrunk below it is neither
CLOSEST = 2.0  # a photograph is enlarged at most so much beyond filling the scene
TRIES, OVERLAP = 4, 0.25  # places drawn for a face, and how much of one it may hide there
STEEPEST = 40.0  # degrees a face is turned at most
SMOOTH = 0.35  # probability of a patch taken from a smaller picture than it need be: out of focus


@dataclass(frozen=True)
class Scene:
    """A picture (H, W) uint8 grey and its K faces.

    boxes (K, 4) float32 x, y, width, height px, clipped to the picture; landmarks (K, 5, 2) x, y px, some perhaps
    outside it; scores (K,) the teacher's, 0–1; ignored (K,) bool: hidden, cut off or doubted, so neither face nor not.
    """

    picture: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class _Placed:
    """Faces so far, with unclipped boxes, and how much of each has been covered since."""

    boxes: list[np.ndarray]
    landmarks: list[np.ndarray]
    scores: list[float]
    covered: list[float]

    def add(self, box: np.ndarray, landmarks: np.ndarray, score: float) -> None:
        self.boxes.append(box)
        self.landmarks.append(landmarks)
        self.scores.append(score)
        self.covered.append(0.0)

    def cover(self, box: np.ndarray) -> None:
        """Say that something of this box has been pasted over all the others."""
        for i, other in enumerate(self.boxes):
            self.covered[i] += _shared(box, other) / float(other[2] * other[3])


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """Return the area two boxes share, px²."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return float(max(across, 0.0) * max(down, 0.0))


class Composer:
    """Composes scenes of one part's pictures."""

    def __init__(self, pictures: Pictures, how: SceneRecipe, seed: int = 0):
        """Prepare the masks and the camera's noise, which are the same in every run of this seed."""
        random = np.random.default_rng(seed)
        self.heads, self.how = pictures.heads, how
        self.with_faces = [p for p in pictures.photographs if p.has_face]
        self.without = [p for p in pictures.photographs if not len(p.scores)]
        self.masks = make_masks(random)
        self.effects = CameraEffects(random)

    def compose(self, size: tuple[int, int], random: np.random.Generator, faces: int | None = None) -> Scene:
        """Compose one scene of (width, height) px; `faces` pastes so many, none into a photograph without any."""
        how, placed = self.how, _Placed([], [], [], [])
        canvas = self._background(size, placed, random, real=faces != 0)
        count = int(random.integers(0, how.faces + 1)) if faces is None else faces
        sides = self._sides(size, count + int(random.integers(0, how.distractors + 1)), random)
        # the larger ones first: a face near the camera would hide all others
        for order in np.argsort(-sides):
            middle = self._place(size, sides[order], placed, random)
            if order < count:
                self._paste_face(canvas, middle, sides[order], random, placed)
            else:
                self._paste_texture(canvas, middle, sides[order], random, placed)
        return _seen(self.effects.apply(canvas, random), placed)

    def _sides(self, size: tuple[int, int], count: int, random: np.random.Generator) -> np.ndarray:
        """Draw sizes, every octave as likely as another, but one only beyond a third of the scene's shorter side."""
        smallest = self.how.smallest
        largest = np.full(count, max(smallest + 1, min(size) / 3))
        largest[:1] = max(smallest + 1, self.how.largest * min(size))
        sides: np.ndarray = np.exp(random.uniform(math.log(smallest), np.log(largest)))
        return sides

    def _place(self, size: tuple[int, int], side: float, placed: _Placed, random: np.random.Generator) -> np.ndarray:
        """Draw a place anywhere in the scene; of a few, the first that hides no face, else the last."""
        for _ in range(TRIES):
            middle: np.ndarray = random.uniform((0, 0), size)
            box = np.array([*(middle - side / 2), side, side])
            if all(_shared(box, other) < OVERLAP * min(side**2, other[2] * other[3]) for other in placed.boxes):
                break
        return middle

    def _background(self, size: tuple[int, int], placed: _Placed, random: np.random.Generator,
                    real: bool) -> np.ndarray:
        """Return one photograph, or two side by side or one above the other, filling the scene."""
        canvas = np.empty((size[1], size[0]), np.uint8)
        parts = [(0, 0, *size)]
        if random.random() < self.how.mosaic:
            axis, share = int(random.integers(2)), random.uniform(0.3, 0.7)
            cut = round(size[axis] * share)
            parts = ([(0, 0, cut, size[1]), (cut, 0, size[0], size[1])] if axis == 0
                     else [(0, 0, size[0], cut), (0, cut, size[0], size[1])])
        for left, top, right, bottom in parts:
            from_real = real and self.with_faces and random.random() < self.how.real_faces
            chosen = self.with_faces if from_real else self.without
            photograph = chosen[random.integers(len(chosen))]
            _place_photograph(canvas[top:bottom, left:right], photograph, (left, top), placed, random)
        return canvas

    def _paste_face(self, canvas: np.ndarray, middle: np.ndarray, side: float, random: np.random.Generator,
                    placed: _Placed) -> None:
        """Paste a head shot's face, perhaps with something like hair behind it or a hand in front."""
        head = self.heads[random.integers(len(self.heads))]
        if random.random() < self.how.dressed:
            above = random.uniform((-0.15, -0.45), (0.15, 0.3)) * side
            self._paste_texture(canvas, middle + above, side * random.uniform(1.1, 1.7), random, placed)
        turn = float(np.clip(random.normal(0, self.how.rotation), -STEEPEST, STEEPEST))
        scale = side / math.sqrt(head.box[2] * head.box[3])
        stretch = math.exp(random.normal(0, 0.05))
        box_middle = head.box[:2] + head.box[2:] / 2
        affine = _affine(box_middle, middle, scale * stretch, scale / stretch, turn, random.random() < 0.5)
        _blend(canvas, _level_for(head, scale, random), affine, head.levels[0].shape,
               self._mask(random), _light(random))
        box, landmarks = moved_face(head.box, head.landmarks, affine)
        placed.cover(box)
        placed.add(box, landmarks, head.score)
        if random.random() < self.how.covered:
            beside = random.uniform(-0.6, 0.6, 2) * side
            self._paste_texture(canvas, middle + beside, side * random.uniform(0.3, 0.7), random, placed)

    def _paste_texture(self, canvas: np.ndarray, middle: np.ndarray, side: float, random: np.random.Generator,
                       placed: _Placed) -> None:
        """Paste a square of a photograph without faces, cut and lit as a face would be."""
        source = self.without[random.integers(len(self.without))].picture
        wide = int(random.uniform(0.1, 0.5) * min(source.shape))
        left, top = (int(random.integers(0, n - wide + 1)) for n in source.shape[::-1])
        patch = np.ascontiguousarray(source[top : top + wide, left : left + wide])
        if wide > 1.5 * side:  # smaller by area first, so that a warp of neighbouring pixels does not alias
            patch = cv2.resize(patch, (max(2, int(side)),) * 2, interpolation=cv2.INTER_AREA)
        scale = side / len(patch)
        stretch = math.exp(random.normal(0, 0.25))
        affine = _affine(np.full(2, len(patch) / 2), middle, scale / stretch, scale * stretch, random.uniform(-40, 40),
                         False)
        _blend(canvas, patch, affine, patch.shape, self._mask(random), _light(random))
        placed.cover(np.array([*(middle - side * 0.45), side * 0.9, side * 0.9]))

    def _mask(self, random: np.random.Generator) -> np.ndarray:
        mask: np.ndarray = self.masks[random.integers(len(self.masks))]
        return mask


def moved_face(box: np.ndarray, landmarks: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move a box (4,) and landmarks (5, 2) by an affine map (2, 3); landmarks change names where it mirrors.

    A face is taken for the ellipse in its box: the new box is that of the moved ellipse, not of the box's corners.
    """
    linear, shift = affine[:, :2], affine[:, 2]
    middle = linear @ (box[:2] + box[2:] / 2) + shift
    half = np.hypot(linear[:, 0] * box[2] / 2, linear[:, 1] * box[3] / 2)
    moved = landmarks @ linear.T + shift
    return np.concatenate([middle - half, 2 * half]), moved[MIRRORED] if np.linalg.det(linear) < 0 else moved


def _affine(source: np.ndarray, target: np.ndarray, across: float, down: float, degrees: float,
            mirror: bool) -> np.ndarray:
    """Return the (2, 3) map that stretches, mirrors and turns about `source` and puts it on `target`."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    if mirror:
        across = -across
    linear = np.array([[cos * across, -sin * down], [sin * across, cos * down]])
    return np.column_stack([linear, target - linear @ source])


def _place_photograph(canvas: np.ndarray, photograph: Photograph, corner: tuple[int, int], placed: _Placed,
                      random: np.random.Generator) -> None:
    """Fill a part of the scene, whose upper left corner is given, with a random window of a photograph."""
    height, width = canvas.shape
    high, wide = photograph.picture.shape
    zoom = max(width / wide, height / high) * math.exp(random.uniform(0, math.log(CLOSEST)))
    # what lies outside the window, of what the enlarged photograph has too much
    spare = np.array([wide * zoom - width, high * zoom - height])
    mirror = random.random() < 0.5
    shift = -random.random(2) * spare
    affine = np.array([[-zoom if mirror else zoom, 0, shift[0] + (wide * zoom if mirror else 0)], [0, zoom, shift[1]]])
    # warpAffine speaks of pixel middles, boxes of pixel edges
    centred = affine.copy()
    centred[:, 2] += affine[:, :2] @ (0.5, 0.5) - 0.5
    source = photograph.picture if zoom >= 0.7 else cv2.blur(photograph.picture, (2, 2))
    cv2.warpAffine(source, centred, (width, height), dst=canvas, borderMode=cv2.BORDER_REFLECT_101)
    for box, landmarks, score in zip(photograph.boxes, photograph.landmarks, photograph.scores):
        moved, points = moved_face(box, landmarks, affine)
        first, last = np.maximum(moved[:2], 0), np.minimum(moved[:2] + moved[2:], (width, height))
        if (last > first).all():
            placed.add(np.concatenate([first + corner, last - first]), points + corner, float(score))
            # what leaves this part is as good as covered: another photograph may begin there
            placed.covered[-1] = 1 - float(np.prod(last - first) / np.prod(moved[2:]))


def _level_for(head: Head, scale: float, random: np.random.Generator) -> np.ndarray:
    """Return the head's picture of the size that needs at most halving, or a smaller one, which then looks soft."""
    level = int(max(0, math.floor(-math.log2(scale))))
    if random.random() < SMOOTH:
        level += 1
    return head.levels[min(level, len(head.levels) - 1)]


def _light(random: np.random.Generator) -> tuple[float, float, float]:
    """Draw contrast, brightness (grey levels), and how far the patch takes on the light of where it is put, 0–1."""
    return math.exp(random.normal(0, 0.2)), random.normal(0, 12), random.random() ** 2


def _blend(canvas: np.ndarray, patch: np.ndarray, affine: np.ndarray, full: tuple[int, int], mask: np.ndarray,
           light: tuple[float, float, float]) -> None:
    """Warp a patch by `affine`, which speaks of pixels of its `full` (height, width), and blend it along the mask."""
    height, width = full
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ affine[:, :2].T + affine[:, 2]
    left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(0)), canvas.shape[::-1]).astype(int)
    if right <= left or bottom <= top:
        return
    size = (int(right - left), int(bottom - top))
    warped = cv2.warpAffine(patch, _onto(affine, full, patch.shape, (left, top)), size,
                            borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask, _onto(affine, full, (SIDE, SIDE), (left, top)), size)
    below = canvas[top:bottom, left:right]
    contrast, brightness, adapt = light
    mean, there = cv2.mean(warped)[0], cv2.mean(below)[0]
    # (patch − mean)·contrast + mean, moved towards the light of the place
    offset = mean * (1 - contrast) + brightness + 0.6 * adapt * (there - mean)
    lit = cv2.addWeighted(warped, contrast, warped, 0, offset)
    canvas[top:bottom, left:right] = cv2.blendLinear(lit, np.ascontiguousarray(below), share, 1 - share)


def _onto(affine: np.ndarray, full: tuple[int, int], size: tuple[int, ...], corner: tuple[int, int]) -> np.ndarray:
    """Return the map of a picture of `size` that stands for one of `full` into the window at `corner`."""
    linear = affine[:, :2] * (full[1] / size[1], full[0] / size[0])
    # warpAffine speaks of pixel middles
    return np.column_stack([linear, affine[:, 2] - corner + linear @ (0.5, 0.5) - 0.5])


def _seen(picture: np.ndarray, placed: _Placed) -> Scene:
    """Clip the boxes to the picture, drop those outside it, and say which are too hidden to judge."""
    if not placed.boxes:
        return Scene(picture, np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32),
                     np.zeros(0, bool))
    boxes, scores = np.array(placed.boxes), np.array(placed.scores, np.float32)
    frame = picture.shape[::-1]
    first, last = np.clip(boxes[:, :2], 0, frame), np.clip(boxes[:, :2] + boxes[:, 2:], 0, frame)
    inside = np.prod(last - first, axis=1) / np.prod(boxes[:, 2:], axis=1)
    visible = inside - np.array(placed.covered)
    tiny = np.prod(last - first, axis=1) < SMALLEST_JUDGED**2
    ignored = (visible < VISIBLE) | (scores < SURE) | tiny
    kept = np.flatnonzero(np.prod(last - first, axis=1) > 0)
    return Scene(picture, np.concatenate([first, last - first], axis=1)[kept].astype(np.float32),
                 np.array(placed.landmarks, np.float32)[kept], scores[kept], ignored[kept])
