"""Paper D's three networks against its printed Keras summaries."""

import pytest
import torch
from torch import nn

from runtime.errors import BadInput
from train.networks import build_network, count_as_keras
from train.networks.parameter_counts import KerasCounts


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_network(name, 7)


def weighted_layers(name: str) -> list[int]:
    """Parameters of each convolution and dense layer in order."""
    layers = [m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return [sum(p.numel() for p in layer.parameters()) for layer in layers]


def output_sizes(name: str, kind: type) -> list[tuple[int, ...]]:
    network, shapes = on_meta(name), []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network.eval()(torch.empty(1, 1, 48, 48, dtype=torch.uint8, device="meta"))
    return shapes


@pytest.mark.parametrize(("name", "counts"), [
    ("shallow-cnn", KerasCounts(2_345_607, 2_345_607, 0)),
    ("improved-cnn", KerasCounts(2_345_607, 2_345_607, 0)),
    ("deep-cnn", KerasCounts(20_552_775, 20_543_559, 9_216)),
])
def test_keras_totals(name, counts):
    assert count_as_keras(on_meta(name)) == counts


def test_layers_of_the_shallow_network():
    assert weighted_layers("shallow-cnn") == [320, 18_496, 73_856, 147_584, 2_098_176, 7_175]


def test_layers_of_the_deep_network():
    assert weighted_layers("deep-cnn") == [
        640, 36_928, 204_928, 409_728, 409_728, 590_336, *[2_359_808] * 7, 2_359_808, 3_591,
    ]


def test_poolings_of_the_shallow_network():
    assert output_sizes("shallow-cnn", nn.MaxPool2d) == [(64, 22, 22), (128, 10, 10), (128, 4, 4)]


def test_poolings_of_the_deep_network():
    assert output_sizes("deep-cnn", nn.MaxPool2d) == [(64, 24, 24), (128, 12, 12), (512, 6, 6), (512, 3, 3)]


def test_the_improved_network_drops_where_its_summary_says():
    conv, pool, drop, dense = nn.Conv2d, nn.MaxPool2d, nn.Dropout, nn.Linear
    kinds = [type(m) for m in on_meta("improved-cnn").modules() if isinstance(m, conv | pool | drop | dense)]
    assert kinds == [conv, conv, pool, drop, conv, pool, conv, pool, drop, dense, drop, dense]


def test_relu_stands_before_batch_norm_in_the_deep_network():
    kinds = [type(m) for m in on_meta("deep-cnn").features if isinstance(m, nn.Conv2d | nn.ReLU | nn.BatchNorm2d)]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 13


def test_the_shallow_network_drops_nothing():
    torch.manual_seed(0)
    network = build_network("shallow-cnn", 7).train()
    faces = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(network(faces), network(faces), rtol=0, atol=0)


def test_dropout_for_the_shallow_network_is_refused_with_advice():
    with pytest.raises(BadInput, match="improved-cnn"):
        build_network("shallow-cnn", 7, 0.3)
