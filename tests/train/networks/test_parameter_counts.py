"""Counting as PyTorch and as Keras do."""

from torch import nn

from train.networks.parameter_counts import KerasCounts, count_as_keras, count_parameters


def test_keras_counts_running_statistics_as_not_trainable():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    assert count_as_keras(network) == KerasCounts(total=56, trainable=48, non_trainable=8)


def test_frozen_parameters_are_not_counted():
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert count_parameters(network) == 6
