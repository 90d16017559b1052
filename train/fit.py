"""Fit a network: one-cycle AdamW, averaged weights, a checkpoint an epoch, exact resume. Knows no task.

Every epoch draws all its randomness from (seed, epoch), so a run continued from its last checkpoint takes the same
steps as one that was never interrupted.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from runtime.durable import write_text
from runtime.errors import BadInput, MienError
from train.checkpoint import Tensors, load_checkpoint, save_checkpoint
from train.recipe import Recipe


class Task(Protocol):
    """What `fit` needs to know of a task."""

    steps_per_epoch: int

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Any]]:
        """Yield (inputs, targets) for one epoch."""

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Return the scalar training loss."""

    def correct(self, outputs: Tensor, targets: Any) -> float:
        """Return the share of a batch that is right, for the progress line."""

    def score(self, network: nn.Module) -> dict[str, float]:
        """Return held-out figures; `score` is the one a larger value of which is kept as best."""


@dataclass(frozen=True)
class Fitted:
    """What a run came to: the epoch kept as best, and its figures."""

    best_epoch: int
    figures: dict[str, float]
    seconds: float


def one_cycle(step: int, steps: int, peak: float, warm_up: float) -> float:
    """Return the learning rate: half a cosine up over `warm_up`, half a cosine down to a thousandth of the peak."""
    rising = max(1.0, warm_up * steps)
    if step < rising:
        return peak * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / rising)))
    return peak * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising))))


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW without decay on biases and batch norms (one-dimensional parameters)."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


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


def fit(network: nn.Module, task: Task, recipe: Recipe, out: Path, facts: dict[str, Any], resume: bool) -> Fitted:
    """Train `network` and leave `out/best`, `out/last` and `out/metrics.jsonl`.

    `facts` (network, labels, data hash …) go into every checkpoint. Raises BadInput when `out` holds another run, or
    none to resume; MienError when loss or weights are not finite (no checkpoint is written; a loss's batch is saved).
    """
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, recipe)
    average = AveragedWeights(network, recipe.ema)
    first, best, spent, history = 0, Fitted(-1, {"score": -math.inf}, 0.0), 0.0, []
    if (out / "last").exists():
        if not resume:
            raise BadInput(f"expected an empty --out, found a run in {out}; add --resume or choose another")
        first, best, spent, history = _restore(out / "last", network, optimizer, average, facts)
    elif resume:
        raise BadInput(f"expected a run to resume in {out}, found none; leave --resume away")
    out.mkdir(parents=True, exist_ok=True)
    for epoch in range(first, recipe.epochs):
        began = time.monotonic()
        line = _train_epoch(network, task, recipe, optimizer, average, epoch, out)
        averaged = _scored(network, average.state, task)
        spent += time.monotonic() - began
        line |= {"epoch": epoch + 1, "size": recipe.size_at(epoch), "seconds": round(time.monotonic() - began, 1)}
        history.append(line | {"held_out": averaged})
        if averaged["score"] > best.figures["score"]:
            best = Fitted(epoch, averaged, spent)
            save_checkpoint(out / "best", average.state, facts | {"epoch": epoch, "figures": averaged})
        _save_last(out / "last", network, optimizer, average, facts, epoch, best, spent, history)
        write_text(out / "metrics.jsonl", "".join(json.dumps(entry) + "\n" for entry in history))
        shown = "  ".join(f"{k} {v:.4f}" for k, v in averaged.items() if k != "score")
        tqdm.write(f"epoch {epoch + 1}/{recipe.epochs}  loss {line['loss']:.4f}  accuracy {line['accuracy']:.4f}  "
                   f"{line['images_per_second']:.0f} images/s  held out: {shown}", file=sys.stderr)
    return Fitted(best.best_epoch, best.figures, spent)


