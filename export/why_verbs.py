"""`mien why`: flags and words. The work is in `why.py` and `lineage.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED


def verb_why(args: argparse.Namespace) -> int:
    """Say where a model, an engine or a bundle came from, each link verified; exit 1: one is missing or broken."""
    from export.lineage import lineage_of
    from export.why import why_bundle, why_engine
    from runtime.card import load_model

    path: Path = args.what
    if path.is_file() and path.suffix == ".engine":
        links = why_engine(path, args.model, args.records)
    elif path.is_file():
        links = why_bundle(path, args.signers)
    else:
        links = list(lineage_of(load_model(path), args.records, args.checkpoint, args.data).links)
    for link in links:
        say(link.to_text())
    if args.json:
        print_json({"links": [vars(link) for link in links], "holds": all(link.holds for link in links)})
    return DONE if all(link.holds for link in links) else FAILED


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("why", verb_why)
    p.add_argument("what", type=Path, help="a model directory or a shipped name, an .engine, or a bundle")
    p.add_argument("--model", type=Path, help="the model an engine was compiled from; its sidecar's otherwise")
    p.add_argument("--records", type=Path, nargs="*", help="records of mien check; docs/results unless said otherwise")
    p.add_argument("--checkpoint", type=Path,
                   help="the checkpoint, or an imported model's ONNX file, to verify with; train/checkpoints otherwise")
    p.add_argument("--data", type=Path, help="the data set to verify with; without it its hash is only named")
    p.add_argument("--signers", type=Path, help="allowed_signers, to verify a bundle's signature with")
