"""Classic VGG against the counts paper A prints in table 1 and torchvision's totals."""

import pytest
import torch
from torch import nn

from train.networks import build_network, count_parameters


def block_counts(network) -> list[int]:
    """Parameters up to each pooling, then of each dense layer."""
    blocks = [0]
    for layer in network.features:
        if isinstance(layer, nn.MaxPool2d):
            blocks.append(0)
        blocks[-1] += count_parameters(layer)
    return blocks[:-1] + [count_parameters(layer) for layer in network.classifier if isinstance(layer, nn.Linear)]


def on_meta(name: str, classes: int, **options) -> nn.Module:
    with torch.device("meta"):
        return build_network(name, classes, **options)


def test_vgg16_has_the_layer_counts_of_paper_a():
    counts = block_counts(on_meta("vgg16", 1000, channels=3, size=224))
    assert counts == [38_720, 221_440, 1_475_328, 5_899_776, 7_079_424, 102_764_544, 16_781_312, 4_097_000]


@pytest.mark.parametrize(("name", "count"), [("vgg16", 138_357_544), ("vgg19", 143_667_240)])
def test_imagenet_totals_are_torchvisions(name, count):
    assert count_parameters(on_meta(name, 1000, channels=3, size=224)) == count


# the RGB totals less 2·3·3·64 weights of the first layer, the 7×7 places of the first dense one and 993 classes
@pytest.mark.parametrize(("name", "count"), [("vgg16", 33_624_775), ("vgg19", 38_934_471)])
def test_counts_at_48_grey_with_seven_classes(name, count):
    assert count_parameters(on_meta(name, 7)) == count


def test_layer_names_are_torchvisions():
    keys = set(on_meta("vgg16", 1000, channels=3, size=224).state_dict())
    layers = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    layers += [f"classifier.{i}" for i in (0, 3, 6)]
    assert keys == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}


def test_signals_neither_vanish_nor_explode_at_the_start():
    torch.manual_seed(0)
    network = build_network("vgg16", 7).eval()
    faces = torch.randint(0, 256, (4, 1, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        assert 0.1 < float(network(faces).std()) < 100
