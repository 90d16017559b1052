"""Checkpoints: whole, verified, and no pickle."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from runtime.errors import BadInput
from train.checkpoint import load_checkpoint, save_checkpoint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7), "b": torch.ones(2, 3).t()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best", TENSORS, {"epoch": 3})
    return tmp_path / "best"


def test_tensors_and_facts_come_back(saved: Path) -> None:
    tensors, facts = load_checkpoint(saved)
    assert set(tensors) == set(TENSORS) and all(torch.equal(tensors[k], v) for k, v in TENSORS.items())
    assert facts["epoch"] == 3 and len(facts["sha256"]) == 64


def test_it_is_a_directory_of_safetensors_and_json(saved: Path) -> None:
    assert {p.name for p in saved.iterdir()} == {"weights.safetensors", "checkpoint.json"}
    content = (saved / "weights.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert set(json.loads(content[8 : 8 + size])) >= set(TENSORS)
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(content)


def test_an_older_checkpoint_is_replaced_as_a_whole(saved: Path) -> None:
    save_checkpoint(saved, {"a": torch.zeros(1)}, {"epoch": 4})
    assert list(load_checkpoint(saved)[0]) == ["a"]
    assert [p.name for p in saved.parent.iterdir()] == ["best"]


def test_a_folder_of_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadInput, match="would be lost"):
        save_checkpoint(tmp_path, TENSORS, {})


@pytest.mark.parametrize("at", [0, 100, -1])
def test_one_flipped_byte_is_refused(saved: Path, at: int) -> None:
    content = bytearray((saved / "weights.safetensors").read_bytes())
    content[at] ^= 1
    (saved / "weights.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match="found other bytes"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.json"])
def test_a_missing_file_is_refused_in_one_line(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(BadInput, match="expected a checkpoint directory") as caught:
        load_checkpoint(saved)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"sha256": 1}'])
def test_damaged_facts_are_refused(saved: Path, text: str) -> None:
    (saved / "checkpoint.json").write_text(text)
    with pytest.raises(BadInput):
        load_checkpoint(saved)


def test_a_checkpoint_replaced_between_its_two_files_is_read_again(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def replaced_before(path: Path) -> bytes:
        monkeypatch.undo()
        save_checkpoint(saved, TENSORS | {"steps": torch.tensor(8)}, {"epoch": 4})
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", replaced_before)
    tensors, facts = load_checkpoint(saved)
    assert (int(tensors["steps"]), facts["epoch"]) == (8, 4)
