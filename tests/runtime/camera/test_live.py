"""Live sources with real capture processes: what starts, what is left, and what is said when nothing comes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_camera import PATIENCE, QUICK, Watched, alive, jpeg, picture

from runtime.camera import live_sources, open_source
from runtime.camera.capture_process import CaptureEnded, CaptureProcess
from runtime.camera.grab_command import CommandGrabber
from runtime.camera.happenings import MOST, Happenings
from runtime.camera.jpeg_decoder import Complaints
from runtime.camera.live import MOST_STUCK, LiveSource
from runtime.camera.repair_command import RepairCommand
from runtime.errors import MienError, Unavailable

ROOT = Path(__file__).resolve().parents[3]
REFUSING = replace(QUICK, wait_at_start=False)
needs_gstreamer = pytest.mark.skipif(shutil.which("gst-launch-1.0") is None,
                                     reason="no GStreamer: apt install gstreamer1.0-tools gstreamer1.0-plugins-base")


def children_of(process: int) -> list[int]:
    """Return a process's children, also those of other sessions."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def gone(processes: list[int]) -> bool:
    """Return whether all of them end within a moment."""
    deadline = time.monotonic() + 10
    while any(map(alive, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_drawn_scene_arrives_as_it_was_drawn() -> None:
    with open_source("synthetic://?size=64x48&seed=3&fps=60&frames=200") as source:
        drawn = {frame.image.tobytes() for frame in source if frame}
    seen = Watched("synthetic://?live=1&size=64x48&seed=3&fps=60", REFUSING)
    try:
        assert seen.source.live and seen.source.size == (64, 48) and seen.source.fps == 60
        seen.until(lambda: len(seen.frames) >= 10)
    finally:
        seen.source.close()
    assert all(frame.image.tobytes() in drawn for frame in seen.frames if frame.index < 200)
    times = [(f.index, f.seconds, f.captured) for f in seen.frames]
    assert times == sorted(times)
    assert list(seen.source) == [], "a closed source yields nothing"


def test_a_capture_process_that_crashes_leaves_no_core() -> None:
    program = ("import ctypes, os, resource, socket\n"
               "from runtime.camera import capture_child, request, ring\n"
               "ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
               "ours.send(request.CaptureRequest('v4l2', 'x', address='/dev/none').to_json())\n"
               "ours.shutdown(socket.SHUT_WR)\n"
               "capture_child.main(os.getppid(), theirs.detach(), ring.create_ring())\n"
               "print(*resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["0", "0", "0"]  # both limits; PR_GET_DUMPABLE, which exec had set again


def test_a_camera_that_shows_nothing_says_what_is_wrong_with_its_pictures() -> None:
    seen = Watched("pipe:64x48:cat /dev/zero", REFUSING)
    try:
        seen.until(lambda: seen.source.why)
        assert seen.source.why == "the picture is dark" and not seen.frames
    finally:
        seen.source.close()


def test_closing_leaves_no_process_and_no_descriptor() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))
    before, shared = descriptors(), set(Path("/dev/shm").iterdir())
    seen = Watched("pipe:64x48:cat /dev/zero", replace(QUICK, spare=True))
    try:
        seen.until(lambda: seen.source._spare)
        capture, spare = seen.process(), seen.source._spare
        assert spare is not None
        processes = [capture, spare.process_id, *children_of(capture)]  # its own only: earlier tests may have left some
        assert len(processes) == 3 and all(map(alive, processes))
    finally:
        seen.source.close()
    assert gone(processes)
    assert descriptors() == before and set(Path("/dev/shm").iterdir()) <= shared


def test_a_camera_is_let_go_by_its_command_too_before_another_opens_it(tmp_path: Path) -> None:
    process = CaptureProcess()
    command_line = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 120'"
    process.begin(live_sources.pipe(f"pipe:64x48:{command_line}", live_sources.CameraMode()))
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    command = int((tmp_path / "pid").read_text())
    assert alive(command) and not process.is_gone()
    dead = process.kill()  # a busy machine buries later than it waits
    assert not (dead and alive(command)), "what is said of the child is said of its command"
    assert gone([command, process.process_id]) and process.is_gone()


def test_processes_that_no_signal_ends_are_bounded_and_their_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CaptureProcess, "_kill_group", lambda self: None)  # as inside a driver, in state D
    seen = Watched("pipe:64x48:sleep 120", replace(QUICK, start_seconds=0.5, longest_wait=0.1))
    try:
        seen.until(lambda: "hang inside a driver" in seen.source.why)
        stuck = [int(e.facts["process"]) for e in seen.heard("stuck")]
        tries = seen.source.counts()["restart-child"]
        for _ in range(20):
            seen.step()
        assert seen.source.capture_process_id is None and seen.source.counts()["restart-child"] == tries
        assert len(stuck) == MOST_STUCK == seen.source.counts()["stuck"] and all(map(alive, stuck))
        assert sum("hang inside" in str(e.facts["reason"]) for e in seen.heard("offline")) == 1, "said once"
        os.killpg(stuck[0], signal.SIGKILL)  # the driver lets go of one
        seen.until(lambda: seen.source.capture_process_id is not None)
        assert seen.process() not in stuck
    finally:
        monkeypatch.undo()
        for process in {*seen.source._stuck, seen.source._child} - {None}:
            process._kill_group()
            process._process.wait()
        seen.source.close()


