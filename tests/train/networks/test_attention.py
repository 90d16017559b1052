"""Every attention module against its paper's equation, written out in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from train.networks import count_parameters
from train.networks.attention import attention_layers
from train.networks.cbam import CBAM
from train.networks.csa import ChannelSpatialAttention
from train.networks.eca import ChannelAttention, eca_kernel_size
from train.networks.scse import ConcurrentSqueezeExcitation
from train.networks.se import SqueezeExcitation

CHANNELS = 64


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def features() -> torch.Tensor:
    return torch.randn(2, CHANNELS, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def make(layer: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return layer(CHANNELS).double().eval()


def said_by(layer: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return layer(features()).numpy()


def arrays(layer: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in layer.state_dict().items()}


def eca_weights(f: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """σ(Conv1D(GAP(F))), (N, C, 1, 1); a convolution of the networks' kind, unflipped and zero-padded."""
    pooled, reach = f.mean((2, 3)), len(kernel) // 2
    padded = np.pad(pooled, ((0, 0), (reach, reach)))
    mixed = sum(kernel[i] * padded[:, i : i + f.shape[1]] for i in range(len(kernel)))
    return sigmoid(mixed)[:, :, None, None]


@pytest.mark.parametrize(("channels", "k"), [(64, 3), (128, 5), (256, 5), (512, 5)])
def test_eca_kernel_grows_with_the_channels(channels, k):
    assert eca_kernel_size(channels) == k


def test_channel_attention_is_eca():
    layer, f = make(ChannelAttention), features().numpy()
    np.testing.assert_allclose(said_by(layer), eca_weights(f, arrays(layer)["mix.weight"][0, 0]), rtol=1e-10)


def test_csa_adds_both_reweightings():
    layer, f = make(ChannelSpatialAttention), features().numpy()
    w = arrays(layer)
    largest, mean = w["spatial.mix.weight"][0, :, 0, 0]
    spatial = sigmoid(largest * f.max(1) + mean * f.mean(1) + w["spatial.mix.bias"])[:, None]
    wanted = f * eca_weights(f, w["channel.mix.weight"][0, 0]) + f * spatial
    np.testing.assert_allclose(said_by(layer), wanted, rtol=1e-10)


def test_squeeze_and_excitation():
    layer, f = make(SqueezeExcitation), features().numpy()
    w = arrays(layer)
    hidden = np.maximum(0, f.mean((2, 3)) @ w["squeeze.weight"].T + w["squeeze.bias"])
    weights = sigmoid(hidden @ w["excite.weight"].T + w["excite.bias"])
    np.testing.assert_allclose(said_by(layer), f * weights[:, :, None, None], rtol=1e-10)


def test_scse_adds_channel_and_place():
    layer, f = make(ConcurrentSqueezeExcitation), features().numpy()
    w = arrays(layer)
    hidden = np.maximum(0, f.mean((2, 3)) @ w["channel.squeeze.weight"].T + w["channel.squeeze.bias"])
    channel = sigmoid(hidden @ w["channel.excite.weight"].T + w["channel.excite.bias"])
    spatial = sigmoid(np.einsum("nchw,c->nhw", f, w["spatial.weight"][0, :, 0, 0]))
    np.testing.assert_allclose(said_by(layer), f * channel[:, :, None, None] + f * spatial[:, None], rtol=1e-10)


def test_cbam_weighs_channels_first_then_places():
    layer, f = make(CBAM), features().numpy()
    w = arrays(layer)

    def shared(pooled: np.ndarray) -> np.ndarray:
        hidden = np.maximum(0, pooled @ w["channel.shared.0.weight"].T + w["channel.shared.0.bias"])
        return hidden @ w["channel.shared.2.weight"].T + w["channel.shared.2.bias"]

    f = f * sigmoid(shared(f.mean((2, 3))) + shared(f.max((2, 3))))[:, :, None, None]
    stacked = np.pad(np.stack([f.mean(1), f.max(1)], 1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    kernel, spatial = w["spatial.mix.weight"][0], np.zeros((2, 6, 5))
    for y in range(6):
        for x in range(5):
            spatial[:, y, x] = (stacked[:, :, y : y + 7, x : x + 7] * kernel).sum((1, 2, 3))
    np.testing.assert_allclose(said_by(layer), f * sigmoid(spatial)[:, None], rtol=1e-10)


# C = 64: ECA k = 3; 1×1 of two maps with bias; two dense layers of 64/16, of 64/2; CBAM's 7×7 of two maps
@pytest.mark.parametrize(("kind", "count"), [
    ("csa", 3 + 3), ("ca", 3), ("eca", 3), ("sa", 3), ("se", 2 * 64 * 4 + 4 + 64), ("cbam", 2 * 64 * 4 + 4 + 64 + 98),
    ("scse", 2 * 64 * 32 + 32 + 64 + 64),
])
def test_counts(kind, count):
    assert count_parameters(attention_layers(kind, CHANNELS)[0]) == count


def test_no_attention_is_no_layer():
    assert attention_layers("none", CHANNELS) == []


@pytest.mark.parametrize("kind", ["ca", "eca"])
def test_channel_attention_alone_scales_channels(kind):
    layer, f = attention_layers(kind, CHANNELS)[0].double(), features()
    with torch.no_grad():
        ratio = layer(f) / f
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


def test_spatial_attention_alone_scales_places():
    layer, f = attention_layers("sa", CHANNELS)[0].double(), features()
    with torch.no_grad():
        ratio = layer(f) / f
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
