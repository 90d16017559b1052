"""Update a device, killed with SIGKILL before every STEP-th line of slots, journal and watch; print what was found.

    python tests/slots_killed_at_every_line.py FOLDER SCENARIO [STEP]

After each kill old or new must be current and whole, and doing it again must lead to where it would have led.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import killed_at_every_line  # noqa: E402
from bundles import Release, make_release, stream_of, write_kiosk  # noqa: E402

from runtime import durable  # noqa: E402
from runtime.bundle import unpack  # noqa: E402
from runtime.errors import MienError  # noqa: E402
from runtime.slots import journal, slots, watch  # noqa: E402
from runtime.slots.asked_health import Answer  # noqa: E402
from runtime.slots.slots import Slots  # noqa: E402

killed_at_every_line.TRACED = {m.__file__ for m in (durable, unpack, journal, slots, watch)}
RULES = watch.Rules(healthy_seconds=0.0, bad_seconds=0.0, starts=3)


class Update:
    """A prefix with 1.0 committed, and a bundle 1.1; every method may be called again after a kill."""

    def __init__(self, prefix: Path, bundle: Path):
        self.slots, self.bundle, self.state = Slots(prefix, reserve_bytes=0), bundle, prefix / "state"

    def receive(self) -> None:
        self.slots.receive(stream_of(self.bundle))

    def passed(self, slot: str) -> None:
        self.slots.verify(slot)
        self.slots.step(slot, ("verified",), "prepared", lambda: "")
        self.slots.step(slot, ("prepared",), "canary", lambda: "")

    def switch(self, slot: str) -> None:
        self.slots.switch(slot, lambda: watch.begin(self.slots, slot, self.state))

    def restart(self) -> None:
        """What systemd does: start what the link names."""
        with open(self.slots.prefix / "started", "w") as file:
            file.write(self.slots.current())
        watch.count_start(self.slots, self.state)

    def look(self, answer: str) -> None:
        watch.look(self.slots, self.state, RULES, lambda slot: Answer(answer, "told"), self.restart)  # type: ignore[arg-type]

    def bring(self, slot: str) -> None:
        """All of it, from wherever it stands, as mien deploy does."""
        if self.slots.interrupted():
            self.look("healthy")
        if self.slots.current() != slot:
            self.receive()
            self.passed(slot)
            self.switch(slot)
        self.restart()
        self.look("healthy")


def main(place: Path, scenario: str, step: int = 1) -> dict[str, Any]:
    """Kill at line 1, 1 + step, 1 + 2 step … until the action ends alive."""
    logging.disable()
    place.mkdir(parents=True, exist_ok=True)
    release = make_release(place, "1.0")
    bundle = place / "new.mien"
    new = write_kiosk(bundle, release.key, "1.1", {**release.files, "NOTICE.txt": b"newer\n"}).slot()
    template = _template(place / "template", release, bundle, new, scenario)
    found: dict[str, int] = {}
    wrong: list[str] = []
    line, kills = 1 - step, 0
    while True:
        line += step
        prefix = place / "opt"
        shutil.copytree(template, prefix, symlinks=True)
        update = Update(prefix, bundle)
        child = os.fork()
        if child == 0:
            killed_at_every_line.die_before(line, _action(update, new, scenario))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        kills += status != 0
        if status not in (0, -signal.SIGKILL):
            wrong.append(f"line {line}: the child ended with {status}")
        current = update.slots.current()
        which = {release.manifest.slot(): "old", new: "new"}.get(current, "neither")
        found[which] = found.get(which, 0) + 1
        wrong += [f"line {line}: {what}" for what in _look(update, which, current, new, scenario, release)]
        shutil.rmtree(prefix)
        if status == 0:
            return {"kills": kills, "found": found, "wrong": wrong}


def _template(prefix: Path, release: Release, bundle: Path, new: str, scenario: str) -> Path:
    """Return a prefix that stands right before the scenario's action."""
    prefix.mkdir()
    shutil.copyfile(release.signers, prefix / "allowed_signers")
    Update(prefix, release.path).bring(release.manifest.slot())
    update = Update(prefix, bundle)
    if scenario != "receive":
        update.receive()
        update.passed(new)
    if scenario in ("commit", "roll_back"):
        update.switch(new)
        update.restart()
    return prefix


def _action(update: Update, new: str, scenario: str) -> Callable[[], object]:
    return {"receive": update.receive, "switch": lambda: update.switch(new), "commit": lambda: update.look("healthy"),
            "roll_back": lambda: update.look("bad")}[scenario]


def _look(update: Update, which: str, current: str, new: str, scenario: str, release: Release) -> list[str]:
    """Say what is wrong now, and after it was done again."""
    wrong = []
    try:
        unpack.check_folder(update.slots.bundle(current), release.signers)
    except MienError as error:
        wrong.append(f"{which} is not whole: {error}")
    if scenario == "roll_back":
        update.look("bad")
        if update.slots.current() != release.manifest.slot() or update.slots.state(new) != "rolled-back":
            wrong.append(f"the next look left {update.slots.current()} {update.slots.state(new)}")
        if (update.slots.prefix / "started").read_text() != release.manifest.slot():
            wrong.append("the old slot is current, and nobody restarted it")
    update.bring(new)
    if update.slots.current() != new or update.slots.state(new) != "committed":
        wrong.append(f"the next deploy left {update.slots.current()} {update.slots.state(new)}")
    left = {path.name for path in update.slots.folder.iterdir()} ^ {new, release.manifest.slot()}
    left |= {path.name for path in update.slots.prefix.glob(".*")} - {".lock"}
    return wrong + [f"left over: {name}" for name in sorted(left)]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int((sys.argv[3:] or ["1"])[0]))))
