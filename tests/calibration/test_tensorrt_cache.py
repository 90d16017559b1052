"""NVIDIA's calibration cache: the text as TensorRT writes it, strict reading, and what a cache is bound to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.tensorrt_cache import (
    CacheKey,
    calibration_cache,
    hash_images,
    hash_preprocessing,
    parse_calibration_cache,
    read_calibration_cache,
    write_calibration_cache,
)
from runtime.errors import BadInput
from runtime.preprocess import FaceInput

KEY = CacheKey("a" * 64, "b" * 64, "c" * 64)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(lambda n: n == n.strip())
SCALES = st.dictionaries(NAMES, st.floats(0, exclude_min=True, allow_infinity=False, width=32).map(np.float32))
VERSIONS = st.one_of(st.tuples(st.integers(7, 9), st.integers(0, 9), st.integers(0, 99)),
                     st.tuples(st.just(10), st.integers(0, 99), st.integers(0, 99)))


@given(SCALES, VERSIONS)
def test_what_was_written_is_read(scales: dict[str, np.float32], version: tuple[int, int, int]) -> None:
    said = ".".join(map(str, version))
    assert parse_calibration_cache(calibration_cache(scales, said)) == (said, scales)


def test_a_scale_is_its_big_endian_float32() -> None:
    # NVIDIA's own example: https://forums.developer.nvidia.com/t/109781
    assert calibration_cache({"relu46": np.float32(0.0179033577)}, "10.3.0").splitlines()[1] == "relu46: 3c92aa10"


@pytest.mark.parametrize(("version", "number"), [("10.3.0", "100300"), ("10.14.1", "101401"), ("8.6.1", "8601"),
                                                 ("7.0.0", "7000"), ("10.3.0.26", "100300"), ("8.5.2.2", "8502")])
def test_the_header_counts_versions_as_nvidia_does(version: str, number: str) -> None:
    assert calibration_cache({}, version) == f"TRT-{number}-EntropyCalibration2\n"


def test_a_cache_that_tensorrt_wrote_is_read_with_its_short_zero() -> None:
    text = "TRT-8401-EntropyCalibration2\ninput: 3caa54fc\n(Unnamed Layer* 64) [Shuffle]_output: 0\na: b: 3d5c11b5\n"
    version, scales = parse_calibration_cache(text)
    assert version == "8.4.1" and scales["(Unnamed Layer* 64) [Shuffle]_output"] == 0
    assert list(scales) == ["input", "(Unnamed Layer* 64) [Shuffle]_output", "a: b"]


@pytest.mark.parametrize("version", ["11.0.0", "6.0.1", "10", "10.3", "8.12.0", "ten", "", "10.3.0\n", "١٠.٣.٠"])
def test_a_version_without_such_caches_is_refused(version: str) -> None:
    with pytest.raises(BadInput, match="give it int8-gpu.onnx"):
        calibration_cache({}, version)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-50, 1e39])
def test_a_scale_that_is_no_positive_float32_is_not_written(scale: float) -> None:
    with pytest.raises(BadInput, match="positive scale for relu"), np.errstate(over="ignore"):
        calibration_cache({"relu": scale}, "10.3.0")  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["", "two\nlines", "two\r", " led", "trailing "])
def test_a_name_that_could_not_be_read_back_is_not_written(name: str) -> None:
    with pytest.raises(BadInput, match="tensor names of one line"):
        calibration_cache({name: np.float32(1)}, "10.3.0")


@pytest.mark.parametrize("first", ["", "TRT-100300-MinMaxCalibration", "TRT-100300-EntropyCalibration", "trt-100300-x",
                                   "TRT--EntropyCalibration2", "TRT-110000-EntropyCalibration2",
                                   "\ufeffTRT-8601-EntropyCalibration2", "TRT-8601-EntropyCalibration2 "])
def test_another_header_is_refused(first: str) -> None:
    with pytest.raises(BadInput, match=r"begins with TRT-<version>.*mien calibrate"):
        parse_calibration_cache(first + "\nrelu: 3c92aa10\n")


@pytest.mark.parametrize(("line", "word"), [
    ("relu 3c92aa10", "other text"), ("relu: 3c92aa1g", "other text"), ("relu: 03c92aa10", "other text"),
    ("relu:3c92aa10", "other text"), (": 3c92aa10", "other text"), ("relu: ", "other text"), ("", "other text"),
    ("relu: 3c92aa10\r", "other text"), ("relu: 7fc00000", "other text or scale"), ("relu: 7f800000", "scale"),
    ("relu: bc92aa10", "scale"), ("relu: 80000000", "scale"), ("input: 3c92aa10", "a tensor named before")])
def test_a_line_that_is_none_is_refused_with_its_number(line: str, word: str) -> None:
    with pytest.raises(BadInput, match=f"in line 3, found .*{word}"):
        parse_calibration_cache(f"TRT-8601-EntropyCalibration2\ninput: 3caa54fc\n{line}\n")


def test_a_cache_that_was_cut_off_is_refused() -> None:
    with pytest.raises(BadInput, match="cut off"):
        parse_calibration_cache("TRT-8601-EntropyCalibration2\ninput: 3caa54f")


@given(st.text())
def test_any_other_text_is_refused_with_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_calibration_cache(text)
    assert "\n" not in str(caught.value)


SOME = {"relu": np.float32(0.05), "pool": np.float32(0.25)}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    write_calibration_cache(tmp_path / "calibration.cache", SOME, "10.3.0", KEY)
    return tmp_path / "calibration.cache"


def test_a_cache_is_read_for_the_key_it_was_written_with(cache: Path) -> None:
    assert read_calibration_cache(cache, KEY) == SOME


def test_the_file_itself_is_nvidias_format_alone(cache: Path) -> None:
    assert cache.read_text() == calibration_cache(SOME, "10.3.0")
    assert {p.name for p in cache.parent.iterdir()} == {"calibration.cache", "calibration.cache.json"}


@pytest.mark.parametrize("part", [field.name for field in dataclasses.fields(CacheKey)])
def test_a_cache_of_another_graph_image_or_crop_is_refused(cache: Path, part: str) -> None:
    with pytest.raises(BadInput, match=f"found another {part}; mien calibrate"):
        read_calibration_cache(cache, dataclasses.replace(KEY, **{part: "d" * 64}))


def test_a_cache_that_was_changed_is_refused(cache: Path) -> None:
    cache.write_text(cache.read_text().replace("3d", "3e"))
    with pytest.raises(BadInput, match="another cache_sha256"):
        read_calibration_cache(cache, KEY)


@pytest.mark.parametrize("sidecar", [None, b"", b"no json", b"[]", b"{}", b"\xff"])
def test_a_cache_without_a_sidecar_that_speaks_is_refused(cache: Path, sidecar: bytes | None) -> None:
    place = cache.with_name("calibration.cache.json")
    place.unlink() if sidecar is None else place.write_bytes(sidecar)
    with pytest.raises(BadInput, match="mien calibrate"):
        read_calibration_cache(cache, KEY)


def test_nothing_is_left_of_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        write_calibration_cache(tmp_path / "x.cache", {"relu": np.float32(-1)}, "10.3.0", KEY)
    assert list(tmp_path.iterdir()) == []


def test_the_sidecar_says_the_key_and_the_version(cache: Path) -> None:
    facts = json.loads(cache.with_name("calibration.cache.json").read_text())
    assert facts["tensorrt"] == "10.3.0" and facts["tensors"] == 2 and facts["graph_sha256"] == KEY.graph_sha256


@pytest.mark.parametrize("change", [{"width": 44}, {"colour": "rgb"}, {"margin": 0.1}, {"equalize": True},
                                    {"resize": 64}])
def test_every_part_of_the_preprocessing_is_in_its_hash(change: dict[str, object]) -> None:
    how = FaceInput(48, 48)
    assert hash_preprocessing(how) == hash_preprocessing(FaceInput(48, 48))
    assert hash_preprocessing(dataclasses.replace(how, **change)) != hash_preprocessing(how)  # type: ignore[arg-type]


def calibration_of(*merged: str, images: str = "", first: str = "a") -> dict[str, object]:
    return {"images_sha256": images, "images_from": {"list_sha256": first * 64, "merged": [
        {"sha256": letter * 64, "images": 5} for letter in merged]}}


def test_images_of_one_list_have_its_hash() -> None:
    assert hash_images(calibration_of(images="e" * 64)) == "e" * 64


def test_merged_images_have_a_hash_of_all_their_files_in_whatever_order() -> None:
    assert hash_images(calibration_of("b", "c")) == hash_images(calibration_of("c", "b"))
    others = [calibration_of("b", "c"), calibration_of("b"), calibration_of("b", "d"), calibration_of("b", first="e")]
    assert len({hash_images(other) for other in others}) == len(others)
