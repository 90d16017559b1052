"""Rows 1–9 of the fault catalogue: what a camera does in a wall, injected into real capture processes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_camera import QUICK, FifoCamera, Record, Watched, alive, jpeg, note, picture

from runtime.camera import recovery as recovery_module
from runtime.camera.recovery import Recovery
from runtime.camera.video_devices import stable_path


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    opened: list[Watched] = []

    def start(uri: str, recovery: Recovery = QUICK) -> Watched:
        opened.append(Watched(uri, recovery))
        return opened[-1]
    yield start
    for one in opened:
        one.source.close()


def test_01_read_hangs(fifo: FifoCamera, watch: Callable[..., Watched], record_property: Record) -> None:
    seen = watch(fifo.uri, replace(QUICK, stall_seconds=2.0))
    seen.until(lambda: seen.frames, fifo.send)
    hung = seen.process()
    stale = seen.until(lambda: seen.heard("offline"))
    assert stale < 4  # two seconds, and what a busy machine adds
    assert not alive(hung)
    before = len(seen.frames)
    seen.until(lambda: len(seen.frames) > before, fifo.send)
    assert [e.kind for e in seen.events][:4] == ["online", "offline", "restart-child", "online"]
    assert seen.longest_silence < 1.5
    note(record_property, "read hangs", "a FIFO whose writer stalls",
         f"stale after {stale:.1f} s, capture process killed and replaced, frames again")


def test_02_unplug(fifo: FifoCamera, watch: Callable[..., Watched], tmp_path: Path, record_property: Record) -> None:
    script = f"echo $$ > {tmp_path}/pid; test -e {tmp_path}/plugged && exec cat {tmp_path}/camera"
    (tmp_path / "plugged").touch()
    seen = watch(f"pipe:mjpeg:sh -c {shlex.quote(script)}")
    seen.until(lambda: seen.frames, fifo.send)
    (tmp_path / "plugged").unlink()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    tries = ("reopen", "restart-child")
    seen.until(lambda: sum(len(seen.heard(t)) for t in tries) >= 5)
    waits = [float(e.facts["waited_seconds"]) for e in seen.events if e.kind in tries]
    assert waits[0] == 0 and max(waits) <= QUICK.longest_wait
    assert len(set(waits[2:])) > 1, "no two kiosks knock in step"
    assert seen.heard("offline")[0].facts["reason"].startswith("expected another frame from sh")  # type: ignore[union-attr]
    (tmp_path / "plugged").touch()
    before = len(seen.frames)
    seen.until(lambda: len(seen.frames) > before, fifo.send)
    note(record_property, "unplugged", "the source killed, and gone for a while",
         f"offline, {len(waits)} tries {waits[0]:g}–{max(waits):g} s apart, then online")


def test_03_absent_at_boot(watch: Callable[..., Watched], tmp_path: Path, record_property: Record) -> None:
    seen = watch(f"pipe:mjpeg:cat {tmp_path}/camera")
    seen.until(lambda: len(seen.heard("restart-child")) >= 2)
    assert not seen.source.online and seen.source.size is None and not seen.frames
    assert len(seen.heard("offline")) == 1, "an outage is said once, not once a try"
    camera = FifoCamera(tmp_path / "camera")
    try:
        seen.until(lambda: seen.frames, camera.send)
    finally:
        camera.close()
    assert seen.source.online
    note(record_property, "absent at boot", "a path that is missing at first",
         "offline, tries, online once it is there")


def test_04_comes_back_under_another_index(
    fifo: FifoCamera, watch: Callable[..., Watched], tmp_path: Path, record_property: Record
) -> None:
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-Maker-index0").symlink_to(tmp_path / "camera")
    assert stable_path(tmp_path / "camera", by_id) == by_id / "usb-Maker-index0"
    other = FifoCamera(tmp_path / "camera1")
    try:
        seen = watch(f"pipe:mjpeg:cat {stable_path(tmp_path / 'camera', by_id)}")
        seen.until(lambda: seen.frames, fifo.send)
        (by_id / "usb-Maker-index0").unlink()
        (by_id / "usb-Maker-index0").symlink_to(tmp_path / "camera1")
        seen.until(lambda: seen.heard("offline"))
        before = len(seen.frames)
        seen.until(lambda: len(seen.frames) > before, other.send)
    finally:
        other.close()
    note(record_property, "comes back under another index", "the by-id link swapped to another node",
         "found again by its by-id name")


def test_05_frozen_picture_with_fresh_timestamps(
    fifo: FifoCamera, watch: Callable[..., Watched], record_property: Record
) -> None:
    seen = watch(fifo.uri, replace(QUICK, frozen_seconds=0.6))
    seen.until(lambda: len(seen.frames) >= 40, fifo.send)  # a still scene with noise, longer than 0.6 s
    assert seen.source.counts()["frozen"] == 0
    still = jpeg(picture(0))
    seen.until(lambda: seen.heard("offline"), lambda: fifo.send(still))
    assert seen.heard("offline")[0].facts["reason"] == "the picture is frozen"
    scored = len(seen.frames)
    seen.until(lambda: seen.source.counts()["frozen"] >= 2, lambda: fifo.send(still))
    assert len(seen.frames) == scored, "a new process with the same picture is frozen from its first frame on"
    seen.until(lambda: len(seen.frames) > scored, fifo.send)
    note(record_property, "frozen picture, fresh timestamps", "a still scene with noise, then one JPEG again and again",
         "the repeated one is never scored and the camera restarted; the noisy one is not taken for frozen")


@pytest.mark.parametrize(("kind", "level"), [("dark", 4), ("overexposed", 255), ("covered", 70)])
def test_06_black_covered_overexposed(
    kind: str, level: int, fifo: FifoCamera, watch: Callable[..., Watched], record_property: Record
) -> None:
    seen = watch(fifo.uri)
    seen.until(lambda: len(seen.frames) >= 3, fifo.send)
    noise = iter(range(10**6))

    def bad() -> None:
        spoilt = np.random.default_rng(next(noise)).normal(level, 1, (48, 64, 3)).clip(0, 255)
        fifo.send(jpeg(spoilt.astype(np.uint8)))
    seen.until(lambda: seen.source.counts()[kind] > 0, bad)
    scored = len(seen.frames)
    seen.until(lambda: seen.heard(kind), bad)
    assert len(seen.frames) == scored
    assert seen.source.online and not seen.heard("offline"), "night is no fault of the camera's"
    seen.until(lambda: seen.heard("usable"), fifo.send)
    assert len(seen.frames) > scored
    note(record_property, f"{kind} picture", f"noise around grey level {level}",
         "an event, no frame scored, then usable")


@pytest.mark.parametrize("blow", [signal.SIGSEGV, signal.SIGSTOP, signal.SIGKILL])
def test_07_capture_process_crashes_or_stops(
    blow: signal.Signals, watch: Callable[..., Watched], record_property: Record
) -> None:
    seen = watch("synthetic://?live=1&size=64x48", replace(QUICK, spare=True))
    start = time.monotonic()
    seen.until(lambda: seen.frames and time.monotonic() - start > 2)
    first = seen.process()
    os.kill(first, blow)
    struck = time.monotonic()
    before = len(seen.frames)
    seen.until(lambda: len(seen.heard("online")) == 2 and len(seen.frames) > before)
    recovered = time.monotonic() - struck
    assert not alive(first) and seen.process() != first
    numbers = [f.index for f in seen.frames]
    assert numbers == sorted(set(numbers)), "numbers go on over a restart"
    note(record_property, f"capture process gets {blow.name}", f"the real signal, deadline {QUICK.stall_seconds:g} s",
         f"replaced, frames again after {recovered:.1f} s")


def test_08_camera_daemon_deadlocked(
    watch: Callable[..., Watched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    monkeypatch.setattr(recovery_module, "RESTARTS", 1)
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    (tmp_path / "1.jpg").write_bytes(jpeg(picture(1)))
    (tmp_path / "2.jpg").write_bytes(jpeg(picture(2)))
    daemon = tmp_path / "daemon.sh"
    daemon.write_text(f"echo $$ > {tmp_path}/pid\nexec 3<>{fifo}\n"
                      f"while :; do cat {tmp_path}/1.jpg {tmp_path}/2.jpg >&3; sleep 0.1; done\n")
    restart = tmp_path / "restart.sh"
    restart.write_text(f"kill -9 $(cat {tmp_path}/pid)\nsetsid sh {daemon} >/dev/null 2>&1 &\n")
    subprocess.Popen(["sh", str(restart)], stderr=subprocess.DEVNULL).wait()
    try:
        seen = watch(f"pipe:mjpeg:cat {fifo}", replace(QUICK, start_seconds=4, daemon_command=f"sh {restart}"))
        seen.until(lambda: seen.frames)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGSTOP)
        seen.until(lambda: seen.heard("offline"))
        before = len(seen.frames)
        seen.until(lambda: len(seen.frames) > before)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    kinds = [e.kind for e in seen.events]
    assert kinds.index("restart-child") < kinds.index("restart-daemon") < len(kinds) - kinds[::-1].index("online") - 1
    assert seen.heard("restart-daemon-ended")[0].facts["outcome"] == "ended with 0"
    note(record_property, "camera daemon alive but deadlocked", "SIGSTOP to the process that feeds the camera",
         "a new capture process did not help, the daemon's restart command did")


def test_09_device_busy(watch: Callable[..., Watched], record_property: Record) -> None:
    master, slave = os.openpty()  # a character device that is no camera, held by another program
    device = os.ttyname(slave)
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], pass_fds=(slave,))
    os.close(slave)
    try:
        seen = watch(f"v4l2://{device}")
        seen.until(lambda: len(seen.heard("restart-child")) >= 2)
    finally:
        holder.kill()
        holder.wait()
        os.close(master)
    reason = str(seen.heard("offline")[0].facts["reason"])
    assert f"(process {holder.pid})" in reason and device in reason
    note(record_property, "device busy", "another process holds the device",
         f"retried; {reason.partition('found ')[2]}")
