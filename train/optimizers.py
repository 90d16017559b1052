"""A recipe's optimizer over a network's weights. Knows nothing of schedules or losses."""

from __future__ import annotations

import torch
from torch import nn

from train.recipe import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW, Adam or SGD with Nesterov's momentum, none decaying biases and batch norms (one-dimensional).

    Adam's decay is part of the gradient, AdamW's is not (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101).
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        nesterov = recipe.momentum > 0
        return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=nesterov, fused=True)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate, fused=True)
