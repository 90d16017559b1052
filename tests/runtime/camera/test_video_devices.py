"""Video devices: who holds one, and the name that survives another number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runtime.camera.video_devices import holders, stable_path


def test_a_device_is_known_by_its_link(tmp_path: Path) -> None:
    by_id, device = tmp_path / "by-id", tmp_path / "video0"
    assert stable_path(device, by_id) == device, "no udev"
    by_id.mkdir()
    device.touch()
    assert stable_path(device, by_id) == device
    link = by_id / "usb-Maker_Camera_123-video-index0"
    link.symlink_to("../video0")
    assert stable_path(device, by_id) == link
    assert stable_path(link, by_id) == link
    (tmp_path / "video1").touch()
    assert stable_path(tmp_path / "video1", by_id) == tmp_path / "video1"


def test_a_holder_is_named_also_through_a_link(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    (tmp_path / "link").symlink_to(device)
    handle = os.open(device, os.O_RDONLY)
    assert holders(tmp_path / "link") == [], "this process is no other one"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(handle,)) as holder:
        found = holders(tmp_path / "link")
        assert holder.stdin
        holder.communicate(b"\n")
    os.close(handle)
    assert [h.process for h in found] == [holder.pid]
    assert found[0].program.startswith("python")
