"""`images.json`: the same faces again, or a refusal that says how to choose anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_graphs import random_faces

from calibration.image_list import encode_list, find_images, list_images, read_list
from calibration.pick_images import hash_images
from runtime.errors import BadInput

SOURCE = {"name": "fer2013", "split": "Training", "sha256": "f" * 64}
NAMES = ["a.png", "b.png", "c.png"]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    images = list_images(NAMES[1:], random_faces(3)[1:], "k-center", 7, SOURCE)
    (tmp_path / "images.json").write_bytes(encode_list(images, {"list": 2}))
    return tmp_path / "images.json"


def test_a_list_comes_back(listed: Path) -> None:
    images = read_list(listed)
    assert (images.names, images.choice, images.seed, images.source) == (("b.png", "c.png"), "k-center", 7, SOURCE)
    assert images.images_sha256 == hash_images(random_faces(3)[1:])


def test_the_listed_faces_are_found_wherever_they_stand(listed: Path) -> None:
    assert find_images(read_list(listed), NAMES, random_faces(3)).tolist() == [1, 2]
    assert find_images(read_list(listed), NAMES[::-1], random_faces(3)[::-1]).tolist() == [1, 0]


def test_the_coverage_report_is_not_part_of_the_hash(listed: Path) -> None:
    values = json.loads(listed.read_text())
    listed.write_text(json.dumps(values | {"coverage": {"list": 9}}))
    assert read_list(listed).names == ("b.png", "c.png")


REBUILD = r"mien calibrate MODEL --images PATH --dataset fer2013 --choice k-center -n 2 --seed 7"


@pytest.mark.parametrize(("key", "value"), [("seed", 8), ("choice", "random"), ("names", ["b.png", "d.png"]),
                                            ("images_sha256", "0" * 64)])
def test_a_changed_list_is_refused_with_the_command_that_makes_it_again(listed: Path, key: str, value: object) -> None:
    listed.write_text(json.dumps(json.loads(listed.read_text()) | {key: value}))
    with pytest.raises(BadInput, match="found one that was changed; mien calibrate MODEL"):
        read_list(listed)


def test_other_pixels_under_a_listed_name_are_refused_with_the_command(listed: Path) -> None:
    faces = random_faces(3)
    faces[2, 0, 0, 0] ^= 1
    with pytest.raises(BadInput, match=f"others in c.png.*{REBUILD}"):
        find_images(read_list(listed), NAMES, faces)


def test_a_missing_image_is_refused_with_the_command(listed: Path) -> None:
    with pytest.raises(BadInput, match=f"found 1 missing, c.png first.*{REBUILD}"):
        find_images(read_list(listed), NAMES[:2], random_faces(2))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 50_000, b'{"schema": 2}',
                                     b'{"schema": 1, "names": [], "pixels_sha256": []}'])
def test_another_file_is_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"something else in .*other\.json") as caught:
        read_list(tmp_path / "other.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("names", ["b.png", "b.png"]), ("names", ["b.png"]), ("names", [1, 2]),
                                            ("pixels_sha256", ["x", "y"]), ("seed", True), ("source", "fer2013")])
def test_a_list_of_the_wrong_kinds_is_refused(listed: Path, key: str, value: object) -> None:
    listed.write_text(json.dumps(json.loads(listed.read_text()) | {key: value}))
    with pytest.raises(BadInput, match="something else"):
        read_list(listed)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere.json"):
        read_list(tmp_path / "nowhere.json")
