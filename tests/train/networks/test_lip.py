"""Local Importance Pooling: equations 1–2 of paper B, and why half precision needs more than the authors' bound."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from train.networks.lip import LocalImportancePooling, importance_pool


def pool(bound: str, channels: int = 3) -> LocalImportancePooling:
    torch.manual_seed(0)
    layer = LocalImportancePooling(channels, bound)
    torch.nn.init.normal_(layer.mix.weight)
    torch.nn.init.normal_(layer.norm.weight, 5.0)
    return layer.eval()


def features(channels: int = 3, side: int = 8) -> torch.Tensor:
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(1)) * 4


def test_equation_2_window_by_window():
    values, logits = features().double().numpy(), np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    wanted = np.empty((2, 3, 4, 4))
    for y in range(4):
        for x in range(4):
            window = (..., slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
            weights = np.exp(logits[window])
            wanted[..., y, x] = (values[window] * weights).sum((-1, -2)) / weights.sum((-1, -2))
    said = importance_pool(torch.from_numpy(values), torch.from_numpy(logits))
    np.testing.assert_allclose(said.numpy(), wanted, rtol=1e-12)


def test_equal_logits_are_average_pooling():
    torch.testing.assert_close(importance_pool(features(), torch.full((2, 3, 8, 8), 0.7)), F.avg_pool2d(features(), 2))


def test_logits_that_follow_the_features_steeply_are_max_pooling():
    values = features().double()
    torch.testing.assert_close(importance_pool(values, 100 * values), F.max_pool2d(values, 2), rtol=0, atol=0.02)


def test_it_begins_as_average_pooling():
    torch.testing.assert_close(LocalImportancePooling(3)(features()), F.avg_pool2d(features(), 2))


def test_an_odd_side_rounds_down_as_max_pooling_does():
    assert LocalImportancePooling(3)(features(side=9)).shape == F.max_pool2d(features(side=9), 2).shape


def test_the_gate_is_the_authors():
    layer, values = pool("authors"), features()
    wanted = 12 * torch.sigmoid(F.instance_norm(layer.mix(values), weight=layer.norm.weight, bias=layer.norm.bias))
    torch.testing.assert_close(layer.logits(values), wanted)


def test_half_safe_and_authors_are_the_same_function():
    values = features().double()
    torch.testing.assert_close(
        pool("half-safe").double()(values), pool("authors").double()(values), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("bound", ["unbounded", "authors"])
def test_half_precision_overflows_without_the_shift(bound):
    """exp of a logit over 11.09 leaves FP16: 12 does, and nothing keeps an unbounded one below it."""
    layer, values = pool(bound), features()
    if bound == "unbounded":
        torch.nn.init.constant_(layer.norm.weight, 20.0)
    assert layer(values).isfinite().all()
    assert not layer.half()(values.half()).isfinite().all()


def test_half_precision_is_finite_and_near_with_the_shift():
    layer, values = pool("half-safe"), features()
    torch.nn.init.constant_(layer.norm.weight, 20.0)
    with torch.no_grad():
        wanted, said = layer(values), layer.half()(values.half()).float()
    assert said.isfinite().all()
    torch.testing.assert_close(said, wanted, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("logit", [-9.0, 3.0])
def test_half_precision_holds_features_in_the_hundreds_at_both_ends_of_the_gate(logit):
    values = (features() * 200).half()
    said = importance_pool(values, torch.full_like(values, logit))
    torch.testing.assert_close(said.float(), F.avg_pool2d(values.float(), 2), rtol=0.02, atol=0.1)