@pytest.fixture
def kiosk() -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A process with a live source, its capture process and the command of that."""
    program = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
               "from runtime.camera import open_source\n"
               "from runtime.camera.recovery import Recovery\n"
               "source = open_source('pipe:64x48:sleep 120', recovery=Recovery(wait_at_start=True))\n"
               "for frame in source: print(flush=True)")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        deadline = time.monotonic() + PATIENCE
        commands: list[int] = []
        while not commands and time.monotonic() < deadline:
            captures = children_of(process.pid)
            commands = [c for capture in captures for c in children_of(capture)]
            time.sleep(0.05)
        yield process, captures[0], commands[0]
        process.kill()


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSEGV])
def test_nothing_outlives_a_parent_that_was_killed(
    kiosk: tuple[subprocess.Popen[str], int, int], blow: signal.Signals
) -> None:
    process, capture, command = kiosk
    shared = set(Path("/dev/shm").iterdir())
    process.send_signal(blow)
    assert gone([process.pid, capture, command])
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_a_command_does_not_outlive_its_capture_process(kiosk: tuple[subprocess.Popen[str], int, int]) -> None:
    process, capture, command = kiosk
    os.kill(capture, signal.SIGKILL)
    assert gone([capture, command])
    assert alive(process.pid)


@needs_gstreamer
def test_gstreamer_writes_frames_by_the_path_of_a_csi_camera() -> None:
    # all but the camera's own elements is what csi:// runs; 65 px: a width whose BGR rows GStreamer would pad
    request = live_sources.gstreamer("csi://0", "videotestsrc is-live=true pattern=smpte", 65, 48, 30)
    source = LiveSource(request, REFUSING)
    try:
        frame = next(frame for frame in source if frame)
    finally:
        source.close()
    bars = frame.image[10, 4::9].astype(int)
    assert bars.shape == (7, 3)
    blue, green, red = bars[6], bars[3], bars[5]  # SMPTE's bars from the left: white yellow cyan green magenta red blue
    assert blue[0] > 150 > blue[2] and green[1] > 150 > green[2] and red[2] > 150 > red[0]


@needs_gstreamer
def test_a_csi_camera_that_is_not_there_says_what_gstreamer_said() -> None:
    with pytest.raises(Unavailable, match="nvarguscamerasrc"):
        open_source("csi://0", recovery=REFUSING)


@pytest.mark.parametrize(("uri", "why"), [
    ("pipe:mjpeg:no-such-program-at-all", "the program no-such-program-at-all, found none"),
    ("pipe:mjpeg:true", "ended with 0"),
    ("pipe:64x48:cat /nowhere/hunter2", "ended with 1"),
    ("pipe:99999x99999:cat", "99999×99999"),
])
def test_what_does_not_start_is_one_line(uri: str, why: str) -> None:
    with pytest.raises(Unavailable, match=why) as caught:
        open_source(uri, recovery=REFUSING)
    assert str(caught.value).startswith("expected ") and "hunter2" not in str(caught.value)


def test_what_never_comes_is_given_up_where_nobody_waits() -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="within 1 s, found none"):
        open_source("pipe:64x48:sleep 60", recovery=replace(REFUSING, start_seconds=1))
    assert time.monotonic() - began < PATIENCE / 2


FRAME = {"frame": 1, "width": 64, "height": 48, "at": 0, "fps": 1, "damaged": 0}


@pytest.mark.parametrize("said", [
    json.dumps({**FRAME, "width": 100_000, "height": 100_000}), json.dumps({**FRAME, "at": 1e12}), "[1]", "{", "\xff",
    json.dumps({**FRAME, "damaged": float("inf")}), json.dumps({**FRAME, "frame": 0}), json.dumps({"frame": 1})])
def test_a_capture_process_that_says_what_none_says_is_given_up(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    babble = (f"import socket, sys, time; c = socket.socket(fileno=int(sys.argv[2])); c.send({said.encode()!r}); "
              "time.sleep(60)")
    monkeypatch.setattr("runtime.camera.capture_process.PROGRAM", babble)
    process = CaptureProcess()
    try:
        with pytest.raises(CaptureEnded, match="said what none says"):
            process.wait(PATIENCE)
    finally:
        assert process.kill()


def test_a_system_without_processes_left_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", refuse)
        seen = Watched("synthetic://?live=1&size=64x48")
        seen.until(lambda: len(seen.heard("restart-child")) >= 3)
    try:
        seen.until(lambda: seen.frames)
    finally:
        seen.source.close()
    assert seen.heard("offline")[0].facts["reason"] == "no capture process: Resource temporarily unavailable"


def test_a_command_is_read_in_this_process_too(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(picture(number)))
    request = live_sources.pipe(f"pipe:mjpeg:cat {tmp_path}/0.jpg {tmp_path}/1.jpg", live_sources.CameraMode())
    grabber = CommandGrabber(request, Complaints(os.memfd_create("said")))
    slot = np.zeros(64 * 48 * 3, np.uint8)
    for number in range(2):
        assert grabber.grab(slot) == (64, 48)
        expected = cv2.imdecode(np.frombuffer(jpeg(picture(number)), np.uint8), cv2.IMREAD_COLOR)
        assert (slot.reshape(48, 64, 3) == expected).all()
    with pytest.raises(MienError, match="cat, found that it ended with 0"):
        grabber.grab(slot)
    grabber.close()


def test_happenings_are_bounded_and_no_kind_floods() -> None:
    happenings = Happenings()
    for number in range(MOST + 10):
        happenings.add("online", {"number": number})
        happenings.add("damaged", {"so_far": number})
    events = happenings.take()
    assert len(events) == MOST and happenings.lost == 11
    assert events[-1].facts["number"] == MOST + 9
    assert happenings.take() == []


@pytest.mark.parametrize(("command", "outcome"), [
    ("true", "ended with 0"), ("sh -c 'exit 3'", "ended with 3"), ("/no/such/program", "did not start")])
def test_a_repair_command_says_how_it_ended(command: str, outcome: str) -> None:
    assert RepairCommand("device-hook", command).outcome(10).startswith(outcome)


def test_a_repair_command_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.camera.repair_command.PATIENCE", 0.2)
    command = RepairCommand("device-hook", "sh -c 'sleep 60'")
    assert command.outcome(0.01) == ""
    time.sleep(0.3)
    assert command.outcome(0.01) == "did not end within 0.2 s"
