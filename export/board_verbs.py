"""`mien board-report`: its flags and words. The work is in `board/`; imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED, UNAVAILABLE, BadInput

if TYPE_CHECKING:
    from export.board.record import BoardRecord

MINUTES = 45  # for a part: a board's first build of three graphs takes a good many


def verb_board_report(args: argparse.Namespace) -> int:
    """Measure everything that mien promises on this machine, and write one record of it to send."""
    from export.board.make_report import make_report, target_here
    from export.board.record import read_record, save_record
    from export.board.task import Task

    if args.check:
        record = read_record(args.check)
        say(f"{args.check}: a whole board record")
        _say_what_it_proves(record)
        if args.json:
            print_json(dataclasses.asdict(record))
        return DONE
    if args.rounds < 1 or args.draws < 0 or args.timeout <= 0:
        raise BadInput(f"expected a round or more, no or more draws and a time above 0, found {args.rounds}, "
                       f"{args.draws} and {args.timeout:g}")
    if not args.out.parent.is_dir():
        raise BadInput(f"expected a folder to write {args.out} into, found none; make it first")
    target = args.target or target_here()
    say(f"target {target}; the parts take some ten minutes together on a CPU, and longer on a board that compiles")
    record = make_report(Task(args.model, target, args.rounds, args.draws, args.timeout), say)
    path = save_record(args.out, record)
    _say_what_it_proves(record)
    say(f"{path}: the record. It holds no name of yours or this machine's, no path and no serial number: read it "
        "first, it is short")
    say("to send it, attach it to a new issue of mien's; or put it under docs/boards of a checkout, run "
        "python -m export.board.table there, and open a merge request")
    if args.json:
        print_json(dataclasses.asdict(record))
    return exit_code_of(record)


def exit_code_of(record: BoardRecord) -> int:
    """Return 1 where a part failed, 3 where the target could not run at all, else 0."""
    if any(part.status == "failed" for part in record.parts):
        return FAILED
    return DONE if record.numerics else UNAVAILABLE


def _say_what_it_proves(record: BoardRecord) -> None:
    from export.board.evidence import row_of, shortfalls
    from runtime.card import load_model

    lacking = shortfalls(record, load_model(Path("mien-light")).card)
    row = row_of(record)
    say(f"it verifies {row.platform}" if row and not lacking else "it verifies no row of docs/devices.md:")
    for line in lacking:
        say(f"    {line}")


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("board-report", verb_board_report)
    p.add_argument("model", nargs="?", default="mien-light", help="a model directory, or a shipped model's name; only "
                   "mien-light verifies a row")
    p.add_argument("--target", choices=["cpu", "tensorrt", "tensorrt-rtx"],
                   help="default: tensorrt on a Jetson, tensorrt-rtx beside another NVIDIA GPU, else cpu")
    p.add_argument("--out", type=Path, default=Path(), help="a file, or a folder in which the record gets its name")
    p.add_argument("--rounds", type=int, default=100, help="timed runs of each engine and batch")
    p.add_argument("--draws", type=int, default=59, help="legal backends that say how far INT8 may be from exact "
                   "integers; 59 for 95 %% with 95 %% confidence, and what a row needs")
    p.add_argument("--timeout", type=float, default=60.0 * MINUTES, help="seconds for each part, and each build in it")
    p.add_argument("--check", type=Path, metavar="FILE", help="measure nothing: is this a whole record, and what does "
                   "it prove? exit 2 where it is none")
