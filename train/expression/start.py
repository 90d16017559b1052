"""Weights a run starts from: another run's checkpoint, or torchvision's ImageNet VGG16 as a safetensors file.

Nothing is downloaded and no pickle is opened. Knows nothing of what is trained afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from runtime.errors import BadInput
from train.checkpoint import load_checkpoint
from train.networks.lip_vgg16 import LIPVGG16
from train.networks.torchvision_vgg16 import start_from_torchvision

HEAD = ("classify.", "classifier.")  # the layers that answer, as every network here names them


def start_from(network: nn.Module, path: Path, labels: Sequence[str] | None = None,
               new_head: bool = False) -> dict[str, Any]:
    """Copy weights from a checkpoint directory or a `.safetensors` file into `network`; returns what was done.

    From a checkpoint of the same network, every tensor of the same shape. labels: the classes that `network` will
    answer with; where the checkpoint's are others, as many or not, the layers that answer keep their random start, as
    they do under new_head. Raises BadInput where nothing fits, and for a pickle.
    """
    if path.is_dir():
        tensors, facts = load_checkpoint(path)
        tensors = {k.removeprefix("average/"): v for k, v in tensors.items() if not k.startswith(("network/",
                                                                                                  "optimizer/"))}
        own = network.state_dict()
        fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
        if new_head or (labels is not None and list(labels) != facts.get("labels")):
            fitting = {k: v for k, v in fitting.items() if not k.startswith(HEAD)}
        kept = tuple(name for name in own if name not in fitting)
        if len(fitting) < len(own) / 2:
            raise BadInput(f"expected the weights of the recipe's network in {path}, found {facts.get('network')}'s; "
                           "give a checkpoint of the same network")
        network.load_state_dict(own | fitting)
        return {"sha256": facts["sha256"], "random_start": list(kept)}
    if path.suffix != ".safetensors":
        raise BadInput(f"expected a checkpoint directory or a .safetensors file, found {path}; pickles are not opened: "
                       "save torchvision's state dict with safetensors.torch.save_file first")
    if not isinstance(network, LIPVGG16):
        raise BadInput(f"expected lip-vgg16 to start from torchvision's VGG16, found {type(network).__name__}; "
                       "start other networks from a checkpoint directory")
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"expected a safetensors file, found {path}: {error}; check the path") from error
    kept = start_from_torchvision(network, tensors)
    return {"sha256": hashlib.sha256(content).hexdigest(), "random_start": list(kept)}
