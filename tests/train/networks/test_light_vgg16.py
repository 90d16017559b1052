"""Paper E's network: its variants, and that checkpoints of the shipped one keep their names and their numbers."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.networks import build_network, count_parameters
from train.networks.csa import ChannelSpatialAttention
from train.networks.eca import eca_kernel_size
from train.networks.normalize import FER2013_MEAN, FER2013_STD

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def reference(w: dict[str, Tensor], faces: Tensor) -> Tensor:
    """The shipped network from its checkpoint's names alone: `features` counts convolutions, attention, pooling."""
    x, index = (faces / 255 - FER2013_MEAN) / FER2013_STD, 0

    def norm(x: Tensor, name: str) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *[w[f"{name}.{key}"] for key in keys])

    for widths in STAGES:
        for _ in widths:
            name = f"features.{index}"
            x = norm(F.conv2d(x, w[f"{name}.0.weight"], padding=1, groups=x.shape[1]), f"{name}.1").relu()
            x = norm(F.conv2d(x, w[f"{name}.3.weight"]), f"{name}.4").relu()
            index += 1
        name, k = f"features.{index}", eca_kernel_size(x.shape[1])
        pooled = x.mean((2, 3))[:, None]
        channel = F.conv1d(pooled, w[f"{name}.channel.mix.weight"], padding=k // 2).sigmoid()[:, 0, :, None, None]
        stacked = torch.stack([x.amax(1), x.mean(1)], 1)
        spatial = F.conv2d(stacked, w[f"{name}.spatial.mix.weight"], w[f"{name}.spatial.mix.bias"]).sigmoid()
        x = F.max_pool2d(x * channel + x * spatial, 2)
        index += 2
    return F.linear(x.mean((2, 3)), w["classify.weight"], w["classify.bias"])


def test_default_keeps_the_names_and_numbers_of_its_checkpoints():
    torch.manual_seed(0)
    network = build_network("light-vgg16", 7, 0.3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    faces = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    state = network.state_dict()
    with torch.no_grad():
        torch.testing.assert_close(network(faces), reference(state, faces.float()), rtol=1e-4, atol=1e-5)
    assert len(state) == 13 * 12 + 5 * 3 + 2


# no attention: 9·in + 2·in + in·out + 2·out of each convolution, 512·7 + 7
@pytest.mark.parametrize(("attention", "count"), [
    ("none", 1_687_250), ("csa", 1_687_288), ("ca", 1_687_273), ("eca", 1_687_273), ("sa", 1_687_265),
    ("se", 1_765_102), ("cbam", 1_765_592), ("scse", 2_301_234),
])
def test_counts_of_every_attention(attention, count):
    with torch.device("meta"):
        assert count_parameters(build_network("light-vgg16", 7, attention=attention)) == count


def test_count_without_attention_by_formula():
    widths = [1, *[width for stage in STAGES for width in stage]]
    convolutions = sum(11 * a + a * b + 2 * b for a, b in pairwise(widths))
    with torch.device("meta"):
        assert count_parameters(build_network("light-vgg16", 7, attention="none")) == convolutions + 512 * 7 + 7


@pytest.mark.parametrize(("position", "pattern"), [
    ("after-conv", "cAcAp cAcAp cAcAcAp cAcAcAp cAcAcAp"),
    ("before-pool", "ccAp ccAp cccAp cccAp cccAp"),
    ("after-pool", "ccpA ccpA cccpA cccpA cccpA"),
])
def test_attention_stands_where_asked(position, pattern):
    letters = {nn.Sequential: "c", nn.MaxPool2d: "p", ChannelSpatialAttention: "A"}
    with torch.device("meta"):
        features = build_network("light-vgg16", 7, position=position).features
    assert "".join(letters[type(layer)] for layer in features) == pattern.replace(" ", "")
