"""Sources: what is missing, empty or damaged is named and counted; the rest comes through in order."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.camera import open_source
from runtime.camera.image_files import natural_order, read_image
from runtime.camera.image_header import read_header
from runtime.camera.source import MAX_PIXELS, check_pixels
from runtime.errors import BadInput, Unavailable


def picture(value: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    image = np.random.default_rng(value).integers(0, 256, (*size, 3), dtype=np.uint8)
    image[:8, :8] = value
    return image


def write_video(path: Path, frames: int, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 20.0, (64, 48))
    for number in range(frames):
        image = np.full((48, 64, 3), 5 * number % 250, np.uint8)
        writer.write(image)
    writer.release()
    return path


@pytest.mark.parametrize("uri", ["v4l2:///dev/video97", "97", "v4l2:///dev/v4l/by-id/usb-nothing"])
def test_a_missing_camera_is_unavailable(uri: str) -> None:
    with pytest.raises(Unavailable, match="expected a camera at /dev/") as caught:
        open_source(uri)
    assert caught.value.exit_code == 3


def test_a_device_that_is_no_camera_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not open"):
        open_source("v4l2:///dev/null")


@pytest.mark.parametrize("uri", ["/nowhere/clip.mp4", "file:///nowhere/clip.mp4", "nowhere", ""])
def test_a_missing_file_is_bad_input(uri: str) -> None:
    with pytest.raises(BadInput, match="expected a camera .* found"):
        open_source(uri)


def test_an_unknown_scheme_never_repeats_a_password() -> None:
    with pytest.raises(BadInput, match="http://") as caught:
        open_source("http://user:hunter2@camera/stream")
    assert "hunter2" not in str(caught.value)


def test_a_video_yields_its_frames_in_order(tmp_path: Path) -> None:
    with open_source(str(write_video(tmp_path / "a.avi", 30))) as source:
        frames = list(source)
    assert [f.index for f in frames] == list(range(30))
    assert [round(float(f.image.mean()) / 5) for f in frames] == list(range(30))
    assert frames[20].seconds == pytest.approx(1.0)
    assert (source.size, source.fps, source.name, source.damaged) == ((64, 48), 20.0, "a.avi", 0)


def test_a_file_uri_is_unquoted(tmp_path: Path) -> None:
    write_video(tmp_path / "a clip.avi", 3)
    with open_source(f"file://{tmp_path}/a%20clip.avi") as source:
        assert len(list(source)) == 3


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00" * 5000])
def test_an_empty_or_unreadable_video_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.mp4"):
        open_source(str(tmp_path / "a.mp4"))


def test_a_video_cut_short_ends_cleanly_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "a.avi", 60)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with open_source(str(path)) as source:
        count = len(list(source))
    assert 10 < count < 50
    assert source.damaged == 60 - count
    assert f"{count} of 60 frames could be read" in caplog.text


def test_a_video_damaged_in_the_middle_gives_the_rest_with_a_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "a.avi", 60)
    content = bytearray(path.read_bytes())
    middle = slice(len(content) * 2 // 5, len(content) * 3 // 5)
    content[middle] = bytes(middle.stop - middle.start)
    path.write_bytes(content)
    with open_source(str(path)) as source:
        indices = [frame.index for frame in source]
    assert 10 < len(indices) < 57
    assert source.damaged == 60 - len(indices)
    assert len(indices) > 40  # what comes after the damage is read too
    assert "damaged or cut short" in caplog.text


def test_frames_after_a_damaged_stretch_of_an_mp4_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (128, 96))
    for _ in range(60):
        writer.write(random.integers(0, 256, (96, 128, 3), dtype=np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    start = len(content) * 2 // 5
    content[start : start + 20_000] = bytes(20_000)
    path.write_bytes(content)
    with open_source(str(path)) as source:
        indices = [frame.index for frame in source]
    assert indices[-1] == 59 and 40 < len(indices) < 60
    assert source.damaged == 60 - len(indices)


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), picture(number))
    (tmp_path / "notes.txt").write_text("no picture")
    with open_source(str(tmp_path)) as source:
        assert [int(f.image[0, 0, 0]) for f in source] == [1, 2, 10]


def test_natural_order_survives_odd_names() -> None:
    names = ["a10b", "a2b", "10", "2", "B1", "a", "", "a02b", "²"]
    assert sorted(names, key=natural_order).index("a2b") < sorted(names, key=natural_order).index("a10b")


def test_an_empty_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected images .* found none"):
        open_source(str(tmp_path))


def test_a_damaged_image_is_named_counted_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), picture(number))
    content = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(content[: len(content) // 2])  # OpenCV itself would give a half-grey picture
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert ([f.index for f in frames], source.damaged) == ([0, 1], 1)
    assert "1.jpg" in caplog.text


def test_many_damaged_images_are_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), picture())
    for number in range(50):
        (tmp_path / f"{number}.png").write_bytes(b"damaged")
    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 1
    assert source.damaged == 50
    assert len(caplog.records) == 6
    assert "50 of 51 images are damaged" in caplog.text


def test_a_folder_of_nothing_but_damage_is_bad_input(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"damaged")
    with pytest.raises(BadInput, match="all 3 damaged"), open_source(str(tmp_path)) as source:
        list(source)


def test_a_single_image_is_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(7))
    with open_source(str(tmp_path / "a.png")) as source:
        (frame,) = source
    assert (frame.image == picture(7)).all()


def test_a_damaged_single_image_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nand nothing")
    with pytest.raises(BadInput, match=r"a\.png"), open_source(str(tmp_path / "a.png")) as source:
        list(source)


def test_a_grey_image_becomes_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture()[..., 0])
    assert read_image(tmp_path / "a.png").shape == (48, 64, 3)


def test_a_forged_size_is_refused_before_decoding(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"IEND")
    with pytest.raises(BadInput, match="60000×60000"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5), (MAX_PIXELS, 2)])
def test_nothing_or_too_much_is_refused(width: int, height: int) -> None:
    with pytest.raises(BadInput, match="expected frames of"):
        check_pixels(width, height, "x")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
def test_a_header_tells_the_size_and_that_nothing_is_missing(ending: str) -> None:
    content = cv2.imencode(ending, picture())[1].tobytes()
    header = read_header(content)
    assert header is not None
    assert (header.width, header.height, header.whole) == (64, 48, True)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
def test_every_truncation_is_seen(ending: str) -> None:
    content = cv2.imencode(ending, picture())[1].tobytes()
    for length in range(0, len(content) - 12, 37):  # a PNG's last 12 bytes are its end marker
        header = read_header(content[:length])
        assert header is None or not header.whole


def test_a_progressive_jpeg_is_whole() -> None:
    content = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    header = read_header(content)
    assert header is not None and header.whole
