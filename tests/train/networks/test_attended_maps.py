"""Attention's poolings and sum of weights in bfloat16 training: PyTorch's values, gradients and memory layout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from train.networks import attended_maps
from train.networks.attended_maps import joint_weights, largest_and_mean_over_channels, mean_over_places
from train.networks.attention import attention_layers


def features(places: int = 6) -> Tensor:
    """(4, 8, places, places) after a ReLU: zeros tie for the largest."""
    torch.manual_seed(0)
    return torch.randn(4, 8, places, places).relu().bfloat16().contiguous(memory_format=torch.channels_last)


def answer_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    out = function(x)
    upstream = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype)
    out.backward(upstream)
    assert x.grad is not None
    return out.detach(), x.grad


@pytest.mark.parametrize("function", [mean_over_places, largest_and_mean_over_channels])
def test_answers_and_gradients_are_pytorchs_to_half_precision(function: Callable[[Tensor], Tensor]) -> None:
    out, gradient = answer_and_gradient(function, features())
    true_out, true_gradient = answer_and_gradient(function, features().double())
    assert (out - true_out).abs().max() <= 2 ** -7 * true_out.abs().max()  # bfloat16 keeps 8 bits
    assert (gradient - true_gradient).abs().max() <= 2 ** -7 * true_gradient.abs().max()


@pytest.mark.parametrize("function", [mean_over_places, largest_and_mean_over_channels])
def test_the_gradient_lies_in_memory_as_the_features_do(function: Callable[[Tensor], Tensor]) -> None:
    assert answer_and_gradient(function, features())[1].is_contiguous(memory_format=torch.channels_last)


def test_the_weights_of_both_lie_as_the_features_do() -> None:
    torch.manual_seed(0)
    channel, spatial = torch.rand(4, 8, 1, 1).bfloat16(), torch.rand(4, 1, 6, 6).bfloat16().requires_grad_()
    found = joint_weights(channel, spatial)
    assert torch.equal(found, channel + spatial) and found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", ["csa", "sa", "ca", "se", "cbam", "scse"])
def test_an_attention_trains_the_same_through_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    layer = nn.Sequential(*attention_layers(kind, 8))  # type: ignore[arg-type]

    def run() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return answer_and_gradient(layer, features())

    ours = run()
    monkeypatch.setattr(attended_maps, "_slow", lambda x: False)
    for mine, pytorchs in zip(ours, run(), strict=True):
        assert (mine.float() - pytorchs.float()).abs().max() <= 2 ** -5 * pytorchs.abs().max()


def test_elsewhere_it_is_pytorchs_own() -> None:
    x = features().float()
    assert torch.equal(mean_over_places(x), x.mean(dim=(2, 3)))
    with torch.no_grad():
        assert torch.equal(largest_and_mean_over_channels(features())[:, 1:], features().mean(dim=1, keepdim=True))
