"""A checkpoint: `weights.safetensors` and `checkpoint.json` in one directory that is whole or absent.

No pickle is ever written or opened. Knows nothing of tasks: what the JSON says beyond the hash is the caller's.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from runtime.durable import replacing_directory
from runtime.errors import BadInput

Tensors = dict[str, torch.Tensor]


def save_checkpoint(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Write tensors and facts as the directory `path`, replacing an older one as a whole."""
    content = save({name: t.detach().contiguous() for name, t in tensors.items()})
    facts = facts | {"sha256": hashlib.sha256(content).hexdigest()}
    with replacing_directory(path, known_by="checkpoint.json") as directory:
        (directory / "weights.safetensors").write_bytes(content)
        (directory / "checkpoint.json").write_text(json.dumps(facts, indent=2) + "\n")


def load_checkpoint(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read and verify a checkpoint. Raises BadInput where a file is missing, damaged or does not match its hash."""
    path = Path(path)
    for _ in range(2):  # a training may replace it between the two files, once in minutes
        try:
            facts = json.loads((path / "checkpoint.json").read_text())
            content = (path / "weights.safetensors").read_bytes()
        except (OSError, ValueError) as error:
            raise BadInput(f"expected a checkpoint directory, found {path}: {error}; give a run's best or last"
                           ) from error
        if isinstance(facts, dict) and hashlib.sha256(content).hexdigest() == facts.get("sha256"):
            return load(content), facts
    raise BadInput(f"expected the weights that {path}/checkpoint.json names, found other bytes; train again")
