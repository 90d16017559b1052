"""Dropout by bytes: the rate, the mean, the gradient, the seed; and PyTorch's own outside training."""

from __future__ import annotations

import pytest
import torch

from train.networks.byte_dropout import ByteDropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_rate_and_the_mean_are_kept(rate: float, layout: torch.memory_format) -> None:
    torch.manual_seed(1)
    x = torch.ones(16, 24, 31, 31).contiguous(memory_format=layout)
    out = ByteDropout(rate)(x)
    assert out.is_contiguous(memory_format=layout)
    # 369,024 draws: four standard deviations are 0.0033
    assert (out == 0).float().mean().item() == pytest.approx(round(rate * 256) / 256, abs=0.0035)
    assert out.mean().item() == pytest.approx(1.0, abs=0.007)
    shares = (out == 0).float().mean((0, 2, 3))  # no channel is favoured: 15,376 draws each, 4.5 deviations
    assert (shares - rate).abs().max() < 0.02


def test_the_gradient_passes_where_the_value_did() -> None:
    x = torch.randn(64, 7, requires_grad=True)
    out = ByteDropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(out == 0, 0.0, 2.0))


def test_a_seed_draws_the_same_mask_again() -> None:
    def mask(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return ByteDropout(0.3)(torch.ones(1000))

    assert torch.equal(mask(3), mask(3))
    assert not torch.equal(mask(3), mask(4))


@pytest.mark.parametrize("dropout", [ByteDropout(0.3).eval(), ByteDropout(0.0)])
def test_outside_training_nothing_is_dropped(dropout: ByteDropout) -> None:
    x = torch.randn(100)
    assert torch.equal(dropout(x), x)
