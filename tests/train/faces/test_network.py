"""The network: small, the same weights for any size, uint8 in, cells in the decoder's order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from runtime.faces.anchor_free import STRIDES, cells_of
from train.faces.network import FaceDetector
from train.faces.recipe import load_face_recipe
from train.networks.parameter_counts import count_parameters


@pytest.fixture(scope="module")
def network() -> FaceDetector:
    torch.manual_seed(0)
    return FaceDetector().eval()


def test_the_shipped_recipes_network_has_at_most_120_000_parameters() -> None:
    recipe = load_face_recipe("mien-face")
    assert count_parameters(FaceDetector(recipe.widths, recipe.blocks)) == 118_944


@pytest.mark.parametrize("size", [(320, 320), (640, 480), (96, 64)])
def test_one_set_of_weights_takes_any_multiple_of_32(network: FaceDetector, size: tuple[int, int]) -> None:
    outputs = network(torch.zeros(2, 1, size[1], size[0], dtype=torch.uint8))
    assert outputs.shape == (2, len(cells_of(size)[0]), 16) and outputs.dtype == torch.float32


def test_bytes_and_floats_of_the_same_pixels_are_the_same(network: FaceDetector) -> None:
    pixels = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    assert torch.equal(network(pixels), network(pixels.float()))


def test_nothing_but_what_quantizes_well_is_in_it(network: FaceDetector) -> None:
    kinds = {type(m) for m in network.modules() if not list(m.children())}
    assert kinds <= {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, type(network.normalize)}


def test_an_unlearnt_network_sees_no_face(network: FaceDetector) -> None:
    outputs = network(torch.randint(0, 256, (1, 1, 96, 96), dtype=torch.uint8)).detach()
    assert float(outputs[..., 1].sigmoid().max()) < 0.2


@pytest.mark.parametrize("stride", STRIDES)
def test_a_cell_answers_for_its_own_place(network: FaceDetector, stride: int) -> None:
    """The gradient of a cell's output is largest around that cell: its index means what the decoder thinks."""
    size = (384, 256)
    origin, strides = cells_of(size)
    chosen = [i for i in np.flatnonzero(strides[:, 0] == stride) if 96 <= origin[i, 0] * stride < 288]
    cell = int(chosen[len(chosen) // 3])
    pixels = torch.full((1, 1, size[1], size[0]), 128.0) + torch.randn(1, 1, size[1], size[0])
    pixels.requires_grad_()
    network(pixels)[0, cell].abs().sum().backward()
    assert pixels.grad is not None
    weight = pixels.grad[0, 0].abs().numpy()
    rows, columns = np.mgrid[: size[1], : size[0]]
    centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    assert np.abs(centre - (origin[cell] + 0.5) * stride).max() < 1.5 * stride
