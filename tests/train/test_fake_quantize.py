"""Fake quantizers: what they round, where gradients pass, and that a network keeps its function and its tensors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from calibration.ranges import quantize_weights
from runtime.errors import BadInput
from train.fake_quantize import (
    InputGrid,
    RoundedConv2d,
    ShiftOnly,
    fake_quantize,
    fold_batch_norms,
    round_activations,
    round_weights,
)
from train.networks.convolutions import plain_conv, separable_conv
from train.networks.pooled_classifier import PooledClassifier

HALVES = st.floats(2.0**-14, 100, width=16)
FACES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 1, 16, 16), dtype=np.uint8))


def network(seed: int = 0) -> nn.Module:
    """Plain and separable convolutions, with batch norms that do something."""
    torch.manual_seed(seed)
    made = PooledClassifier(1, [plain_conv(1, 4), plain_conv(4, 4, bias=True), nn.MaxPool2d(2), separable_conv(4, 6)],
                            6, 5, 0.0)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.2, 3)
            nn.init.uniform_(module.weight, -2, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return made.eval()


GRIDS = {"features.0.0": InputGrid(1 / 64, -1 / 256)} | dict.fromkeys(
    ("features.1.0", "features.3.0", "features.3.3", "pool", "classify"), InputGrid(1 / 32))


@given(values=arrays(np.float32, 64, elements=st.floats(-1e4, 1e4, width=32)), scale=HALVES)
def test_activations_are_rounded_as_onnx_rounds(values: np.ndarray, scale: float) -> None:
    wanted = np.clip(np.rint(values / np.float32(scale)), -128, 127) * np.float32(scale)
    assert np.array_equal(round_activations(torch.from_numpy(values), torch.tensor(scale)).numpy(), wanted)


def test_halves_go_to_the_even_neighbour_and_the_lowest_integer_is_one_more_than_the_highest() -> None:
    values = torch.tensor([0.5, 1.5, -0.5, 2.5, 1e3, -1e3])
    assert round_activations(values, torch.tensor(1.0)).tolist() == [0, 2, 0, 2, 127, -128]


def test_a_tie_is_found_by_division_not_by_a_reciprocal() -> None:
    scale = np.float32(np.float16(0.1))
    ties = (np.arange(-100, 100, dtype=np.float32) + np.float32(0.5)) * scale  # exact: 8 bits times 11
    wanted = np.rint(np.arange(-100, 100) + 0.5).astype(np.float32) * scale
    assert np.array_equal(round_activations(torch.from_numpy(ties), torch.tensor(scale)).numpy(), wanted)


@given(weights=arrays(np.float32, (3, 2, 3, 3), elements=st.floats(-50, 50, width=32)), tiny=st.booleans())
def test_weights_are_rounded_as_calibration_rounds_them(weights: np.ndarray, tiny: bool) -> None:
    weights = weights * np.float32(1e-6) if tiny else weights
    integers, scales = quantize_weights(weights, 0)
    wanted = integers.astype(np.float32) * scales.reshape(-1, 1, 1, 1)
    assert np.array_equal(round_weights(torch.from_numpy(weights)).numpy(), wanted)


def test_gradients_pass_straight_through_and_stop_where_values_are_clipped() -> None:
    values = torch.tensor([0.3, -1.2, 127.4, 127.6, -128.4, -129.0], requires_grad=True)
    round_activations(values, torch.tensor(1.0)).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [1, 1, 1, 0, 1, 0]


def test_folding_keeps_the_function_and_every_tensors_name() -> None:
    plain = network()
    folded = fold_batch_norms(copy.deepcopy(plain)).eval()
    assert torch.allclose(folded(FACES), plain(FACES), atol=1e-4)
    assert [(k, v.shape) for k, v in folded.state_dict().items()] == [(k, v.shape) for k, v in
                                                                      plain.state_dict().items()]
    norms = [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all((m.weight == 1).all() and (m.running_var + m.eps == 1).all() for m in norms)


def test_a_checkpoint_of_a_rounded_network_is_one_of_the_plain_network() -> None:
    rounded = fake_quantize(network(), GRIDS)
    plain = network(seed=1)
    plain.load_state_dict(rounded.state_dict())
    assert torch.allclose(plain(FACES), network()(FACES), atol=1e-4)


def test_statistics_stand_still_in_training() -> None:
    rounded = fake_quantize(network(), GRIDS).train()
    before = copy.deepcopy(rounded.state_dict())
    assert torch.equal(rounded(FACES), rounded.eval()(FACES))
    assert all(torch.equal(v, before[k]) for k, v in rounded.state_dict().items())
    assert all(isinstance(m, ShiftOnly) for m in rounded.modules() if isinstance(m, nn.BatchNorm2d))


def test_training_moves_weights_and_biases_but_no_batch_norms_factor() -> None:
    rounded = fake_quantize(network(), GRIDS).train()
    rounded(FACES).square().sum().backward()
    trained = {name for name, p in rounded.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {"features.0.0.weight", "features.0.1.bias", "classify.weight", "classify.bias"} <= trained
    assert not {name for name in trained if name.endswith(".1.weight")} and "features.1.0.bias" not in trained


def test_only_what_is_named_is_rounded() -> None:
    rounded = fake_quantize(network(), {"features.1.0": InputGrid(0.5)})
    modules = dict(rounded.named_modules())
    assert isinstance(modules["features.1.0"], RoundedConv2d)
    assert not any(isinstance(m, RoundedConv2d) for n, m in modules.items() if n != "features.1.0")
    assert not torch.allclose(rounded(FACES), network()(FACES), atol=1e-4)  # half a unit is coarse


@pytest.mark.parametrize(("scales", "said"), [
    ({"nothing": 0.5}, "a module of the network, found 'nothing'"), ({"": 0.5}, "found ''"),
    ({"classify": 0.1}, "half precision holds for classify, found 0.1"), ({"classify": 0.0}, "found 0.0"),
    ({"classify": float("nan")}, "found nan"), ({"features.0.1": 0.5}, "a module without weights, found ShiftOnly")])
def test_what_cannot_be_rounded_is_refused(scales: dict[str, float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        fake_quantize(network(), {name: InputGrid(scale) for name, scale in scales.items()})


def test_pixels_off_the_grid_are_rounded_without_their_shift() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)
    levels = torch.randint(-128, 128, (4, 1, 8, 8)).float() / 64
    made = RoundedConv2d(conv, InputGrid(1 / 64, 3 / 1024))
    weights = round_weights(conv.weight)
    everywhere = 3 / 1024 * conv.weight.sum((1, 2, 3)).view(2, 1, 1)
    wanted = nn.functional.conv2d(levels, weights, conv.bias, padding=1) + everywhere
    assert torch.allclose(made(levels + 3 / 1024), wanted, atol=1e-6)
    made(levels).sum().backward()
    assert conv.weight.grad is not None and torch.isfinite(conv.weight.grad).all()


def test_a_shift_of_anything_but_a_convolution_is_refused() -> None:
    with pytest.raises(BadInput, match="a convolution behind shifted pixels, found Linear"):
        fake_quantize(network(), {"classify": InputGrid(0.5, 0.1)})
