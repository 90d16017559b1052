"""The detector's loss: objectness everywhere; quality, box and landmarks where a face is. Knows nothing of pictures.

Objectness learns the teacher's score, quality the intersection over union that the box reached (as YOLOX and YuNet
do), so that the square root of their product ranks sure and well-placed boxes first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.faces.anchor_free import LARGEST, cells_of
from train.faces.recipe import LossWeights
from train.faces.targets import Targets

NEARLY = 0.02  # of a face's side: landmark errors below it count by their square, those above by themselves
TINY = 1e-7


def detection_loss(outputs: Tensor, targets: Targets, weights: LossWeights) -> Tensor:
    """Return the scalar loss of outputs (N, cells, 16) float32, in the order of `FaceDetector`.

    Sums over cells are divided by the number of cells that find a face, 1 at least.
    """
    device = outputs.device
    at = (targets.scene.to(device), targets.cell.to(device))
    scores, boxes, landmarks = (t.to(device) for t in (targets.scores, targets.boxes, targets.landmarks))
    wanted = torch.zeros_like(outputs[..., 1])
    wanted[at] = scores
    objectness = F.binary_cross_entropy_with_logits(outputs[..., 1], wanted, reduction="none")
    loss = weights.objectness * (objectness * targets.counted.to(device)).sum()
    if len(scores):
        found = outputs[at]
        origin, stride = (torch.from_numpy(part.copy()).to(device)[at[1]] for part in cells_of(targets.size))
        placed = place_boxes(found[:, 2:6], origin, stride)
        overlap, apart = compare_boxes(placed, boxes)
        quality = F.binary_cross_entropy_with_logits(found[:, 0], overlap.detach(), reduction="sum")
        side = boxes[:, 2:].prod(1).sqrt().view(-1, 1, 1)
        points = (origin[:, None] + found[:, 6:].reshape(-1, 5, 2)) * stride[:, None]
        missed = F.smooth_l1_loss(points / side, landmarks / side, beta=NEARLY, reduction="none").mean((1, 2)).sum()
        loss = loss + weights.quality * quality + weights.box * apart.sum() + weights.landmarks * missed
    return loss / max(1, len(scores))


def place_boxes(offsets: Tensor, origin: Tensor, stride: Tensor) -> Tensor:
    """Decode offsets (P, 4) of cells at origin (P, 2) and stride (P, 1) to x, y, width, height, px."""
    side = offsets[:, 2:].clamp(max=LARGEST).exp() * stride
    return torch.cat([(origin + offsets[:, :2]) * stride - side / 2, side], dim=1)


def compare_boxes(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection over union (P,) and the EIoU loss (P,) of boxes (P, 4) x, y, width, height.

    EIoU is 1 − IoU and the squared distances of centres, widths and heights, each as a share of the box around both
    (Zhang et al. 2022, https://arxiv.org/abs/2101.08158, equation 8), which YuNet trains with as well.
    """
    first, last = found[:, :2], found[:, :2] + found[:, 2:]
    wanted_first, wanted_last = wanted[:, :2], wanted[:, :2] + wanted[:, 2:]
    shared = (torch.minimum(last, wanted_last) - torch.maximum(first, wanted_first)).clamp(min=0).prod(1)
    overlap = shared / (found[:, 2:].prod(1) + wanted[:, 2:].prod(1) - shared + TINY)
    around = (torch.maximum(last, wanted_last) - torch.minimum(first, wanted_first)).square() + TINY
    centres = ((first + last - wanted_first - wanted_last) / 2).square().sum(1) / around.sum(1)
    sides = ((found[:, 2:] - wanted[:, 2:]).square() / around).sum(1)
    return overlap, 1 - overlap + centres + sides
