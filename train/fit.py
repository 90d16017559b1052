"""Fit a network: steps, averaged weights, a checkpoint an epoch, exact resume. Knows no task.

Every epoch draws all its randomness from (seed, epoch), so a run continued from its last checkpoint takes the same
steps as one that was never interrupted. Started by torchrun, each process takes its share of every batch.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from runtime.durable import write_text
from runtime.errors import BadInput, MienError
from train.checkpoint import Tensors, load_checkpoint, save_checkpoint
from train.distributed import Group
from train.optimizers import make_optimizer
from train.recipe import Recipe
from train.run_folder import alone_in
from train.schedules import learning_rate


class Task(Protocol):
    """What `fit` needs to know of a task."""

    steps_per_epoch: int
    # True: the epoch with the highest held-out score is kept. False where nothing is there to choose on (the held-out
    # figures are those that will be reported): the last epoch is kept
    chooses: bool

    def batches(self, epoch: int, generator: torch.Generator, group: Group) -> Iterator[tuple[Tensor, Any]]:
        """Yield (inputs, targets) for one epoch: this process's share of every batch, on the CPU."""

    def loss(self, outputs: Tensor, targets: Any, inputs: Tensor) -> Tensor:
        """Return the scalar training loss."""

    def correct(self, outputs: Tensor, targets: Any) -> float:
        """Return the share of a batch that is right, for the progress line."""

    def score(self, network: nn.Module) -> dict[str, float]:
        """Return held-out figures; `score` is the one a larger value of which is kept as best."""


# PyTorch 2.8 and later tell CUDA's own errors from others; before, they are RuntimeErrors like any
_GPU_ERRORS: tuple[type[Exception], ...] = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()


@dataclass(frozen=True)
class Fitted:
    """What a run came to: the epoch kept as best, and its figures."""

    best_epoch: int
    figures: dict[str, float]
    seconds: float


