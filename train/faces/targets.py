"""A scene's faces → which cells of which stride must find them. Fixed by size and place, before any network answers.

In the spirit of FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355): a face belongs to the strides whose range
its size lies in, there to the cells near its centre. The ranges overlap, so that a face between two is learnt by both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from runtime.faces.anchor_free import cells_of
from train.faces.scenes import Scene

# Geometric mean of a face's sides in strides: 12 px is 1.5 of the first, 400 px is 12.5 of the last
FITTING = {8: (0.0, 5.0), 16: (2.0, 5.0), 32: (2.0, np.inf)}
NEAR = 1.5  # strides from the centre, each axis: up to nine cells
WITHIN = 0.4  # of the box's sides from the centre, each axis: the cells of a tiny face lie on it


@dataclass(frozen=True)
class Targets:
    """What a batch of N scenes asks of the cells: P of them find a face, the rest of the counted ones find none.

    scene and cell (P,) int64; boxes (P, 4) x, y, width, height px; landmarks (P, 5, 2) px; scores (P,) 0–1, the
    teacher's; counted (N, cells) bool, False where a hidden face makes either answer wrong; size (width, height) px.
    """

    scene: Tensor
    cell: Tensor
    boxes: Tensor
    landmarks: Tensor
    scores: Tensor
    counted: Tensor
    size: tuple[int, int]


def assign(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's face, (cells,) int64, -1 for none, and whether the cell counts, (cells,) bool.

    A cell near two faces takes the smaller. Ignored faces are nobody's, and cells in them do not count.
    """
    height, width = scene.picture.shape
    origin, stride = cells_of((width, height))
    face, counted = np.full(len(origin), -1), np.ones(len(origin), bool)
    if not len(scene.boxes):
        return face, counted
    middle = (origin + 0.5) * stride
    side = np.sqrt(np.prod(scene.boxes[:, 2:], axis=1))
    away = np.abs(middle[:, None] - (scene.boxes[:, :2] + scene.boxes[:, 2:] / 2))  # (cells, K, 2)
    reach = np.maximum(np.minimum(NEAR * stride[:, None], WITHIN * scene.boxes[:, 2:]), stride[:, None] / 2)
    limits = np.array([FITTING[int(s)] for s in stride[:, 0]]) * stride
    fits = (side >= limits[:, :1]) & (side < limits[:, 1:])
    asked = (away <= reach).all(2) & fits & ~scene.ignored
    size_where_asked = np.where(asked, side, np.inf)
    found = asked.any(axis=1)
    face[found] = size_where_asked[found].argmin(axis=1)
    hidden = ((away <= scene.boxes[:, 2:] / 2).all(2) & scene.ignored).any(axis=1)
    counted[hidden & ~found] = False
    return face, counted


def collate(scenes: Sequence[Scene]) -> Targets:
    """Put the targets of scenes of one size together."""
    assigned = [assign(scene) for scene in scenes]
    cells = [np.flatnonzero(face >= 0) for face, _ in assigned]
    chosen = [face[cell] for (face, _), cell in zip(assigned, cells)]

    def gather(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(s, name)[i] for s, i in zip(scenes, chosen)]))

    height, width = scenes[0].picture.shape
    return Targets(
        scene=torch.from_numpy(np.repeat(np.arange(len(scenes)), [len(c) for c in cells])),
        cell=torch.from_numpy(np.concatenate(cells)),
        boxes=gather("boxes"), landmarks=gather("landmarks"), scores=gather("scores"),
        counted=torch.from_numpy(np.stack([counted for _, counted in assigned])),
        size=(width, height))
