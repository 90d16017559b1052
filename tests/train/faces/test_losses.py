"""The loss: the right answer costs least, its gradient leads there, and boxes are compared as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.faces.anchor_free import cells_of, decode_cells
from train.faces.losses import compare_boxes, detection_loss, place_boxes
from train.faces.metrics import overlaps
from train.faces.network import OUTPUTS
from train.faces.recipe import LossWeights
from train.faces.scenes import Scene
from train.faces.targets import Targets, collate

SIZE = (96, 64)
FACE = (30.0, 20.0, 22.0, 28.0)
POINTS = np.array([[35, 28], [46, 28], [41, 34], [36, 41], [45, 41]], np.float32)


def targets_of(*, ignored: bool = False, score: float = 1.0) -> Targets:
    return collate([Scene(np.zeros(SIZE[::-1], np.uint8), np.array([FACE], np.float32), POINTS[None],
                          np.array([score], np.float32), np.array([ignored]))])


def right_answer(targets: Targets) -> torch.Tensor:
    """Outputs that say exactly what is asked."""
    origin, stride = (torch.from_numpy(part.copy()) for part in cells_of(SIZE))
    outputs = torch.zeros(1, len(origin), OUTPUTS)
    outputs[..., 1] = -12
    at, o, s = (targets.scene, targets.cell), origin[targets.cell], stride[targets.cell]
    centre = targets.boxes[:, :2] + targets.boxes[:, 2:] / 2
    points = (targets.landmarks / s[:, None] - o[:, None]).flatten(1)
    outputs[at] = torch.cat([torch.full((len(o), 2), 12.0), centre / s - o, (targets.boxes[:, 2:] / s).log(), points],
                            dim=1)
    return outputs


def test_the_right_answer_costs_nothing() -> None:
    targets = targets_of()
    assert float(detection_loss(right_answer(targets), targets, LossWeights())) < 1e-3


@pytest.mark.parametrize("channel", range(OUTPUTS))
def test_a_wrong_channel_costs_something(channel: int) -> None:
    targets = targets_of()
    outputs = right_answer(targets)
    outputs[targets.scene, targets.cell, channel] -= 13 if channel < 2 else 0.4
    assert float(detection_loss(outputs, targets, LossWeights())) > 0.01


def test_the_right_answer_decodes_to_the_face() -> None:
    outputs = right_answer(targets_of())[0].numpy()
    found = decode_cells(outputs, SIZE, 0.5)
    assert found.boxes[0] == pytest.approx(FACE, abs=1e-3)
    assert found.landmarks[0] == pytest.approx(POINTS, abs=1e-3)


def test_a_face_where_there_is_none_costs_something() -> None:
    targets = targets_of()
    outputs = right_answer(targets)
    outputs[0, 0, 1] = 12
    assert float(detection_loss(outputs, targets, LossWeights())) > 0.5


def test_a_face_that_is_hidden_costs_nothing_either_way() -> None:
    targets = targets_of(ignored=True)
    outputs = torch.full((1, len(cells_of(SIZE)[0]), OUTPUTS), -12.0)
    outputs[~targets.counted] = 12
    assert float(detection_loss(outputs, targets, LossWeights())) < 0.01


def test_objectness_learns_the_teachers_doubt() -> None:
    targets = targets_of(score=0.7)
    outputs = right_answer(targets)
    costs = []
    for score in (0.5, 0.7, 0.9):
        outputs[targets.scene, targets.cell, 1] = float(np.log(score / (1 - score)))
        costs.append(float(detection_loss(outputs, targets, LossWeights())))
    assert costs[1] < min(costs[0], costs[2])


def test_descending_the_gradient_finds_the_face() -> None:
    targets = targets_of()
    outputs = torch.zeros(1, len(cells_of(SIZE)[0]), OUTPUTS, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        detection_loss(outputs, targets, LossWeights()).backward()
        optimizer.step()
    found = decode_cells(outputs.detach()[0].numpy(), SIZE, 0.5)
    assert len(found) == 1
    assert overlaps(found.boxes, np.array([FACE]))[0, 0] > 0.95
    assert np.abs(found.landmarks[0] - POINTS).max() < 0.5


def test_a_batch_without_faces_has_a_loss_and_a_gradient() -> None:
    nothing = Scene(np.zeros(SIZE[::-1], np.uint8), np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32),
                    np.zeros(0, np.float32), np.zeros(0, bool))
    outputs = torch.zeros(1, len(cells_of(SIZE)[0]), OUTPUTS, requires_grad=True)
    detection_loss(outputs, collate([nothing]), LossWeights()).backward()
    assert outputs.grad is not None and bool(outputs.grad.isfinite().all()) and bool((outputs.grad[..., 1] > 0).all())


boxes = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 80), st.floats(1, 80))


@settings(max_examples=200, deadline=None)
@given(boxes, boxes)
def test_overlap_is_the_metrics_overlap_and_eiou_is_never_less_than_the_gap(
        first: tuple[float, ...], second: tuple[float, ...]) -> None:
    overlap, apart = compare_boxes(torch.tensor([first]), torch.tensor([second]))
    assert float(overlap[0]) == pytest.approx(overlaps(np.array([first]), np.array([second]))[0, 0], abs=1e-4)
    assert float(apart[0]) >= 1 - float(overlap[0]) - 1e-6


def test_boxes_far_apart_still_attract() -> None:
    far = torch.tensor([[100.0, 0, 10, 10]], requires_grad=True)
    compare_boxes(far, torch.tensor([[0.0, 0, 10, 10]]))[1].sum().backward()
    assert far.grad is not None and float(far.grad[0, 0]) > 0  # moving left lowers the loss


def test_a_box_wider_than_any_frame_does_not_overflow() -> None:
    placed = place_boxes(torch.tensor([[0.0, 0, 99, 99]]), torch.zeros(1, 2), torch.full((1, 1), 32.0))
    assert bool(placed.isfinite().all())
