"""A run for several processes: the toy task, and a network without batch norm and dropout, which differ by process.

`torchrun --nproc-per-node 2 tests/shared_run.py OUT killed|resumed`: "killed" dies by SIGKILL in its last epoch.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn
from toy_task import FACTS, RECIPE, KilledTask, ToyTask

from train.distributed import Group, joined
from train.fit import Fitted, fit


def network() -> nn.Module:
    """Return two convolutions and a dense layer, the same in every process."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def train(out: Path, resume: bool, group: Group, task: ToyTask | None = None) -> Fitted:
    """Train on one thread for each process."""
    torch.set_num_threads(1)
    return fit(network(), task or ToyTask(), RECIPE, out, FACTS, resume, group)


if __name__ == "__main__":
    with joined() as group_:
        killed = sys.argv[2] == "killed"
        train(Path(sys.argv[1]), not killed, group_, KilledTask(2, 5) if killed else None)