def _train_epoch(network: nn.Module, task: Task, recipe: Recipe, optimizer: torch.optim.Optimizer,
                 average: AveragedWeights, epoch: int, out: Path) -> dict[str, Any]:
    """Take one epoch's steps; return its mean loss, accuracy and speed."""
    seed = recipe.seed * 1_000_003 + epoch
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from the global generator
    network.train()
    total = task.steps_per_epoch * recipe.epochs
    step, seen, loss_sum, correct, began = epoch * task.steps_per_epoch, 0, 0.0, 0.0, time.monotonic()
    bar = tqdm(task.batches(epoch, generator), total=task.steps_per_epoch, desc=f"epoch {epoch + 1}", leave=False,
               disable=None, unit="batch")
    for inputs, targets in bar:
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, total, recipe.learning_rate, recipe.warm_up)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            outputs = network(inputs.contiguous(memory_format=torch.channels_last))
        loss = task.loss(outputs.float(), targets)
        value = loss.item()
        if not math.isfinite(value):
            save_checkpoint(out / "bad-batch", {"inputs": inputs}, {"epoch": epoch, "step": step})
            raise MienError(f"expected a finite loss, found {value} at step {step}; the batch lies in {out}/bad-batch, "
                            f"the last good epoch in {out}/last; lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update(network)
        step, seen = step + 1, seen + len(inputs)
        loss_sum, correct = loss_sum + value * len(inputs), correct + task.correct(outputs, targets) * len(inputs)
        bar.set_postfix_str(f"loss {loss_sum / seen:.3f} accuracy {correct / seen:.3f} "
                            f"{seen / (time.monotonic() - began):.0f} images/s")
    if not all(bool(t.isfinite().all()) for t in network.state_dict().values()):  # the last step's gradient
        raise MienError(f"expected finite weights after epoch {epoch + 1}, found NaN or infinity; the last good epoch "
                        f"lies in {out}/last; lower learning_rate")
    return {"loss": loss_sum / seen, "accuracy": correct / seen,
            "images_per_second": round(seen / (time.monotonic() - began), 1)}


def _scored(network: nn.Module, state: Tensors, task: Task) -> dict[str, float]:
    """Score other weights in the network's place, then put its own back."""
    own = {name: t.clone() for name, t in network.state_dict().items()}
    network.load_state_dict(state)
    network.eval()
    try:
        return task.score(network)
    finally:
        network.load_state_dict(own)


def _save_last(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedWeights,
               facts: dict[str, Any], epoch: int, best: Fitted, spent: float, history: list[dict[str, Any]]) -> None:
    """Write everything a resumed run needs: network, average and optimizer moments."""
    tensors = {f"network/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in average.state.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in moments.items()}
    progress = {"epoch": epoch, "average_steps": average.steps, "best_epoch": best.best_epoch,
                "best_figures": best.figures, "seconds": spent, "history": history}
    save_checkpoint(path, tensors, facts | {"progress": progress})


def _restore(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedWeights,
             facts: dict[str, Any]) -> tuple[int, Fitted, float, list[dict[str, Any]]]:
    """Load what `_save_last` wrote; refuse another run's. Returns (next epoch, best so far, seconds, history)."""
    tensors, saved = load_checkpoint(path)
    for key, value in facts.items():
        if saved.get(key) != json.loads(json.dumps(value)):
            raise BadInput(f"expected the same {key} as the run in {path.parent}, found another; start a new --out")
    parts: dict[str, Tensors] = {"network": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, key = name.split("/", 1)
        parts[part][key] = tensor
    network.load_state_dict(parts["network"])
    average.state = {k: v.clone() for k, v in parts["average"].items()}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, key = name.split("/")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, state in optimizer.state.items():  # fused AdamW walks raw memory: moments must lie as their weights
        state |= {k: torch.empty_like(parameter).copy_(v) for k, v in state.items() if v.shape == parameter.shape}
    progress = saved["progress"]
    average.steps = progress["average_steps"]
    best = Fitted(progress["best_epoch"], progress["best_figures"], progress["seconds"])
    return progress["epoch"] + 1, best, progress["seconds"], progress["history"]
