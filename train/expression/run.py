"""One expression training run: a recipe and a data set → checkpoints that say where they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from runtime.errors import BadInput
from train.checkpoint import load_checkpoint
from train.datasets.labelled_faces import LabelledFaces
from train.expression.task import ExpressionTask
from train.fit import Fitted, fit
from train.networks import build_network
from train.recipe import Recipe

FORMAT = 1  # of checkpoint.json


def train_expression(recipe: Recipe, faces: LabelledFaces, out: Path, resume: bool) -> Fitted:
    """Train on the split `Training`, choose the best epoch on `PublicTest`; `PrivateTest` is never looked at."""
    training, held_out = faces.split("Training"), faces.split("PublicTest")
    if len(training) < recipe.batch_size or not len(held_out):
        raise BadInput(f"expected at least {recipe.batch_size} Training and one PublicTest face, found {len(training)} "
                       f"and {len(held_out)}; mien data check shows what is there")
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network, len(faces.label_names), recipe.dropout, size=recipe.image_sizes[-1][1])
    facts: dict[str, Any] = {
        "format": FORMAT,
        "task": "expression",
        "network": recipe.network,
        "labels": list(faces.label_names),
        "size": recipe.image_sizes[-1][1],  # the size it is tested and exported at
        "recipe": recipe.as_dict(),
        "data": {"name": recipe.data, "sha256": faces.sha256(), "training_images": len(training)},
        "torch": torch.__version__,
    }
    return fit(network, ExpressionTask(training, held_out, recipe), recipe, out, facts, resume)


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network a checkpoint holds, in evaluation mode, and the checkpoint's facts. Raises BadInput."""
    tensors, facts = load_checkpoint(path)
    if "progress" in facts:  # a run's `last`: its averaged weights are what `best` would have kept
        tensors = {k.removeprefix("average/"): v for k, v in tensors.items() if k.startswith("average/")}
        progress = facts["progress"]
        facts |= {"epoch": progress["epoch"], "figures": progress["history"][-1].get("held_out", {})}
    if facts.get("format") != FORMAT or facts.get("task") != "expression":
        raise BadInput(f"expected an expression checkpoint of format {FORMAT}, found {path}; give a run's best or last")
    network = build_network(facts["network"], len(facts["labels"]), size=facts["size"])
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(f"expected the weights of {facts['network']} in {path}, found others; give a run's best or last"
                       ) from error
    return network.eval(), facts
