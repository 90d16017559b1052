"""Paper A's network: what stands between convolutions, and the four heads."""

import pytest
import torch
from torch import nn

from runtime.errors import BadInput
from train.networks import build_network, count_parameters
from train.networks.byte_dropout import ByteDropout
from train.networks.product_conv import ProductConv2d


def on_meta(**options) -> nn.Module:
    with torch.device("meta"):
        return build_network("improved-vgg16", 7, **options)


# 13 convolutions with biases 14,713,536 + batch norm 8,448, then 512·7 + 7, or 512·h + h + 7h + 7
@pytest.mark.parametrize(("hidden", "count"), [
    (0, 14_725_575), (256, 14_855_111), (512, 14_988_231), (1024, 15_254_471),
])
def test_counts_of_the_four_heads(hidden, count):
    assert count_parameters(on_meta(hidden=hidden)) == count


def test_dropout_stands_between_every_two_convolutions_and_nowhere_else():
    kinds = [type(m) for m in on_meta().modules() if isinstance(m, nn.Conv2d | nn.Dropout | nn.Linear)]
    assert kinds == [ProductConv2d, *[ByteDropout, ProductConv2d] * 12, nn.Linear]


def test_batch_norm_follows_every_convolution():
    kinds = [type(m) for m in on_meta().modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    assert kinds == [ProductConv2d, nn.BatchNorm2d] * 13


def test_at_48_pixels_the_average_is_a_flatten():
    torch.manual_seed(0)
    network = build_network("improved-vgg16", 7).eval()
    features = network.features(network.normalize(torch.randint(0, 256, (1, 1, 48, 48), dtype=torch.uint8)))
    assert features.shape == (1, 512, 1, 1)
    torch.testing.assert_close(network.pool(features).flatten(1), features.flatten(1), rtol=0, atol=0)


def test_negative_hidden_is_refused():
    with pytest.raises(BadInput, match="hidden ≥ 0"):
        build_network("improved-vgg16", 7, hidden=-1)
