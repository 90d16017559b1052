"""One expression training run: a recipe and a data set → checkpoints that say where they came from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from runtime.errors import BadInput
from train.checkpoint import load_checkpoint
from train.datasets.labelled_faces import LabelledFaces
from train.distributed import Group
from train.expression.parts import face_input, parts_of, warn_of_untrained, with_streamed
from train.expression.start import start_from
from train.expression.task import ExpressionTask
from train.fit import Fitted, fit
from train.networks import build_network, require_sides
from train.recipe import Recipe

FORMAT = 1  # of checkpoint.json


def train_expression(recipe: Recipe, faces: LabelledFaces, out: Path, resume: bool, start: Path | None = None,
                     group: Group | None = None, command: str = "", new_head: bool = False) -> Fitted:
    """Train on one part of the faces and choose the epoch on another, where there is one; what is reported never does.

    start: a checkpoint directory or a `.safetensors` file whose weights the network starts from; new_head: all but its
    answering layers. group: the processes that share the run. command: what makes this run again, for its checkpoints.
    A GPU is taken where there is one.
    Raises BadInput, MienError.
    """
    parts = with_streamed(recipe, parts_of(recipe, faces))
    warn_of_untrained(parts.training)
    group = group or Group()
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network, len(faces.label_names), recipe.dropout, recipe.channels, recipe.side,
                            **recipe.network_options)
    shown = {recipe.size_at(epoch) for epoch in range(recipe.epochs)}
    require_sides(recipe.network, recipe.side, shown)
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    opened = [load_network(Path(path)) for path in (recipe.distillation.teachers if recipe.distillation else ())]
    for _, facts_of_teacher in opened:
        _require_same_answers(facts_of_teacher, recipe, faces.label_names)
        require_sides(facts_of_teacher["network"], facts_of_teacher["size"], shown)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "task": "expression",
        "network": recipe.network,
        "labels": list(faces.label_names),
        "size": recipe.side,  # the size it is tested and exported at
        "input": dataclasses.asdict(face_input(recipe)),
        "recipe": recipe.as_dict(),
        "data": {"name": recipe.data, "sha256": faces.sha256(), "training_images": len(parts.training),
                 "reported_images": len(parts.reported), "shared_people": parts.shared_people,
                 "chosen_on": None if parts.choosing is None else len(parts.choosing)},
        "command": command,
        "torch": torch.__version__,
    }
    if opened:
        facts["teachers"] = [facts_of_teacher["sha256"] for _, facts_of_teacher in opened]
    if start is not None:
        facts["started_from"] = start_from(network, start, faces.label_names, new_head)
    task = ExpressionTask(parts.training, parts.choosing or parts.reported, recipe, parts.choosing is not None,
                          [teacher.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
                           for teacher, _ in opened])
    return fit(network, task, recipe, out, facts, resume, group, device)


def _require_same_answers(teacher: dict[str, Any], recipe: Recipe, labels: tuple[str, ...]) -> None:
    """Refuse a teacher that answers with other labels, or that wants its faces otherwise."""
    wants = teacher.get("input", {})
    theirs = wants.get("colour", "grey"), bool(wants.get("equalize", False))
    if tuple(teacher["labels"]) != labels or theirs != (recipe.colour, recipe.equalize):
        raise BadInput(f"expected teachers of {', '.join(labels)} in {_reading(recipe.colour, recipe.equalize)}, found "
                       f"one of {', '.join(teacher['labels'])} in {_reading(*theirs)}; choose another teacher")


def _reading(colour: str, equalize: bool) -> str:
    return f"equalized {colour}" if equalize else colour


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network a checkpoint holds, in evaluation mode, and the checkpoint's facts. Raises BadInput."""
    tensors, facts = load_checkpoint(path)
    if "progress" in facts:  # a run's `last`: its averaged weights are what `best` would have kept
        tensors = {k.removeprefix("average/"): v for k, v in tensors.items() if k.startswith("average/")}
        progress = facts["progress"]
        facts |= {"epoch": progress["epoch"], "figures": progress["history"][-1].get("held_out", {})}
    if facts.get("format") != FORMAT or facts.get("task") != "expression":
        raise BadInput(f"expected an expression checkpoint of format {FORMAT}, found {path}; give a run's best or last")
    options = facts.get("recipe", {}).get("network_options", {})
    channels = 3 if facts.get("input", {}).get("colour") == "rgb" else 1
    network = build_network(facts["network"], len(facts["labels"]), None, channels, facts["size"], **options)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(f"expected the weights of {facts['network']} in {path}, found others; give a run's best or last"
                       ) from error
    return network.eval(), facts
