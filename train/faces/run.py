"""One training run of the detector: a recipe, pictures and labels → checkpoints that say where they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch

from runtime.config import build
from runtime.errors import BadInput
from train.checkpoint import load_checkpoint
from train.distributed import Group
from train.faces.labels import FaceLabels, part_of
from train.faces.network import FaceDetector
from train.faces.pictures import load_pictures
from train.faces.recipe import FaceRecipe
from train.faces.task import FaceTask
from train.fit import Fitted, fit

FORMAT = 1  # of checkpoint.json
TASK = "face"


def train_faces(recipe: FaceRecipe, data: Path, labels: FaceLabels, out: Path, resume: bool,
                group: Group | None = None, command: str = "") -> Fitted:
    """Train on one part of the pictures and choose the epoch on another; the reported part is not even opened.

    group: the processes that share the run. command: what makes this run again, for its checkpoints. A GPU is taken
    where there is one. Raises BadInput, MienError.
    """
    cv2.setNumThreads(1)  # its threads would wait for torch's, and a scene is too small to share
    torch.manual_seed(recipe.seed)
    network = FaceDetector(recipe.widths, recipe.blocks)
    training = load_pictures(data, labels, "training")
    task = FaceTask(training, load_pictures(data, labels, "choosing"), recipe)
    facts: dict[str, Any] = {
        "format": FORMAT, "task": TASK, "network": "face-detector",
        "recipe": recipe.as_dict(),
        "data": {"sha256": labels.sha256(), "teacher": labels.teacher, "heads": len(training.heads),
                 "photographs": len(training.photographs),
                 "held_out": {"heads": int((part_of(labels.heads.names) == "reported").sum()),
                              "photographs": int((part_of(labels.scenes.names) == "reported").sum())}},
        "command": command, "torch": torch.__version__,
    }
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    return fit(network, task, recipe.fitting(), out, facts, resume, group or Group(), device)


def load_face_network(path: Path) -> tuple[FaceDetector, FaceRecipe, dict[str, Any]]:
    """Return the detector a checkpoint holds, in evaluation mode, its recipe and its facts. Raises BadInput."""
    tensors, facts = load_checkpoint(path)
    if facts.get("format") != FORMAT or facts.get("task") != TASK:
        raise BadInput(f"expected a face checkpoint of format {FORMAT}, found {path}; give a run's best or last")
    if "progress" in facts:  # a run's `last`: its averaged weights are what `best` would have kept
        tensors = {k.removeprefix("average/"): v for k, v in tensors.items() if k.startswith("average/")}
    recipe = build(FaceRecipe, facts["recipe"], str(path))
    network = FaceDetector(recipe.widths, recipe.blocks)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(f"expected the weights of the recipe's detector in {path}, found others; give a run's best or "
                       "last") from error
    return network.eval(), recipe, facts
