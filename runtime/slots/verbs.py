"""`mien slot …`, which a device runs: flags and words. The work is in the files beside. Imports nothing heavy."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput

if TYPE_CHECKING:
    from runtime.slots.slots import Slots
    from runtime.slots.watch import Decision, Rules

PREFIX = Path("/opt/mien")
RESTART_HELP = "a command that restarts the service; mien-restart.socket does otherwise"


def verb_status(args: argparse.Namespace) -> int:
    """Say which slots are there, which one runs, and what happened last."""
    from runtime.slots.restart import SOCKET

    slots = _slots(args)
    current, entries = slots.current(), slots.journal.read()
    found = {slot: slots.entry(slot) for slot in dict.fromkeys(entry.slot for entry in entries)}
    here = {slot: vars(entry) for slot, entry in found.items() if entry}
    interrupted = slots.interrupted()
    say(f"current: {current or 'none'}; to go back to: {slots.previous() or 'none'}")
    for slot, entry in here.items():
        say(f"{slot}: {entry['state']}{': ' + entry['reason'] if entry['reason'] else ''}")
    if args.json:
        print_json({"current": current, "previous": slots.previous(), "slots": here,
                    "interrupted": interrupted.slot if interrupted else "", "last": [vars(e) for e in entries[-5:]],
                    "restart_socket": SOCKET.exists()})
    return DONE


def verb_receive(args: argparse.Namespace) -> int:
    """Read a bundle from standard input into a fresh slot, verified byte by byte on its way."""
    from runtime.slots.sent_bytes import SentBytes

    sent = io.BufferedReader(SentBytes(sys.stdin.fileno()), 1 << 20)
    return _told(args, _slots(args).receive(sent, args.force), "received")


def verb_verify(args: argparse.Namespace) -> int:
    """Read a slot back from the disk: its signature and every byte."""
    signed = _slots(args).verify(args.slot)
    return _told(args, args.slot, f"{len(signed.manifest.files)} files, as {signed.signed_by} signed them")


def verb_prepare(args: argparse.Namespace) -> int:
    """Make a slot's environment and engines; `current` means the one that runs, as after a change of JetPack."""
    from runtime.slots.canary import prepare

    slots = _slots(args)
    slot = slots.current() if args.slot == "current" else args.slot
    if not slot:
        return _told(args, "none", "no slot runs yet: nothing to prepare")
    return _told(args, slot, slots.step(slot, ("verified", "prepared", "canary"), "prepared", lambda: prepare(
        slots.place(slot), slots.prefix / "cache", every=slot != slots.current())))


def verb_canary(args: argparse.Namespace) -> int:
    """Try a slot with its own mien: golden vectors, frames of its source, p95 within the budget."""
    from runtime.slots.canary import canary

    slots = _slots(args)
    return _told(args, args.slot, slots.step(args.slot, ("prepared", "canary"), "canary", lambda: canary(
        slots.place(args.slot), slots.prefix / "cache", _trial(args))))


def verb_try(args: argparse.Namespace) -> int:
    """Stream some frames as a configuration says, but tell nobody; a canary runs this with the slot's own mien."""
    from runtime.slots.canary import try_config

    found = try_config(args.config, _trial(args))
    say(f"{found['source']}: {found['frames']} frames, p95 {found['p95_ms']:.1f} ms, golden "
        f"{found['golden_difference']:.2g}")
    if args.json:
        print_json(found)
    return DONE


def verb_switch(args: argparse.Namespace) -> int:
    """Let `current` name a slot that passed its canary; mien slot restart lets it run."""
    from runtime.slots.watch import Rules, begin

    slots = _slots(args)
    rules = _rules(args) or Rules()
    slots.switch(args.slot, lambda: begin(slots, args.slot, _state(args), rules))
    return _told(args, args.slot, "is current, and not committed")


def verb_restart(args: argparse.Namespace) -> int:
    """Restart the service after a switch; a slot with which it does not restart is rolled back."""
    from runtime.slots.watch import restart_switched

    return _decided(args, restart_switched(_slots(args), _restarter(args)))


def verb_attempt(args: argparse.Namespace) -> int:
    """Count a start of the kiosk; its unit runs this first."""
    from runtime.slots.watch import count_start

    return _told(args, _slots(args).current(), f"start {count_start(_slots(args), _state(args))}")


def verb_commit(args: argparse.Namespace) -> int:
    """Look once at the running slot: keep it after enough healthy seconds, roll it back, or wait; a timer runs this."""
    from runtime.slots.asked_health import ask_health
    from runtime.slots.watch import look

    slots = _slots(args)
    decision = look(slots, _state(args), _rules(args), lambda slot: ask_health(slots.bundle(slot)),
                    _restarter(args))
    return _decided(args, decision)


