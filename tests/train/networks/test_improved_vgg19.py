"""Paper C's network."""

import torch
from torch import nn

from train.networks import build_network, count_parameters
from train.networks.product_conv import ProductConv2d


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return build_network("improved-vgg19", 7, size=44)


def test_count():
    # 16 convolutions with biases 20,023,232 + batch norm 11,008 + 512·7 + 7
    assert count_parameters(on_meta()) == 20_037_831


def test_every_convolution_is_followed_by_batch_norm_and_relu():
    kinds = [type(m) for m in on_meta().modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.ReLU)]
    assert kinds == [ProductConv2d, nn.BatchNorm2d, nn.ReLU] * 16


def test_it_ends_in_average_dropout_and_one_dense_layer():
    kinds = [type(m) for m in on_meta().children()]
    assert kinds[-3:] == [nn.AdaptiveAvgPool2d, nn.Dropout, nn.Linear]


def test_44_pixels_leave_one_place():
    network = on_meta()
    assert network.features(torch.empty(1, 1, 44, 44, device="meta")).shape == (1, 512, 1, 1)
