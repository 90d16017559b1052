"""`mien deploy BUNDLE HOST…`, `mien deploy status|rollback HOST…`: flags and words. The work is in the files beside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED, BadInput, MienError

if TYPE_CHECKING:
    from export.deploy.remote import Host

BEFORE = ("status", "rollback")


def verb_deploy(args: argparse.Namespace) -> int:
    """Bring a bundle to devices over ssh: upload, verify there, try, switch, and keep it only if it stays healthy."""
    from export.deploy.remote import Host

    if args.at_once < 1 or min(args.minutes, args.patience, args.poll) <= 0:
        raise BadInput(f"expected --at-once of 1 or more and times above 0, found {args.at_once}, {args.minutes:g} "
                       f"minutes, {args.patience:g} s and {args.poll:g} s")
    hosts = [Host(name, args.remote_mien, args.prefix, args.ssh_config) for name in dict.fromkeys(args.hosts)]
    return _ask_each(args, hosts) if args.bundle in BEFORE else _deploy(args, hosts)


def _deploy(args: argparse.Namespace, hosts: list[Host]) -> int:
    from export.deploy.fleet import as_dicts, table, update_all
    from export.deploy.update import Plan
    from runtime.bundle.unpack import check_bundle

    bundle = Path(args.bundle)
    if not bundle.is_file():
        raise BadInput(f"expected a bundle, or status or rollback, found {args.bundle!r}; mien bundle makes one")
    with open(bundle, "rb") as stream:
        signed = check_bundle(stream, args.signers)
    trial = ["--frames", str(args.frames), "--budget-ms", str(args.budget_ms),
             *(["--source", args.canary_source] if args.canary_source else [])]
    plan = Plan(bundle, signed, args.minutes, args.patience, args.starts, args.poll, tuple(trial), args.restart,
                args.reserve_mb, args.force)
    outcomes = update_all(hosts, plan, args.at_once, say, args.dry_run)
    say("\n".join(table(outcomes)))
    if args.json:
        print_json({"slot": plan.slot, "hosts": as_dicts(outcomes)})
    return DONE if all(outcome.outcome in ("committed", "planned") for outcome in outcomes) else FAILED


def _ask_each(args: argparse.Namespace, hosts: list[Host]) -> int:
    from export.deploy.update import DECIDING_SECONDS

    found, failed = {}, False
    words = [] if args.bundle == "status" else ["--reason", "mien deploy rollback",
                                                *(["--restart", args.restart] if args.restart is not None else [])]
    for host in hosts:
        try:
            values = host.slot(args.bundle, *words, seconds=DECIDING_SECONDS)
            found[host.name] = values
            entry = values.get("slots", {}).get(values.get("current"), {})
            said = f"{values['current'] or 'none'} {entry.get('state', '')}" if args.bundle == "status" else (
                f"{values['slot']} {values['said']}")
        except MienError as error:
            said, failed = str(error), True
            found[host.name] = {"error": str(error)}
        say(f"{host.name}: {said}")
    if args.json:
        print_json({"hosts": found})
    return FAILED if failed else DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    from runtime.slots.verbs import PREFIX, RESTART_HELP

    p = verb("deploy", verb_deploy)
    p.add_argument("bundle", help="a bundle; or the word status, or rollback")
    p.add_argument("hosts", nargs="+", metavar="USER@HOST", help="as ssh knows them")
    p.add_argument("--dry-run", action="store_true", help="only say what would be done")
    p.add_argument("--force", action="store_true", help="take a version below what is committed there")
    p.add_argument("--at-once", type=int, default=4, help="devices at a time")
    p.add_argument("--minutes", type=float, default=10.0, help="healthy minutes before a slot is kept")
    p.add_argument("--patience", type=float, default=180.0, help="seconds it may be unhealthy in one go")
    p.add_argument("--starts", type=int, default=5, help="starts without one healthy look between them")
    p.add_argument("--poll", type=float, default=15.0, help="seconds between looks")
    p.add_argument("--frames", type=int, default=60, help="frames of the canary")
    p.add_argument("--budget-ms", type=float, default=0.0, help="most ms a frame may take at p95; 0: any")
    p.add_argument("--canary-source", default="", help="instead of the configured source, which may be in use")
    p.add_argument("--reserve-mb", type=int, help="MiB that must stay free there beside the bundle (200)")
    p.add_argument("--restart", metavar="COMMAND", help=f"there, {RESTART_HELP}")
    p.add_argument("--prefix", default=str(PREFIX), help="where slots lie there")
    p.add_argument("--remote-mien", default=str(PREFIX / "base/bin/mien"), help="the mien that it was set up with")
    p.add_argument("--ssh-config", type=Path, help="a file for ssh -F")
    p.add_argument("--signers", type=Path, help="allowed_signers to verify the bundle with before it is sent")
