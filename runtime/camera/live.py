"""A live source: frames from a capture process that is killed, restarted and helped back up the ladder as needed.

Whoever iterates drives it: there is no thread. It never ends by itself, and never yields a frame that is frozen, black,
overexposed, covered, damaged, torn or of another size than the one before. Time is monotonic, and only time spent
waiting here counts as silence: a reader who was busy, or a process that was stopped, does not take its camera for hung.
Knows nothing of what a frame shows.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runtime.camera.capture_process import CaptureEnded, CaptureProcess, News
from runtime.camera.happenings import Happenings
from runtime.camera.quality import QualityCheck, Verdict
from runtime.camera.recovery import SETTLED, Ladder, Recovery, Step
from runtime.camera.repair_command import RepairCommand
from runtime.camera.request import CaptureRequest
from runtime.camera.source import CameraEvent, Frame, FrameSource
from runtime.camera.video_devices import stable_path
from runtime.errors import Unavailable

log = logging.getLogger(__name__)

TICK = 0.25  # seconds at most between two answers to who iterates, but for a child that takes its time to die
MOST_STUCK = 3  # killed processes that hang inside a driver, each with the memory of its pictures; then none is started
DWELL = 1.0  # seconds that a verdict must last before it is an event: dusk flickers between dark and usable
COUNTED = ("frames", "dropped", "torn", "damaged", "frozen", "dark", "overexposed", "covered", "size-changed",
           "outages", "reopen", "restart-child", "restart-daemon", "device-hook", "stuck")


class LiveSource(FrameSource):
    """One camera, kept alive. `size` and `fps` are those of the last frame, None before the first."""

    live = True

    def __init__(self, request: CaptureRequest, recovery: Recovery):
        """Start capturing. Raises Unavailable where no first frame comes, unless the recovery waits for the camera."""
        self.name, self.damaged = request.name, 0
        self.fps: float | None = None
        self.size: tuple[int, int] | None = None
        self.online = False  # frames come, usable or not
        self._request, self._recovery = request, recovery
        self._ladder, self._quality = Ladder(recovery), QualityCheck(recovery.frozen_seconds)
        self._counts, self._happenings = Counter[str](), Happenings()
        self._child: CaptureProcess | None = None
        self._spare: CaptureProcess | None = None
        self._command: RepairCommand | None = None
        self._stuck: list[CaptureProcess] = []
        self._hanging: RepairCommand | None = None
        self._step: Step | None = None
        self._due = self._silent = self._limit = 0.0
        self._numbered = self._last_number = self._last_damaged = 0
        self._zero: float | None = None
        self._reason = ""
        self._lost_at = self._online_since = time.monotonic()
        self._verdict: Verdict = "usable"
        self._differs_since: float | None = None
        self._closed = False
        self._start()
        if not recovery.wait_at_start:
            self._await_first()

    def __iter__(self) -> Iterator[Frame | None]:
        while not self._closed:
            yield self._next()

    def close(self) -> None:
        """Kill the capture process and whatever it started."""
        self._closed = True
        for process in (self._child, self._spare, self._command):
            if process is not None:
                process.kill()
        self._child = self._spare = self._command = None

    def happenings(self) -> list[CameraEvent]:
        """Return what happened since last asked, oldest first."""
        return self._happenings.take()

    def counts(self) -> dict[str, int]:
        """Return how often each thing happened so far; `dropped` frames were whole, but a newer one was there."""
        counted = {**self._counts, "damaged": self.damaged}
        return {**{kind: counted.get(kind, 0) for kind in COUNTED}, "events-lost": self._happenings.lost}

    @property
    def why(self) -> str:  # type: ignore[override]
        """Why no usable frames come; '' while they do."""
        if self.online:
            return "" if self._verdict == "usable" else f"the picture is {self._verdict}"
        return self._reason

    @property
    def capture_process_id(self) -> int | None:
        """The capture process's, while there is one."""
        return self._child.process_id if self._child else None

    def _next(self) -> Frame | None:
        """Return the newest frame if it is fresh and usable, after TICK at most."""
        if self._child is None or self._step is not None:
            self._climb()
            return None
        asked = time.monotonic()
        try:
            news = self._child.wait(TICK)
        except CaptureEnded as end:
            self._lose(str(end), answers=False)
            return None
        self._silent += min(time.monotonic() - asked, 2 * TICK)
        self._count(news)
        frame = self._judge(news)
        if news.lost:
            self._lose(news.lost, answers=True)
        elif self._silent >= self._limit:
            self._lose(f"no frame for {self._limit:g} s", answers=False)
        return frame

    def _count(self, news: News) -> None:
        if news.damaged > self._last_damaged:
            self.damaged += news.damaged - self._last_damaged
            self._last_damaged = news.damaged
            self._happenings.add("damaged", {"so_far": self.damaged})
        if news.number:
            self._counts["frames"] += news.number - self._last_number
            self._counts["dropped"] += news.number - self._last_number - 1
            self._counts["torn"] += news.torn
            self._last_number, self.fps = news.number, news.fps

    def _judge(self, news: News) -> Frame | None:
        """Return a frame that may be scored."""
        image = news.image
        if image is None:
            return None
        self._silent, self._limit = 0.0, self._recovery.stall_seconds
        size = (image.shape[1], image.shape[0])
        before, self.size = self.size, size
        if before not in (None, size):
            self._counts["size-changed"] += 1
            self._happenings.add("size-changed", {"from": "×".join(map(str, before or ())),
                                                  "to": "×".join(map(str, size))})
            return None
        verdict = self._quality.judge(image, news.at)
        if verdict != "usable":
            self._counts[verdict] += 1
        if verdict == "frozen":
            self._lose("the picture is frozen", answers=False)
            return None
        self._greet(news.at)
        self._announce(verdict, news.at)
        if verdict != "usable":
            return None
        if self._zero is None:
            self._zero = news.at
        return Frame(image, self._numbered + news.number - 1, news.at - self._zero, news.at)

    def _greet(self, now: float) -> None:
        """Hear that the camera delivers."""
        self._ladder.good(now)
        if not self.online:
            self.online, self._reason = True, ""
            self._happenings.add("online", {"after_seconds": round(now - self._lost_at, 3)})
            self._online_since = now
        elif self._recovery.spare and self._spare is None and now - self._online_since > SETTLED:
            with contextlib.suppress(OSError):  # short of processes, memory or descriptors: then without
                self._spare = CaptureProcess()

    def _announce(self, verdict: Verdict, now: float) -> None:
        """Make an event of a verdict that lasts."""
        if verdict == self._verdict:
            self._differs_since = None
        elif self._differs_since is None:
            self._differs_since = now
        elif now - self._differs_since >= DWELL:
            self._happenings.add(verdict, {"was": self._verdict})
            self._verdict, self._differs_since = verdict, None

    def _lose(self, reason: str, answers: bool) -> None:
        """Note a loss and choose the next rung; a child that does not answer is killed at once, to free its device."""
        now = time.monotonic()
        if self.online or not self._reason:
            self._counts["outages"] += 1
            self._lost_at = now
        if reason != self._reason:
            log.warning("%s: %s", self.name, reason)
            self._happenings.add("offline", {"reason": reason})
        self.online, self._reason = False, reason
        self._step = self._ladder.next(now, answers)
        self._due = now + self._step.wait
        if self._step.rung != "reopen":
            self._end_child()

    def _climb(self) -> None:
        """Wait for the next rung, or take it, or wait for its command."""
        step, now = self._step, time.monotonic()
        if self._command is not None:
            outcome = self._command.outcome(TICK)
            if outcome:
                log.warning("%s: %s %s", self.name, self._command.rung, outcome)
                self._happenings.add(f"{self._command.rung}-ended", {"outcome": outcome})
                self._hanging = None if self._command.is_gone() else self._command
                self._command = self._step = None
                self._start()
        elif step is not None and now < self._due:
            time.sleep(min(TICK, self._due - now))
        elif step is not None:
            self._take(step)

    def _take(self, step: Step) -> None:
        if step.rung == "restart-child" and self._are_too_many_stuck():
            return
        self._counts[step.rung] += 1
        self._happenings.add(step.rung, {"attempt": step.attempt, "waited_seconds": round(step.wait, 3)})
        hangs = self._hanging is not None and not self._hanging.is_gone()  # one of them is enough
        if step.rung == "reopen" and self._child is not None:
            self._child.reopen()
            self._silent, self._limit, self._step = 0.0, self._recovery.start_seconds, None
        elif step.rung == "restart-daemon" and not hangs:
            self._command = RepairCommand(step.rung, self._recovery.daemon_command)
        elif step.rung == "device-hook" and not hangs:
            self._command = RepairCommand(step.rung, self._recovery.device_command)
        else:
            self._step = None
            self._start()

    def _are_too_many_stuck(self) -> bool:
        """Put a start off while killed processes hang; the ladder goes on, for a command may free them."""
        self._stuck = [each for each in self._stuck if not each.is_gone()]
        if len(self._stuck) < MOST_STUCK:
            return False
        self._lose(f"{MOST_STUCK} capture processes were killed and hang inside a driver; another is started when one "
                   "of them has ended", answers=False)
        return True

    def _start(self) -> None:
        """Start a capture process; a camera that was there once is asked for by a name that survives renumbering."""
        if self._are_too_many_stuck():
            return
        if self._request.kind == "v4l2":
            self._request = replace(self._request, address=str(stable_path(Path(self._request.address))))
        self._numbered += self._last_number
        self._last_number = self._last_damaged = 0
        self._silent, self._limit = 0.0, self._recovery.start_seconds
        spare, self._spare = self._spare, None
        try:
            self._child = spare or CaptureProcess()
            self._child.begin(self._request)
        except OSError as error:  # also a spare that was killed meanwhile
            self._lose(f"no capture process: {error.strerror}", answers=False)

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None and not child.kill():
            self._stuck.append(child)
            self._counts["stuck"] += 1
            self._happenings.add("stuck", {"process": child.process_id})

    def _await_first(self) -> None:
        """Wait for a first frame, which tells the size. Raises Unavailable."""
        deadline = time.monotonic() + self._recovery.start_seconds
        why = ""
        while not why and self._child is not None:
            try:
                news = self._child.wait(TICK)
            except CaptureEnded as end:
                why = f"expected a first frame from {self.name}, found none: {end}; try again"
                break
            self._count(news)
            if news.image is not None:
                self.size = (news.image.shape[1], news.image.shape[0])
                return
            why = news.lost
            if not why and time.monotonic() > deadline:
                why = (f"expected a first frame from {self.name} within {self._recovery.start_seconds:g} s, found "
                       "none; check the camera")
        self.close()
        raise Unavailable(why or f"expected to start a capture process, found {self._reason}; free some resources")
