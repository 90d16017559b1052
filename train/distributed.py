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

from runtime.errors import BadInput, Unavailable


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


def require_one_process(verb: str) -> None:
    """Raise BadInput where torchrun started several processes of a verb that shares nothing between them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadInput(f"expected one process of {verb}, found {os.environ['WORLD_SIZE']}, which would write over one "
                       "another; start it without torchrun")


@contextmanager
def joined() -> Iterator[Group]:
    """Join the processes that torchrun started (its environment says so), and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise BadInput(f"expected the environment that torchrun sets, found WORLD_SIZE without {', '.join(missing)}; "
                       "start with python -m torch.distributed.run, or unset WORLD_SIZE")
    if torch.cuda.is_available():
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise Unavailable(f"expected a GPU for each process, found {there} GPUs and process {local + 1} of this "
                              f"machine; start torchrun with --nproc-per-node {there}")
        torch.cuda.set_device(local)
    processes.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Group(processes.get_rank(), processes.get_world_size())
    finally:
        processes.destroy_process_group()
