"""Paper B's network: LIP in place of every max pooling, two convolutions and one dense layer."""

import pytest
import torch
from torch import nn

from train.networks import build_network, count_parameters
from train.networks.lip import LocalImportancePooling
from train.networks.normalize import NormalizeColour


def on_meta(**options) -> nn.Module:
    with torch.device("meta"):
        return build_network("lip-vgg16", 7, channels=3, size=90, **options)


# max: VGG16's convolutions 14,714,688 + batch norm 8,448 + two 3×3×512 with batch norm 4,720,640 + 512·7 + 7
# lip: and 9·C² + 2·C for C = 64, 128, 256, 512, 512;  eca: and k = 5;  se: and 2·512·32 + 32 + 512
@pytest.mark.parametrize(("options", "count"), [
    ({"pooling": "max"}, 19_447_367),
    ({}, 24_943_047),
    ({"attention": "eca"}, 24_943_052),
    ({"attention": "se"}, 24_976_359),
])
def test_counts(options, count):
    assert count_parameters(on_meta(**options)) == count


def test_lip_stands_for_every_max_pooling():
    network = on_meta()
    assert sum(isinstance(m, LocalImportancePooling) for m in network.modules()) == 5
    assert not any(isinstance(m, nn.MaxPool2d) for m in network.modules())


def test_one_set_of_weights_serves_raf_db_and_sfew():
    network = on_meta().eval()
    for size in (90, 112):
        assert network(torch.empty(1, 3, size, size, dtype=torch.uint8, device="meta")).shape == (1, 7)


def test_colour_is_normalized_by_channel():
    assert isinstance(on_meta().normalize, NormalizeColour)


def test_half_precision_stays_near_with_saturated_gates():
    """Trained logits may fill the gate's whole range; features of a trained VGG are in the tens."""
    torch.manual_seed(0)
    network = build_network("lip-vgg16", 7, size=32).eval()
    for module in network.modules():
        if isinstance(module, LocalImportancePooling):
            nn.init.normal_(module.mix.weight, std=0.05)
            nn.init.constant_(module.norm.weight, 6.0)
    faces = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network(faces)
        network.half().normalize.register_forward_hook(lambda _module, _inputs, output: output.half())
        said = network(faces).float()
    assert said.isfinite().all()
    torch.testing.assert_close(said, wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()))
