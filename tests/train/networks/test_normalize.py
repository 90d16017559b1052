"""Pixels → centred floats, the networks' first layer."""

import torch

from train.networks.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize, NormalizeColour, normalize_for


def test_grey_is_centred_by_fer2013():
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    wanted = (pixels.float() / 255 - 0.5077) / 0.2551
    torch.testing.assert_close(Normalize()(pixels), wanted)


def test_colour_is_centred_channel_by_channel():
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    said = NormalizeColour()(pixels)
    for channel in range(3):
        wanted = (pixels[:, channel].float() / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        torch.testing.assert_close(said[:, channel], wanted, rtol=1e-5, atol=1e-6)


def test_nothing_of_it_is_kept_in_a_checkpoint():
    assert not normalize_for(1).state_dict() and not normalize_for(3).state_dict()
