"""The register of networks: names, options, and what every network of the zoo can do."""

import pytest
import torch

from runtime.errors import BadInput
from train.networks import NETWORKS, build_network

LIGHT_ENOUGH = [name for name in NETWORKS if name not in ("vgg16", "vgg19")]


def faces(channels: int = 1, size: int = 48, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_any_class_count_for_grey_and_colour(name, channels):
    with torch.device("meta"):
        network = build_network(name, 5, channels=channels).eval()
        logits = network(torch.empty(3, channels, 48, 48, dtype=torch.uint8))
    assert logits.shape == (3, 5)


@pytest.mark.parametrize("size", [44, 90, 112, 128])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_of_the_papers(name, size):
    with torch.device("meta"):
        logits = build_network(name, 7, size=size).eval()(torch.empty(2, 1, size, size, dtype=torch.uint8))
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_side_promised_works(name):
    size = NETWORKS[name].smallest
    with torch.device("meta"):
        logits = build_network(name, 7, size=size).eval()(torch.empty(1, 1, size, size, dtype=torch.uint8))
    assert logits.shape == (1, 7)


@pytest.mark.parametrize("name", LIGHT_ENOUGH)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    network = build_network(name, 7, size=32)
    network(faces(size=32, count=3)).logsumexp(1).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_and_floats_of_0_to_255_give_the_same_logits(channels):
    torch.manual_seed(0)
    network = build_network("small-vgg", 7, channels=channels).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(faces(channels)), network(faces(channels).float()), rtol=0, atol=0)


@pytest.mark.parametrize("name", LIGHT_ENOUGH)
def test_half_precision_is_finite_and_near(name):
    torch.manual_seed(0)
    network = build_network(name, 7, size=32).eval()
    batch = faces(size=32, count=4)
    batch[2], batch[3] = 0, 255
    with torch.no_grad():
        wanted = network(batch)
        network.half().normalize.register_forward_hook(lambda _module, _inputs, output: output.half())
        said = network(batch).float()
    assert said.isfinite().all()
    assert (said - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(BadInput, match="did you mean light-vgg16"):
        build_network("light-vg16", 7)


def test_unknown_option_suggests_the_nearest():
    with pytest.raises(BadInput, match="did you mean attention"):
        build_network("light-vgg16", 7, atention="csa")


def test_unknown_option_value_suggests_the_nearest():
    with pytest.raises(BadInput, match="did you mean cbam"):
        build_network("light-vgg16", 7, attention="cbma")


def test_wrong_option_type_is_refused():
    with pytest.raises(BadInput, match="expected int for hidden"):
        build_network("improved-vgg16", 7, hidden="256")


def test_options_for_a_network_without_any_are_refused():
    with pytest.raises(BadInput, match="expected no options for vgg16, found attention"):
        build_network("vgg16", 7, attention="csa")


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"channels": 2}, {"size": 31}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(BadInput):
        build_network("light-vgg16", **({"classes": 7} | wrong))


def test_dropout_given_replaces_the_networks_own():
    def rates(network):
        return {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)}

    with torch.device("meta"):
        assert rates(build_network("improved-vgg19", 7)) == {0.5}
        assert rates(build_network("improved-vgg19", 7, 0.2)) == {0.2}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_a_step_in_the_precision_of_the_recipes(name):
    torch.manual_seed(0)
    network = build_network(name, 7).train().to(memory_format=torch.channels_last)
    faces = torch.randint(0, 256, (4, 1, 48, 48), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(faces)
    torch.nn.functional.cross_entropy(logits.float(), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
