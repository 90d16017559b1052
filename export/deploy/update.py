"""One device, from where it stands to a committed slot: each step asks first what is done already, so a rerun goes on.

preflight → upload → verify → prepare → canary → switch → restart → watch. Decides nothing that the device can decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from export.deploy.remote import Disconnected, Host
from runtime.bundle.manifest import TARGETS
from runtime.bundle.unpack import SignedManifest
from runtime.errors import MienError
from runtime.slots.canary import PREPARE_SECONDS
from runtime.slots.restart import SECONDS as RESTART_SECONDS

Tell = Callable[[str, str], None]  # step, detail
STEPS = ("preflight", "upload", "verify", "prepare", "canary", "switch", "restart", "watch")
DECIDING_SECONDS = 60 + 2 * RESTART_SECONDS  # the new slot's start, and where that fails the old one's
UPLOAD_BYTES_PER_SECOND = 100_000  # a kiosk's mobile line at its worst; what takes longer is a broken connection


@dataclass(frozen=True)
class Plan:
    """What is deployed, and how it is judged. minutes: healthy before the commit; poll: seconds between looks."""

    bundle: Path
    signed: SignedManifest
    minutes: float = 10.0
    patience: float = 180.0
    starts: int = 5
    poll: float = 15.0
    canary: tuple[str, ...] = ()  # flags of mien slot canary
    restart: str | None = None  # a command there instead of its mien-restart.socket
    reserve_mb: int | None = None
    force: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """How the device judges the slot, as flags: told at the switch too, since its timer may look first."""
        return ("--minutes", str(self.minutes), "--patience", str(self.patience), "--starts", str(self.starts))

    @property
    def restarting(self) -> tuple[str, ...]:
        """How the device restarts its service, as flags."""
        return () if self.restart is None else ("--restart", self.restart)

    @property
    def slot(self) -> str:
        """The slot's name, on every device the same."""
        return self.signed.manifest.slot()


@dataclass(frozen=True)
class Outcome:
    """How it ended on one device: the last step that was begun, and a line."""

    host: str
    outcome: Literal["committed", "rolled-back", "failed", "unreachable", "planned"]
    step: str
    detail: str
    steps: tuple[str, ...] = field(default=())


def update(host: Host, plan: Plan, tell: Tell, dry_run: bool = False) -> Outcome:
    """Bring one device to the plan's slot. Never raises what concerns only this device."""
    done: list[str] = []

    def step(name: str, detail: str = "") -> None:
        done.append(name)
        tell(name, detail)

    try:
        return _update(host, plan, step, done, dry_run)
    except Disconnected as error:
        return Outcome(host.name, "unreachable", done[-1] if done else "preflight", str(error), tuple(done))
    except MienError as error:
        return Outcome(host.name, "failed", done[-1] if done else "preflight", str(error), tuple(done))
    except OSError as error:  # the bundle went from under the update; the other devices' rows stand
        return Outcome(host.name, "failed", done[-1] if done else "preflight",
                       f"expected the bundle to read from, found {error.filename}: {error.strerror}", tuple(done))


def _update(host: Host, plan: Plan, step: Tell, done: list[str], dry_run: bool) -> Outcome:
    slot = plan.slot
    step("preflight", "")
    status = host.slot("status")
    _preflight(host, plan)
    if plan.restart is None and not status.get("restart_socket", True):  # a base from before the socket does not say
        raise MienError("expected mien-restart.socket to listen on the device, found none; there: systemctl enable "
                        "--now mien-restart.socket, or give --restart COMMAND")
    if not dry_run and status["interrupted"]:
        step("watch", "an interrupted rollback is ended first")
        try:
            host.slot("rollback", "--uncommitted", *plan.restarting, seconds=DECIDING_SECONDS)
        except Disconnected:
            raise
        except MienError as error:  # the service does not start with the old slot either: this one may mend that
            step("watch", str(error))
        status = host.slot("status")
    state = status["slots"].get(slot, {}).get("state")
    runs = status["current"] == slot
    if runs and state == "committed":
        return Outcome(host.name, "committed", "preflight", f"{slot} runs already", tuple(done))
    if dry_run:
        left = ["restart", "watch"] if runs else [name for name in STEPS[1:] if name != "upload" or state is None]
        return Outcome(host.name, "planned", "preflight", f"{status['current'] or 'none'} → {slot}: {', '.join(left)}",
                       tuple(done))
    if not runs:
        _bring(host, plan, step, state)
    step("restart", plan.restart or "")
    try:
        host.slot("restart", *plan.restarting, seconds=DECIDING_SECONDS)  # where it fails the device goes back
    except MienError as error:
        if "invalid choice" not in str(error):  # argparse's words of a base from before that verb: its first look
            raise                               # restarts what nobody started
    return _watch(host, plan, step, done)


def _preflight(host: Host, plan: Plan) -> None:
    """Ask the device what it is; the slots' own checks come again when the bundle is there. Raises MienError."""
    facts = host.ask(["doctor"], 120.0)
    wanted = TARGETS[plan.signed.manifest.target]
    if facts.get("machine") != wanted:
        raise MienError(f"expected a device of {plan.signed.manifest.target} ({wanted}), found {facts.get('machine')}; "
                        "make the bundle with --target for it")


def _bring(host: Host, plan: Plan, step: Tell, state: str | None) -> None:
    """Take a slot from where it stands to `current`; what failed or was rolled back is verified and tried again."""
    slot = plan.slot
    flags = [*(["--force"] if plan.force else []),
             *(["--reserve-mb", str(plan.reserve_mb)] if plan.reserve_mb is not None else [])]
    if state is None:
        size = plan.bundle.stat().st_size
        step("upload", f"{size / 1e6:.1f} MB")
        with open(plan.bundle, "rb") as stream:
            host.slot("receive", *flags, seconds=120 + size / UPLOAD_BYTES_PER_SECOND, stdin=stream)
    if state not in ("verified", "prepared", "canary"):
        step("verify", "")
        host.slot("verify", slot, seconds=600.0)
    if state not in ("prepared", "canary"):
        step("prepare", "")
        host.slot("prepare", slot, seconds=PREPARE_SECONDS)
    if state != "canary":
        step("canary", "")
        host.slot("canary", slot, *plan.canary, seconds=600.0)
    step("switch", "")
    host.slot("switch", slot, *plan.rules, seconds=DECIDING_SECONDS)  # the timer's look may hold the lock so long


def _watch(host: Host, plan: Plan, step: Tell, done: list[str]) -> Outcome:
    """Look until the device has decided; it would without us, by its timer."""
    step("watch", f"{plan.minutes:g} healthy minutes")
    deadline = time.monotonic() + plan.minutes * 60 * 3 + plan.patience * 3 + 60
    said = ""
    while time.monotonic() < deadline:
        decision = host.slot("commit", *plan.rules, *plan.restarting, seconds=DECIDING_SECONDS)
        if decision["verdict"] != "waiting":
            break
        if decision["reason"] != said:
            said = decision["reason"]
        time.sleep(plan.poll)
    status = host.slot("status")
    entry = status["slots"].get(plan.slot, {"state": "removed", "reason": ""})
    if status["current"] == plan.slot and entry["state"] == "committed":
        return Outcome(host.name, "committed", "watch", entry["reason"], tuple(done))
    if status["current"] != plan.slot:
        reason = entry["reason"] or "rolled back there"
        return Outcome(host.name, "rolled-back", "watch", f"{status['current']} runs again: {reason}", tuple(done))
    raise MienError(f"expected the device to decide, found it still waiting: {said}; mien deploy status shows "
                    "what it does")
