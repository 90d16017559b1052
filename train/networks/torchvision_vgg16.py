"""Start lip-vgg16 from torchvision's ImageNet VGG16: whose tensor becomes whose.

Takes the state dict of torchvision's `vgg16` or `vgg16_bn` (https://docs.pytorch.org/vision/stable/models/vgg.html);
only its `features.*` are used, so timm's files with the same names do as well. Knows nothing of files: no pickle is
opened here or elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from runtime.errors import BadInput
from train.networks.lip_vgg16 import LIPVGG16
from train.networks.vgg_classic import VGG16_STAGES

_CONVOLUTION = ("weight", "bias")
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_key_map(batch_norm: bool) -> dict[str, str]:
    """Return {torchvision's key: lip-vgg16's key} for the thirteen convolutions, and their batch norms if it has them.

    torchvision counts every layer of `features` (convolution, batch norm, ReLU, pooling); lip-vgg16 counts a block of
    the first three as one.
    """
    keys: dict[str, str] = {}
    theirs = ours = 0
    for widths in VGG16_STAGES:
        for _ in widths:
            keys |= {f"features.{theirs}.{part}": f"features.{ours}.0.{part}" for part in _CONVOLUTION}
            if batch_norm:
                keys |= {f"features.{theirs + 1}.{part}": f"features.{ours}.1.{part}" for part in _BATCH_NORM}
            theirs, ours = theirs + (3 if batch_norm else 2), ours + 1
        theirs, ours = theirs + 1, ours + 1  # the pooling
    return keys


def start_from_torchvision(network: LIPVGG16, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Copy ImageNet's convolutions into `network`; returns the names of its tensors that keep their random start.

    A grey network gets the sum of the red, green and blue filters. Raises BadInput where a tensor is missing or has
    another shape.
    """
    batch_norm = "features.1.running_mean" in tensors
    own = network.state_dict()
    started = {}
    for theirs, ours in torchvision_key_map(batch_norm).items():
        if theirs not in tensors:
            raise BadInput(f"expected torchvision's VGG16, found no {theirs}; give the state dict of vgg16 or vgg16_bn")
        tensor = tensors[theirs]
        if ours == "features.0.0.weight" and own[ours].shape[1] == 1 and tensor.ndim == 4:
            tensor = tensor.sum(dim=1, keepdim=True)
        if tensor.shape != own[ours].shape:
            raise BadInput(f"expected {theirs} of shape {tuple(own[ours].shape)}, found {tuple(tensor.shape)}; "
                           "give the state dict of torchvision's vgg16 or vgg16_bn")
        started[ours] = tensor
    network.load_state_dict(own | started)
    return tuple(name for name in own if name not in started)
