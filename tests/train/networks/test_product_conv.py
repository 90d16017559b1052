"""The convolution that is a matrix product over small maps: PyTorch's answers and gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from train.networks import product_conv
from train.networks.product_conv import ProductConv2d


def gradients(conv: nn.Conv2d, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """The output, then the gradients of input, weights and bias."""
    x = x.detach().clone(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x)
    out.backward(upstream.to(out.dtype))
    assert x.grad is not None
    return [out.detach(), x.grad, *(p.grad.clone() for p in conv.parameters() if p.grad is not None)]


@pytest.mark.parametrize("side", [1, 2, 5, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_answers_and_gradients_are_pytorchs_to_half_precision(side: int, bias: bool,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(side)
    conv = ProductConv2d(256, 24, bias=bias).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = nn.Conv2d(256, 24, 3, padding=1, bias=bias).double()
    plain.load_state_dict(conv.state_dict())
    x, upstream = torch.randn(3, 256, side, side).bfloat16(), torch.randn(3, 24, side, side)
    used = []
    columns = product_conv._columns
    monkeypatch.setattr(product_conv, "_columns", lambda x: used.append(x.shape) or columns(x))  # type: ignore[func-returns-value]
    ours = gradients(conv, x, upstream)
    assert len(used) == 2  # forward, and the input's gradient
    exact_x = x.double().requires_grad_()
    exact = plain(exact_x)
    exact.backward(upstream.bfloat16().double())
    truth = [exact.detach(), exact_x.grad, *(p.grad for p in plain.parameters())]
    for mine, true in zip(ours, truth, strict=True):
        assert true is not None
        assert (mine - true).abs().max() <= 2 ** -7 * true.abs().max()  # bfloat16 keeps 8 bits


@pytest.mark.parametrize("change", ["float32", "eval", "large", "narrow"])
def test_elsewhere_it_is_pytorchs_own(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_conv, "_columns", lambda x: pytest.fail("the product was used"))
    conv = ProductConv2d(64 if change == "narrow" else 256, 8).train(change != "eval")
    side = 7 if change == "large" else 4
    x = torch.randn(1, conv.in_channels, side, side, dtype=torch.float32 if change == "float32" else torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=change != "float32"):
        got = conv(x)
        want = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
    assert torch.equal(got, want)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_network_trains_the_same_through_it(in_place: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    first = nn.Sequential(ProductConv2d(256, 256), nn.ReLU(inplace=in_place), nn.Flatten(), nn.Linear(256 * 4, 7))
    second = copy.deepcopy(first)
    x, targets = torch.randn(8, 256, 2, 2).bfloat16(), torch.arange(8) % 7

    def losses(network: nn.Module) -> list[float]:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        values = []
        for _ in range(5):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(network(x).float(), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            values.append(loss.item())
        return values

    by_product = losses(first)
    monkeypatch.setattr(product_conv, "SMALL_MAP", 0)
    assert by_product == pytest.approx(losses(second), rel=0.02)
    assert by_product[-1] < by_product[0] / 2
