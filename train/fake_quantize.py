"""A network that rounds in training exactly as its INT8 graph will: fake quantizers equal to the exported Q and DQ.

Activations: one given scale a tensor, q = clamp(round-half-even(x / s), -128, 127), as ONNX's QuantizeLinear. Weights:
one scale an output channel, drawn anew from the weights at each step, ±127. Gradients pass straight through, as if
nothing had been rounded (Bengio et al. 2013, https://arxiv.org/abs/1308.3432), and stop where a value is clipped. Knows
nothing of ONNX or of how the scales were chosen; what is not named stays float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.errors import BadInput

LEVELS = 127
TINIEST = float(np.finfo(np.float16).tiny)  # a scale below it has no full-precision half


@dataclass(frozen=True)
class InputGrid:
    """The values that a module's rounded input may have: integers of -128–127 times `scale`, plus `shift`.

    A shift other than 0 is what a convolution's input has more than INT8's multiples, everywhere: pixels, which are
    rounded without it; it comes back behind the weights, so that zero padding stands for it too.
    """

    scale: float
    shift: float = 0.0


class _Round(torch.autograd.Function):
    """x, scale → integers · scale, bit for bit; PyTorch's own multiplies by 1 / scale, which rounds other ties."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, low: int) -> Tensor:
        steps = (values / scale).round()  # half to even, as QuantizeLinear
        ctx.save_for_backward((steps >= low) & (steps <= LEVELS))
        return steps.clamp(low, LEVELS) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None


def round_activations(values: Tensor, scale: Tensor) -> Tensor:
    """Return float32 values of any shape as Q and DQ with one scale leave them."""
    return cast(Tensor, cast(Any, _Round).apply(values, scale, -LEVELS - 1))


def round_weights(weights: Tensor) -> Tensor:
    """Return weights (outputs, …) as int8 with one half-precision scale an output channel leaves them."""
    steps = weights.detach().abs().flatten(1).amax(1).double() / LEVELS
    scales = torch.where(steps == 0, 1.0, steps.clamp(min=TINIEST)).half().float()
    scales = scales.view(-1, *[1] * (weights.ndim - 1))
    return cast(Tensor, cast(Any, _Round).apply(weights, scales, -LEVELS))


class _ScaledInput(nn.Module):
    """Holds the input's scale beside a layer; no weight of the network, so a checkpoint does not carry it."""

    input_scale: Tensor

    def take_scale(self, scale: float) -> None:
        self.register_buffer("input_scale", torch.tensor(scale, dtype=torch.float32), persistent=False)


class RoundedConv2d(nn.Conv2d, _ScaledInput):
    """A convolution with rounded input and weights; its parameters are those of the one it stands for."""

    def __init__(self, conv: nn.Conv2d, grid: InputGrid):
        super().__init__(conv.in_channels, conv.out_channels, cast(Any, conv.kernel_size), cast(Any, conv.stride),
                         cast(Any, conv.padding), cast(Any, conv.dilation), conv.groups, conv.bias is not None,
                         conv.padding_mode)
        self.weight, self.bias, self.shift = conv.weight, conv.bias, grid.shift
        self.take_scale(grid.scale)

    def forward(self, values: Tensor) -> Tensor:
        rounded = round_activations(values - self.shift if self.shift else values, self.input_scale)
        found = cast(Tensor, self._conv_forward(rounded, round_weights(self.weight), self.bias))
        return found + self.shift * self.weight.flatten(1).sum(1).view(-1, 1, 1) if self.shift else found


class RoundedLinear(nn.Linear, _ScaledInput):
    """A dense layer with rounded input and weights; its parameters are those of the one it stands for."""

    def __init__(self, linear: nn.Linear, scale: float):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None)
        self.weight, self.bias = linear.weight, linear.bias
        self.take_scale(scale)

    def forward(self, values: Tensor) -> Tensor:
        return F.linear(round_activations(values, self.input_scale), round_weights(self.weight), self.bias)


class RoundedInput(_ScaledInput):
    """Any other module behind a rounded input: the pooling that reads a Q."""

    def __init__(self, module: nn.Module, scale: float):
        super().__init__()
        self.module = module
        self.take_scale(scale)

    def forward(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.module(round_activations(values, self.input_scale)))


class ShiftOnly(nn.BatchNorm2d):
    """What is left of a batch norm once its factor is in the convolution's weights: x + bias, also in training.

    Keeps a batch norm's tensors, so that a checkpoint of the network stays one.
    """

    def train(self, mode: bool = True) -> ShiftOnly:
        return super().train(False)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Move every batch norm's factor into the convolution right before it, in place; return the network.

    The function in evaluation mode stays, up to float32 rounding, and so do the names and shapes of the state dict.
    From now on the statistics stand still. A batch norm anywhere else than right behind a convolution, in a Sequential,
    is frozen as it is.
    """
    for parent in list(network.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and not isinstance(child, ShiftOnly):
                if isinstance(parent, nn.Sequential) and isinstance(before, nn.Conv2d):
                    _move_factor(before, child)
                setattr(parent, name, _still(child))
            before = child
    return network


@torch.no_grad()
def _move_factor(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    factor = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    own = torch.zeros_like(mean) if conv.bias is None else conv.bias
    norm.bias.copy_((own.double() - mean.double()) * factor + norm.bias.double())
    conv.weight.copy_(conv.weight.double() * factor.view(-1, 1, 1, 1))
    if conv.bias is not None:
        conv.bias.zero_()
        conv.bias.requires_grad_(False)  # the norm's does its work
    norm.weight.fill_(1)
    mean.zero_()
    variance.fill_(1 - norm.eps)  # so that variance + eps is 1 and an exporter folds nothing but the bias


def _still(norm: nn.BatchNorm2d) -> ShiftOnly:
    still = ShiftOnly(norm.num_features, norm.eps, norm.momentum)
    still.load_state_dict(norm.state_dict())
    still.weight.requires_grad_(False)
    return still.eval()


def fake_quantize(network: nn.Module, inputs: Mapping[str, InputGrid]) -> nn.Module:
    """Fold the batch norms and round the input, and a Conv2d's or Linear's weights, of every named module, in place.

    inputs: module name → grid, its scale one that half precision holds. The state dict keeps its names, so that a
    checkpoint of the result is one of the float network. Raises BadInput for a name that the network lacks, a scale
    that is none, or a shift of what is no convolution.
    """
    fold_batch_norms(network)
    modules = dict(network.named_modules())
    for name, grid in inputs.items():
        if name not in modules or not name:
            raise BadInput(f"expected a module of the network, found {name!r}; take the scales from its own graph")
        if not 0 < grid.scale < np.inf or float(np.float16(grid.scale)) != grid.scale:
            raise BadInput(f"expected a scale above 0 that half precision holds for {name}, found {grid.scale}")
        parent, _, last = name.rpartition(".")
        setattr(modules[parent], last, _rounded(modules[name], grid))
    return network


def _rounded(module: nn.Module, grid: InputGrid) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        return RoundedConv2d(module, grid)
    if grid.shift:
        raise BadInput(f"expected a convolution behind shifted pixels, found {type(module).__name__}; keep it float")
    if isinstance(module, nn.Linear):
        return RoundedLinear(module, grid.scale)
    if any(True for _ in module.state_dict()):
        raise BadInput(f"expected a Conv2d, a Linear or a module without weights, found {type(module).__name__}; "
                       "keep it float")
    return RoundedInput(module, grid.scale)
