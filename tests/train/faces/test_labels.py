"""The labels' file: what is written is read, what is not the labels' is refused, and the held-out part never moves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import BadInput
from train.faces.labels import FaceLabels, FolderLabels, load_labels, part_of, save_labels


def some_labels() -> FaceLabels:
    names = np.array(["a.jpg", "b.jpg"])
    folder = FolderLabels(names, np.array(["0" * 64, "1" * 64]), np.array([1, 1]), np.ones((2, 4), np.float32),
                          np.ones((2, 5, 2), np.float32), np.array([0.9, 0.4], np.float32))
    return FaceLabels(folder, folder, "f" * 64)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_labels(some_labels(), tmp_path / "labels.npz")
    loaded = load_labels(tmp_path / "labels.npz")
    assert loaded.sha256() == some_labels().sha256() and loaded.teacher == "f" * 64
    assert loaded.heads.of(1).tolist() == [0, 1] and loaded.heads.of(0).tolist() == []


def test_the_hash_follows_every_find() -> None:
    labels = some_labels()
    moved = dataclasses.replace(labels.scenes, boxes=labels.scenes.boxes + 1)
    assert dataclasses.replace(labels, scenes=moved).sha256() != labels.sha256()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(BadInput, match="mien faces label"):
        load_labels(tmp_path / "other.npz")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="label again"):
        load_labels(tmp_path / "none.npz")


@pytest.mark.parametrize("change", [{"boxes": np.ones((3, 4), np.float32)}, {"picture": np.array([0, 2])},
                                    {"boxes": np.full((2, 4), np.nan, np.float32)}])
def test_finds_that_do_not_fit_their_pictures_are_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    labels = some_labels()
    save_labels(dataclasses.replace(labels, heads=dataclasses.replace(labels.heads, **change)), tmp_path / "bad.npz")
    with pytest.raises(BadInput, match="expected finds of 2 pictures"):
        load_labels(tmp_path / "bad.npz")


def test_a_fifth_is_reported_and_a_twenty_fifth_chooses() -> None:
    parts = part_of(np.array([f"{i:04d}.jpg" for i in range(4000)]))
    assert [int((parts == part).sum()) for part in ("training", "choosing", "reported")] == [3040, 160, 800]


def test_a_pictures_part_depends_on_names_alone_whatever_their_order() -> None:
    names = np.array([f"{i}.jpg" for i in range(100)])
    backwards = part_of(names[::-1])[::-1]
    assert part_of(names).tolist() == backwards.tolist()
    # pinned: another hash would move held-out pictures into training
    assert names[part_of(names) == "choosing"].tolist() == ["1.jpg", "14.jpg", "46.jpg", "83.jpg"]