def verb_rollback(args: argparse.Namespace) -> int:
    """Go back to the slot committed before, and restart the service."""
    slots = _slots(args)
    with slots.alone():
        slot = slots.recover(_restarter(args))
        if not slot and args.uncommitted and slots.state(slots.current()) in ("committed", None):
            return _told(args, slots.current(), "committed: nothing to roll back")
        slot = slot or slots.roll_back(args.reason, _restarter(args))
    return _told(args, slot, "is current again")


def verb_adopt(args: argparse.Namespace) -> int:
    """Let a folder that a package installed be a slot; the package's own script runs this."""
    return _told(args, _slots(args).adopt(args.folder.absolute()), f"lies in {args.folder}")


def _slots(args: argparse.Namespace) -> Slots:
    from runtime.slots.slots import RESERVE_BYTES, Slots

    reserve = getattr(args, "reserve_mb", None)
    return Slots(args.prefix.absolute(), RESERVE_BYTES if reserve is None else reserve << 20)


def _state(args: argparse.Namespace) -> Path:
    state: Path = args.state or args.prefix.absolute() / "state"
    return state


def _rules(args: argparse.Namespace) -> Rules | None:
    """Return how a slot shall be judged, None where no flag says so."""
    from runtime.slots.watch import Rules

    given = {"healthy_seconds": args.minutes and args.minutes * 60, "bad_seconds": args.patience, "starts": args.starts}
    given = {name: value for name, value in given.items() if value is not None}
    return Rules(**given) if given else None


def _trial(args: argparse.Namespace) -> Any:
    from runtime.slots.canary import Trial

    if args.frames < 1 or args.budget_ms < 0:
        raise BadInput(f"expected at least one frame and a budget of 0 ms or more, found {args.frames} and "
                       f"{args.budget_ms:g}")
    return Trial(args.frames, args.source, args.budget_ms)


def _restarter(args: argparse.Namespace) -> Callable[[], None]:
    from runtime.slots.restart import restart_service

    return lambda: restart_service(args.restart)


def _decided(args: argparse.Namespace, decision: Decision) -> int:
    say(f"{decision.slot or 'none'}: {decision.verdict}: {decision.reason}")
    if args.json:
        print_json({"verdict": decision.verdict, "slot": decision.slot, "reason": decision.reason})
    return DONE


def _told(args: argparse.Namespace, slot: str, what: str) -> int:
    say(f"{slot}: {what}")
    if args.json:
        print_json({"slot": slot, "said": what})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verbs and their flags."""
    verb_of = {"status": verb_status, "receive": verb_receive, "verify": verb_verify, "prepare": verb_prepare,
               "canary": verb_canary, "switch": verb_switch, "attempt": verb_attempt, "commit": verb_commit,
               "rollback": verb_rollback, "adopt": verb_adopt, "restart": verb_restart}
    parsers = {name: verb(name, run, group="slot") for name, run in verb_of.items()}
    for p in parsers.values():
        p.add_argument("--prefix", type=Path, default=PREFIX, help="where slots lie (/opt/mien)")
    for name in ("verify", "prepare", "canary", "switch"):
        parsers[name].add_argument("slot", help="as mien slot status names it")
    parsers["adopt"].add_argument("folder", type=Path, help="holds bundle/ and venv/")
    parsers["receive"].add_argument("--force", action="store_true", help="take a version below what was committed")
    parsers["receive"].add_argument("--reserve-mb", type=int, help="MiB that must stay free beside the bundle (200)")
    for name in ("switch", "attempt", "commit"):
        parsers[name].add_argument("--state", type=Path, help="where starts are counted; PREFIX/state otherwise")
    for name in ("restart", "commit", "rollback"):
        parsers[name].add_argument("--restart", metavar="COMMAND", help=RESTART_HELP)
    for p in (parsers["switch"], parsers["commit"]):  # of a look without any of these, the switch's count
        p.add_argument("--minutes", type=float, help="healthy minutes before a slot is kept (10)")
        p.add_argument("--patience", type=float, help="seconds it may be unhealthy in one go (180)")
        p.add_argument("--starts", type=int, help="starts without one healthy look between them (5)")
    p = parsers["rollback"]
    p.add_argument("--reason", default="asked for", help="goes into the journal")
    p.add_argument("--uncommitted", action="store_true", help="only if the running slot is not committed")
    tried = verb("try", verb_try, group="slot")
    tried.add_argument("config", type=Path, help="a stream.yaml")
    for p in (parsers["canary"], tried):
        p.add_argument("--frames", type=int, default=60, help="how many frames of the source must come")
        p.add_argument("--source", default="", help="instead of the configured one, which may be in use")
        p.add_argument("--budget-ms", type=float, default=0.0, help="most ms a frame may take at p95; 0: any")
