"""The processes of one run, as `torchrun` starts them: which am I, what is my share, what do all of us say.

One process is a group of one, without any communication. Knows nothing of networks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as processes
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from runtime.errors import BadInput


@dataclass(frozen=True)
class Group:
    """This process among `size`; the first writes the files and the progress."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """True in the process that writes."""
        return self.rank == 0

    def share_of(self, count: int) -> slice:
        """Return this process's rows of a batch of `count`. Raises BadInput where they cannot be equal."""
        if count % self.size:
            raise BadInput(f"expected a batch_size that {self.size} processes share equally, found {count}")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        if self.size > 1:
            value = value.clone()
            processes.all_reduce(value)
            value /= self.size
        return value

    def agree(self, value: bool) -> bool:
        """Return what the first process says, in all of them."""
        if self.size > 1:
            said = torch.tensor(float(value))
            processes.broadcast(said, src=0)
            value = bool(said)
        return value

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return a network whose gradients are the means over all processes."""
        return network if self.size == 1 else DistributedDataParallel(network)


@contextmanager
def joined() -> Iterator[Group]:
    """Join the processes that torchrun started (its environment says so), and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    processes.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Group(processes.get_rank(), processes.get_world_size())
    finally:
        processes.destroy_process_group()
