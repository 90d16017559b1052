"""small-vgg keeps the names and the numbers of its checkpoints."""

import torch
import torch.nn.functional as F
from torch import nn

from train.networks import build_network, count_parameters
from train.networks.normalize import FER2013_MEAN, FER2013_STD


def test_names_and_numbers_of_its_checkpoints():
    torch.manual_seed(0)
    network = build_network("small-vgg", 7, 0.3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    w = network.state_dict()
    faces = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    x, names = (faces / 255 - FER2013_MEAN) / FER2013_STD, set()
    for i in range(13):
        if i in (2, 5, 9):  # the poolings among the ten convolutions
            x = F.max_pool2d(x, 2)
            continue
        x = F.conv2d(x, w[f"features.{i}.0.weight"], padding=1)
        keys = [f"features.{i}.1.{part}" for part in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *[w[key] for key in keys]).relu()
        names |= {f"features.{i}.0.weight", f"features.{i}.1.num_batches_tracked", *keys}
    wanted = F.linear(x.mean((2, 3)), w["classify.weight"], w["classify.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network(faces), wanted, rtol=1e-4, atol=1e-5)
    assert set(w) == names | {"classify.weight", "classify.bias"}


def test_count():
    with torch.device("meta"):
        assert count_parameters(build_network("small-vgg", 7)) == 1_912_487
