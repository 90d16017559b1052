"""`mien drift report`: its flags. Imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE


def verb_report(args: argparse.Namespace) -> int:
    """Draw what a stream's drift monitor saw over time, from its events, as one HTML page."""
    from runtime.drift.report import disagreement, page, read_events
    from runtime.durable import write_text

    events = read_events(args.events)
    write_text(args.out, page(events))
    last = events[-1].values
    say(f"{args.out}: {len(events)} events, {last['samples']} samples in the last run, "
        f"{last['alarm'] or 'no alarm stands'}")
    if why := disagreement(events):
        say(f"note: {why}")
    if args.json:
        print_json({"events": len(events), "last": last})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("report", verb_report, "drift")
    p.add_argument("events", type=Path, nargs="+", help="events files of one stream, rotated ones too")
    p.add_argument("--out", type=Path, required=True, help="the HTML page")
