"""Files and drawn scenes, played in real time or over and over; a scene is the same for the same seed."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_camera import picture
from opencv_four import needs_haar

from runtime.camera import open_source
from runtime.camera.synthetic import Scene, render
from runtime.errors import BadInput
from runtime.faces import open_detector


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, one of them damaged: nominally ten a second."""
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    (tmp_path / "2.png").write_bytes(b"damaged")
    return tmp_path


def test_a_loop_goes_on_with_numbers_seconds_and_damage(folder: Path) -> None:
    with open_source(f"file://{folder}?loop=1") as source:
        frames = [f for f in itertools.islice(source, 5) if f]
    assert [f.index for f in frames] == list(range(5))
    assert [f.seconds for f in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert (frames[4].image == picture(0)).all()
    assert source.damaged == 2


def test_a_loop_of_one_image_never_ends(folder: Path) -> None:
    with open_source(f"file://{folder}/1.png?loop=1") as source:
        assert len(list(itertools.islice(source, 20))) == 20


def test_paced_frames_come_when_they_are_due(folder: Path) -> None:
    with open_source(f"file://{folder}?paced=1&loop=1") as source:
        start = time.monotonic()
        for frame in itertools.islice(source, 4):
            assert frame is not None and time.monotonic() - start >= frame.seconds - 0.001


def test_a_reader_who_is_late_gets_the_newest(folder: Path) -> None:
    with open_source(f"file://{folder}?paced=1&loop=1") as source:
        frames = iter(source)
        next(frames)
        time.sleep(0.55)
        late = next(frames)
    assert late is not None and late.index >= 4
    assert source.counts() == {"damaged": source.damaged, "dropped": late.index - 1}


def test_without_either_a_file_is_read_as_before(folder: Path) -> None:
    with open_source(f"file://{folder}?paced=0&loop=0") as source:
        assert len(list(source)) == 2


def test_a_scene_is_the_same_for_the_same_seed_and_moves() -> None:
    scene = Scene(width=160, height=120, seed=1, heads=2, frames=10)
    first, again = list(render(scene)), list(render(scene))
    assert all((a == b).all() for a, b in zip(first, again))
    assert not any((a == b).all() for a, b in itertools.pairwise(first))
    assert not (first[0] == next(render(Scene(width=160, height=120, seed=2, heads=2)))).all()


@pytest.mark.parametrize(("width", "height", "heads"), [(1, 1, 1), (7, 300, 3), (64, 48, 0), (40, 40, 64)])
def test_odd_scenes_are_drawn(width: int, height: int, heads: int) -> None:
    image = next(render(Scene(width=width, height=height, heads=heads)))
    assert image.shape == (height, width, 3) and image.dtype == np.uint8


@needs_haar
def test_pasted_pictures_are_found_in_the_scene(tmp_path: Path, face_photo: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), face_photo)
    detector = open_detector("haar", 4, 0.6, 1)
    with open_source(f"synthetic://?heads=1&frames=8&faces={tmp_path}") as source:
        found = [len(detector.detect(f.image)) for f in source if f]
    assert found.count(1) >= 7


def test_a_folder_without_pictures_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected images"), open_source(f"synthetic://?faces={tmp_path}") as source:
        list(source)
