"""Starting weights: another run's, or ImageNet's from a safetensors file; never a pickle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import BadInput
from train.checkpoint import save_checkpoint
from train.expression.start import start_from
from train.networks import build_network
from train.networks.torchvision_vgg16 import torchvision_key_map


def small(classes: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network("small-vgg", classes)


def test_a_checkpoint_of_the_same_network_is_copied_whole(tmp_path: Path) -> None:
    before = small(7, 1)
    save_checkpoint(tmp_path / "best", before.state_dict(), {"network": "small-vgg"})
    after = small(7, 2)
    assert start_from(after, tmp_path / "best")["random_start"] == []
    assert all(torch.equal(v, after.state_dict()[k]) for k, v in before.state_dict().items())


def test_a_dense_layer_for_other_classes_keeps_its_random_start(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", small(7, 1).state_dict(), {"network": "small-vgg"})
    after = small(6, 2)
    assert start_from(after, tmp_path / "best")["random_start"] == ["classify.weight", "classify.bias"]


def test_as_many_classes_in_another_order_start_a_new_head_and_so_does_asking_for_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", small(7, 1).state_dict(), {"network": "small-vgg", "labels": list("abcdefg")})
    head = ["classify.weight", "classify.bias"]
    assert start_from(small(7, 2), tmp_path / "best", "abcdefg")["random_start"] == []
    assert start_from(small(7, 2), tmp_path / "best", "abcdegf")["random_start"] == head
    assert start_from(small(7, 2), tmp_path / "best", "abcdefg", new_head=True)["random_start"] == head


def test_a_runs_last_gives_its_averaged_weights(tmp_path: Path) -> None:
    average, network = small(7, 1).state_dict(), small(7, 3).state_dict()
    tensors = {f"average/{k}": v for k, v in average.items()} | {f"network/{k}": v for k, v in network.items()}
    save_checkpoint(tmp_path / "last", tensors, {"network": "small-vgg"})
    after = small(7, 2)
    start_from(after, tmp_path / "last")
    assert torch.equal(after.state_dict()["classify.weight"], average["classify.weight"])


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", build_network("light-vgg16", 7).state_dict(), {"network": "light-vgg16"})
    with pytest.raises(BadInput, match="found light-vgg16's"):
        start_from(small(7, 1), tmp_path / "best")


def test_imagenets_convolutions_start_lip_vgg16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("lip-vgg16", 7, channels=3, size=90)
    own = network.state_dict()
    theirs = {k: torch.randn_like(own[v]) for k, v in torchvision_key_map(batch_norm=False).items()}
    save_file(theirs, tmp_path / "vgg16.safetensors")
    kept = start_from(network, tmp_path / "vgg16.safetensors")["random_start"]
    assert torch.equal(network.state_dict()["features.0.0.weight"], theirs["features.0.weight"])
    assert "classify.weight" in kept and "features.0.0.weight" not in kept


@pytest.mark.parametrize(("name", "words"), [
    ("vgg16.pth", "pickles are not opened"), ("gone.safetensors", "lip-vgg16 to start")])
def test_what_cannot_be_a_start_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "vgg16.pth").write_bytes(b"\x80\x04")
    with pytest.raises(BadInput, match=words):
        start_from(small(7, 1), tmp_path / name)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vgg16.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BadInput, match="a safetensors file, found"):
        start_from(build_network("lip-vgg16", 7, channels=3, size=90), tmp_path / "vgg16.safetensors")
