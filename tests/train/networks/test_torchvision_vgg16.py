"""ImageNet's weights → lip-vgg16, checked on networks laid out as torchvision's own file lays them out."""

import pytest
import torch
from torch import Tensor, nn

from runtime.errors import BadInput
from train.networks import build_network
from train.networks.torchvision_vgg16 import start_from_torchvision

# torchvision/models/vgg.py, configuration "D"
CONFIGURATION = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def torchvision_features(batch_norm: bool) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for width in CONFIGURATION:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
        if batch_norm:
            norm = nn.BatchNorm2d(width)
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 1.5)
            layers.append(norm)
        layers.append(nn.ReLU(inplace=True))
        channels = width
    return nn.Sequential(*layers).eval()


def state_of(features: nn.Sequential) -> dict[str, Tensor]:
    state = {f"features.{key}": tensor for key, tensor in features.state_dict().items()}
    return state | {"classifier.0.weight": torch.zeros(4096, 25088)[:1]}  # torchvision's head comes along unused


def test_batch_norm_weights_give_the_same_features():
    theirs = torchvision_features(batch_norm=True)
    ours = build_network("lip-vgg16", 7, channels=3, pooling="max").eval()
    start_from_torchvision(ours, state_of(theirs))
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.features(pixels), theirs(pixels), rtol=1e-4, atol=1e-5)


def test_plain_weights_give_the_same_features_under_fresh_batch_norm():
    theirs = torchvision_features(batch_norm=False)
    ours = build_network("lip-vgg16", 7, channels=3, pooling="max").eval()
    start_from_torchvision(ours, state_of(theirs))
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        # a fresh batch norm in evaluation divides by √(1 + 1e-5)
        torch.testing.assert_close(ours.features(pixels), theirs(pixels), rtol=1e-3, atol=1e-4)


def test_pooling_and_head_keep_their_random_start_and_are_named():
    network = build_network("lip-vgg16", 7, channels=3)
    left = start_from_torchvision(network, state_of(torchvision_features(batch_norm=True)))
    assert {key.split(".")[0] for key in left} == {"features", "head", "classify"}
    assert {key.split(".")[1] for key in left if key.startswith("features")} == {"2", "5", "9", "13", "17"}


def test_a_grey_network_gets_the_sum_over_colours():
    theirs = torchvision_features(batch_norm=True)
    ours = build_network("lip-vgg16", 7, channels=1, pooling="max").eval()
    start_from_torchvision(ours, state_of(theirs))
    grey = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.features(grey), theirs(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_another_networks_weights_are_refused():
    state = state_of(torchvision_features(batch_norm=False))
    del state["features.28.weight"]
    with pytest.raises(BadInput, match="found no features.28.weight"):
        start_from_torchvision(build_network("lip-vgg16", 7, channels=3), state)


def test_another_shape_is_refused():
    state = state_of(torchvision_features(batch_norm=False))
    state["features.5.weight"] = torch.zeros(128, 32, 3, 3)
    with pytest.raises(BadInput, match="found \\(128, 32, 3, 3\\)"):
        start_from_torchvision(build_network("lip-vgg16", 7, channels=3), state)
