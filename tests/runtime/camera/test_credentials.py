"""A camera's password: where it may stand, and that it comes out nowhere."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from live_camera import QUICK, Watched

from runtime.camera import open_source
from runtime.camera.credentials import VARIABLE, read_credentials
from runtime.camera.grab_opencv import with_secret
from runtime.errors import BadInput, Unavailable

USER, PASSWORD = "viewer", "hunter2/p@ss:w"
SYSTEM_PYTHON = Path("/usr/bin/python3")  # the one that sees Debian's python3-gi


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.touch(0o600)
    path.write_text(f"{USER}:{PASSWORD}\n")
    return path


@pytest.fixture
def server() -> Iterator[int]:
    """A real RTSP server on loopback that asks for USER and PASSWORD; its port."""
    imports = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not SYSTEM_PYTHON.exists() or subprocess.run([SYSTEM_PYTHON, "-c", imports], capture_output=True).returncode:
        pytest.skip("no RTSP server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good")
    script = Path(__file__).with_name("rtsp_server.py")
    with subprocess.Popen([SYSTEM_PYTHON, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(f"{USER}\n{PASSWORD}\n")
        process.stdin.close()
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_a_file_goes_before_the_environment(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "other:one")
    assert read_credentials(secret_file) == f"{USER}:{PASSWORD}"
    assert read_credentials() == "other:one"
    monkeypatch.delenv(VARIABLE)
    assert read_credentials() == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    with pytest.raises(BadInput, match=f"mode {mode:o}"):
        read_credentials(secret_file)


@pytest.mark.parametrize("content", ["", "   \n", "hunter2", "a:b\nhunter2:c"])
def test_something_else_is_refused_and_not_repeated(secret_file: Path, content: str) -> None:
    secret_file.write_text(content)
    with pytest.raises(BadInput, match="expected `user:password`") as caught:
        read_credentials(secret_file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/dev/null", "/"])
def test_no_file_is_refused(path: str) -> None:
    with pytest.raises(BadInput):
        read_credentials(Path(path))


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput, match="without a password") as caught:
        open_source("rtsp://user:hunter2@camera/stream")
    assert "hunter2" not in str(caught.value)


def test_odd_characters_are_escaped() -> None:
    assert with_secret("rtsp://h:1/x?y=1", "a@b:c/d:e") == "rtsp://a%40b:c%2Fd%3Ae@h:1/x?y=1"
    assert with_secret("rtsp://h:1/x", "") == "rtsp://h:1/x"


def test_frames_come_and_the_password_stands_nowhere(
    server: int, secret_file: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(VARIABLE, f"{USER}:{PASSWORD}")  # not read, and not handed on either
    recovery = replace(QUICK, credentials=secret_file, stall_seconds=3)
    seen = Watched(f"rtsp://127.0.0.1:{server}/camera", recovery)
    try:
        seen.until(lambda: len(seen.frames) >= 5)
        folder = Path(f"/proc/{seen.process()}")
        shown = [(folder / "cmdline").read_bytes().decode(), (folder / "environ").read_bytes().decode()]
        os.kill(seen.process(), 9)  # and what is said of a loss
        seen.until(lambda: len(seen.heard("online")) == 2)
    finally:
        seen.source.close()
    assert seen.frames[0].image.shape == (240, 320, 3)
    shown += [seen.source.name, repr(seen.events), repr(seen.source.counts()), caplog.text, *capfd.readouterr()]
    escaped = with_secret("rtsp://h", f"{USER}:{PASSWORD}").partition(":")[2]
    assert [text for text in shown for word in ("hunter2", PASSWORD, escaped) if word in text] == []


def test_a_wrong_password_is_one_line_without_it(
    server: int, secret_file: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret_file.write_text("viewer:hunter3")
    with pytest.raises(Unavailable, match=f"RTSP stream at rtsp://127.0.0.1:{server}, .* credentials") as caught:
        open_source(f"rtsp://127.0.0.1:{server}/camera", recovery=replace(
            QUICK, credentials=secret_file, wait_at_start=False))
    assert "hunter3" not in str(caught.value) + caplog.text + "".join(capfd.readouterr())