@dataclass
class _Progress:
    """Where a run stands after its last whole epoch."""

    next_epoch: int = 0
    best: Fitted = Fitted(-1, {"score": -math.inf}, 0.0)
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class AveragedWeights:
    """Exponential moving average of every float tensor of a network, batch-norm statistics included."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.state = {name: t.detach().clone() for name, t in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network; the decay warms up so that the first steps are not remembered for long."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def fit(network: nn.Module, task: Task, recipe: Recipe, out: Path, facts: dict[str, Any], resume: bool,
        group: Group | None = None, device: str = "cpu") -> Fitted:
    """Train `network` and leave `out/best`, `out/last` and `out/metrics.jsonl`.

    `facts` (network, labels, data hash …) go into every checkpoint. group: the processes that share the batches; all
    of them must see `out`. Raises BadInput when `out` holds another run, one at work, or none to resume; MienError
    when loss, gradients or weights are not finite (no checkpoint is written; a loss's batch is saved), or memory ends.
    """
    group = group or Group()
    if (out / "last").exists() and not resume:
        raise BadInput(f"expected an empty --out, found a run in {out}; add --resume or choose another")
    if resume and not (out / "last").exists():
        raise BadInput(f"expected a run to resume in {out}, found none; leave --resume away")
    with alone_in(out) if group.first else contextlib.nullcontext():
        return _fit(network, task, recipe, out, facts, resume, group, device)


def _fit(network: nn.Module, task: Task, recipe: Recipe, out: Path, facts: dict[str, Any], resume: bool, group: Group,
         device: str) -> Fitted:
    """Train as `fit` says, in a folder that is this run's alone."""
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    fitting = Fitting(network, task, recipe, out, facts, group, device)
    progress = fitting.restore() if resume else _Progress()
    if resume and group.first:  # a kill after `last` left these out
        if progress.best.best_epoch == progress.next_epoch - 1 and not fitting.holds(progress.best):
            fitting.save_best(progress.best)
        fitting.write_metrics(progress)
    fitting.start()
    for epoch in range(progress.next_epoch, recipe.epochs):
        if _waited_enough(progress, recipe):
            break
        began = time.monotonic()
        line = fitting.train_epoch(epoch)
        held_out = fitting.scored() if group.first else {}
        taken = time.monotonic() - began
        progress.seconds += taken
        line |= {"epoch": epoch + 1, "size": recipe.size_at(epoch), "seconds": round(taken, 1)}
        progress.history.append(line | {"held_out": held_out})
        progress.next_epoch = epoch + 1
        improved = group.agree(bool(held_out) and (not task.chooses or held_out["score"]
                                                   > progress.best.figures["score"]))
        if improved:
            progress.best = Fitted(epoch, held_out, progress.seconds)
        if group.first:
            fitting.save(progress, improved)
            shown = "  ".join(f"{k} {v:.4f}" for k, v in held_out.items() if k != "score")
            tqdm.write(f"epoch {epoch + 1}/{recipe.epochs}  loss {line['loss']:.4f}  accuracy {line['accuracy']:.4f}  "
                       f"{line['images_per_second']:.0f} images/s  held out: {shown}", file=sys.stderr)
    return Fitted(progress.best.best_epoch, progress.best.figures, progress.seconds)


def _waited_enough(progress: _Progress, recipe: Recipe) -> bool:
    """Say whether `patience` epochs went by without a better score; counted in epochs, so all processes agree."""
    return bool(recipe.patience) and progress.next_epoch - 1 - progress.best.best_epoch >= recipe.patience


class Fitting:
    """The state that one run carries from step to step: network, optimizer, average, loss scale."""

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe, out: Path, facts: dict[str, Any], group: Group,
                 device: str):
        self.network, self.task, self.recipe, self.out, self.facts = network, task, recipe, out, facts
        self.group, self.device = group, torch.device(device)
        self.optimizer = make_optimizer(network, recipe)
        self.average = AveragedWeights(network, recipe.ema)
        # half's gradients underflow without a scale (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        self.wrapped = network

    def start(self) -> None:
        """Tie the processes together, once the weights are those to start from."""
        self.wrapped = self.group.wrap(self.network)

    def train_epoch(self, epoch: int) -> dict[str, Any]:
        """Take one epoch's steps; return its mean loss, accuracy and speed."""
        recipe, task = self.recipe, self.task
        seed = recipe.seed * 1_000_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed + 7_919 * self.group.rank)  # dropout draws from the global generator
        self.network.train()
        total, step = task.steps_per_epoch * recipe.epochs, epoch * task.steps_per_epoch
        seen, loss_sum, correct, began = 0, 0.0, 0.0, time.monotonic()
        bar = tqdm(task.batches(epoch, generator, self.group), total=task.steps_per_epoch, desc=f"epoch {epoch + 1}",
                   leave=False, disable=None if self.group.first else True, unit="batch")
        for inputs, targets in bar:
            for options in self.optimizer.param_groups:
                options["lr"] = learning_rate(step, total, recipe)
            try:
                value, right = self._step(inputs, targets, epoch, step)
            except torch.cuda.OutOfMemoryError as error:
                raise MienError(f"expected room on {self.device} for {len(inputs)} faces of {inputs.shape[-1]} pixels "
                                "at once, found none left; take a smaller batch, --set batch_size=…") from error
            except _GPU_ERRORS as error:  # CUDA's own: nothing on that device can be trusted any more
                raise MienError(f"expected {self.device} to go on, found {str(error).splitlines()[0]}; the last epoch "
                                f"lies in {self.out}/last, --resume goes on from there") from error
            step, count = step + 1, len(inputs) * self.group.size
            seen, loss_sum, correct = seen + count, loss_sum + value * count, correct + right * count
            bar.set_postfix_str(f"loss {loss_sum / seen:.3f} accuracy {correct / seen:.3f} "
                                f"{seen / (time.monotonic() - began):.0f} images/s")
        if not all(bool(t.isfinite().all()) for t in self.network.state_dict().values()):  # the last step's gradient
            raise MienError(f"expected finite weights after epoch {epoch + 1}, found NaN or infinity; the last good "
                            f"epoch lies in {self.out}/last; lower learning_rate")
        return {"loss": loss_sum / seen, "accuracy": correct / seen, "learning_rate": learning_rate(step - 1, total,
                recipe), "images_per_second": round(seen / (time.monotonic() - began), 1)}

    def _step(self, inputs: Tensor, targets: Any, epoch: int, step: int) -> tuple[float, float]:
        """Take one step; return the loss and the share that was right, over all processes."""
        inputs = inputs.to(self.device).contiguous(memory_format=torch.channels_last)
        with autocast(self.device.type, self.recipe.precision):
            outputs = self.wrapped(inputs)
        loss = self.task.loss(outputs.float(), targets, inputs)
        value = float(self.group.mean(loss.detach()))
        if not math.isfinite(value):
            name = "bad-batch" if self.group.size == 1 else f"bad-batch-{self.group.rank}"
            save_checkpoint(self.out / name, {"inputs": inputs}, {"epoch": epoch, "step": step})
            self.group.mean(torch.zeros(()))  # any process's share may be the bad one: none ends before all are saved
            raise MienError(f"expected a finite loss, found {value} at step {step}; the batch lies in {self.out}/"
                            f"{name}, the last good epoch in {self.out}/last; lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:  # halved at every step it had to leave out
            raise MienError(f"expected finite gradients, found none at any loss scale down to 1 by step {step}; the "
                            f"last epoch lies in {self.out}/last; choose precision bfloat16 or float32")
        self.average.update(self.network)
        return value, float(self.group.mean(torch.tensor(self.task.correct(outputs, targets))))

    def scored(self) -> dict[str, float]:
        """Score the averaged weights in the network's place, then put its own back."""
        own = {name: t.clone() for name, t in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.state)
        self.network.eval()
        try:
            return self.task.score(self.network)
        finally:
            self.network.load_state_dict(own)

    def save(self, progress: _Progress, improved: bool) -> None:
        """Write `last`, everything a resumed run needs, then `best` if this epoch is: `last` can make it again."""
        tensors = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in moments.items() if v is not None}
        said = {"epoch": progress.next_epoch - 1, "average_steps": self.average.steps,
                "best_epoch": progress.best.best_epoch, "best_figures": progress.best.figures,
                "seconds": progress.seconds, "history": progress.history, "loss_scale": self.scaler.state_dict()}
        save_checkpoint(self.out / "last", tensors, self.facts | {"progress": said})
        if improved:
            self.save_best(progress.best)
        self.write_metrics(progress)

    def save_best(self, best: Fitted) -> None:
        """Write the averaged weights, which are those of the best epoch now."""
        facts = {"epoch": best.best_epoch, "figures": best.figures}
        save_checkpoint(self.out / "best", self.average.state, self.facts | facts)

    def holds(self, best: Fitted) -> bool:
        """Say whether `best` is whole, and of that epoch."""
        try:
            return bool(load_checkpoint(self.out / "best")[1].get("epoch") == best.best_epoch)
        except BadInput:
            return False

    def write_metrics(self, progress: _Progress) -> None:
        """Write a line an epoch."""
        write_text(self.out / "metrics.jsonl", "".join(json.dumps(entry) + "\n" for entry in progress.history))

    def restore(self) -> _Progress:
        """Load what `save` wrote; refuse another run's."""
        tensors, saved = load_checkpoint(self.out / "last")
        own = json.loads(json.dumps(self.facts))
        for key in {**own, **saved}:
            # a recipe given by its name or by its path is the same recipe
            if key not in ("command", "progress", "sha256") and saved.get(key) != own.get(key):
                found = "another" if key in own else "none"
                began = f": {saved['command']}" if saved.get("command") else ""
                raise BadInput(f"expected the same {key} as the run in {self.out}, found {found}; start a new --out, "
                               f"or resume with what it began with{began}")
        parts: dict[str, Tensors] = {"network": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, key = name.split("/", 1)
            parts[part][key] = tensor
        self.network.load_state_dict(parts["network"])
        self.average.state = {k: v.to(self.device, copy=True) for k, v in parts["average"].items()}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        for parameter, state in self.optimizer.state.items():
            # fused optimizers walk raw memory: moments must lie as their weights
            state |= {k: torch.empty_like(parameter).copy_(v) for k, v in state.items() if v.shape == parameter.shape}
        said = saved["progress"]
        self.average.steps = said["average_steps"]
        if said["loss_scale"]:
            self.scaler.load_state_dict(said["loss_scale"])
        best = Fitted(said["best_epoch"], said["best_figures"], said["seconds"])
        return _Progress(said["epoch"] + 1, best, said["seconds"], said["history"])


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a forward pass runs in half precision, or in float32 as it is."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float16)
