"""How many numbers a network holds, counted as PyTorch counts and as Keras' summary prints. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class KerasCounts:
    """The last three lines of `model.summary()`."""

    total: int
    trainable: int
    non_trainable: int


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_as_keras(network: nn.Module) -> KerasCounts:
    """Count batch norm's running means and variances as parameters that are not trained, as Keras does."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats]
    trainable, non_trainable = count_parameters(network), sum(2 * layer.num_features for layer in norms)
    return KerasCounts(trainable + non_trainable, trainable, non_trainable)
