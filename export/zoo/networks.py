"""Every network of the papers in every form they print, with the size and colour of face each paper gives it.

Knows nothing of what is done with them. The networks are untrained, as trained ones do not exist for all:
`make_network` gives them statistics of real faces, so that their activations are of a trained network's kind.
"""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from runtime.preprocess import FaceInput
from train.networks import build_network
from train.networks.attention import AttentionKind, AttentionPosition

CLASSES = 7
# Batch norm's shift, in deviations: most ReLUs are open. With none an untrained network magnifies roundings from layer
# to layer (docs/decisions.md)
OPEN = 2.0
GREY48 = FaceInput(48, 48)  # FER2013's own size; CK+ as it lies at hand


@dataclass(frozen=True)
class Variant:
    """One network of the zoo: its name in `NETWORKS`, its options, the paper (A–E, or mien), the face it takes."""

    network: str
    paper: str
    input: FaceInput = GREY48
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name in records: network, face, options."""
        how = self.input
        options = [f"{key}={value}" for key, value in self.options.items()]
        return " ".join([self.network, f"{how.height}×{how.width}×{how.channels}", *options])


def zoo() -> tuple[Variant, ...]:
    """Return every variant: each family's own form first, then the ablations of its paper."""
    rgb90, rgb112, grey128 = FaceInput(90, 90, "rgb"), FaceInput(112, 112, "rgb"), FaceInput(128, 128)
    grey44 = FaceInput(44, 44, resize=48)
    families = [
        Variant("small-vgg", "mien"), Variant("light-vgg16", "E"), Variant("shallow-cnn", "D"),
        Variant("improved-cnn", "D"), Variant("improved-vgg16", "A"), Variant("lip-vgg16", "B", rgb90),
        Variant("improved-vgg19", "C", grey44), Variant("deep-cnn", "D"), Variant("vgg16", "A"),
        Variant("vgg19", "C", grey44),
    ]
    heads = [Variant("improved-vgg16", "A", options={"hidden": hidden}) for hidden in (256, 512, 1024)]
    lips = [Variant("lip-vgg16", "B", rgb90, {"pooling": pooling, "attention": attention})
            for pooling in ("lip", "max") for attention in ("none", "eca", "se")][1:]  # the first is the family's own
    sizes = [Variant("lip-vgg16", "B"), Variant("lip-vgg16", "B", rgb112), Variant("light-vgg16", "E", grey128)]
    lights = [Variant("light-vgg16", "E", options={"attention": "none"})]
    lights += [Variant("light-vgg16", "E", options={"attention": attention, "position": position})
               for position in typing.get_args(AttentionPosition) for attention in typing.get_args(AttentionKind)
               if attention != "none" and (attention, position) != ("csa", "before-pool")]
    return (*families, *heads, *lights, *lips, *sizes)


@torch.no_grad()
def make_network(variant: Variant, faces: np.ndarray) -> nn.Module:
    """Return an untrained network that (N, C, H, W) uint8 faces have passed through once, in evaluation mode.

    Batch norms hold the faces' statistics and are shifted by `OPEN`, each channel's variance at least a tenth of its
    layer's mean (what fires on none of these faces would burst on others); layers that start at zero get He's start;
    the last is scaled so that each logit has mean 0 and deviation 1 over the faces: a label then depends on the face.
    """
    torch.manual_seed(0)
    how = variant.input
    network = build_network(variant.network, CLASSES, channels=how.channels, size=how.height, **variant.options).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.bias, OPEN)
            layer.momentum = None  # the plain mean over all batches
            layer.train()
    batches = [torch.from_numpy(part) for part in np.array_split(faces, math.ceil(len(faces) / 64))]
    for batch in batches:
        network(batch)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None:
            layer.running_var.clamp_(min=float(layer.running_var.mean()) / 10)
    network.eval()
    logits = torch.cat([network(batch) for batch in batches])
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    deviation = logits.std(dim=0)
    last.weight /= deviation[:, None]
    last.bias.copy_((last.bias - logits.mean(dim=0)) / deviation)
    return network
