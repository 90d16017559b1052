"""A detector of a few thousand weights that has learnt nothing and finds plenty."""

from __future__ import annotations

import torch

from train.faces.network import FaceDetector
from train.faces.recipe import FaceRecipe

RECIPE = FaceRecipe("tiny", widths=(8, 8, 16, 16, 16), blocks=(0, 0, 0))


def untrained() -> FaceDetector:
    """The tiny recipe's network, whose objectness is not yet rare, so that it finds plenty."""
    torch.manual_seed(3)
    network = FaceDetector(RECIPE.widths, RECIPE.blocks)
    with torch.no_grad():  # batch norms that have seen something, or every answer is nearly nothing
        for _ in range(30):
            network(torch.randint(0, 256, (4, 1, 96, 96), dtype=torch.uint8))
    network.eval()
    for head in network.heads:
        assert isinstance(head, torch.nn.Sequential)
        torch.nn.init.normal_(head[-1].weight, std=0.6)
        torch.nn.init.zeros_(head[-1].bias)
    return network
