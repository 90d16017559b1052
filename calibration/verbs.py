"""The verbs of calibration: lint. Flags and words here; the work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED, BadInput


def verb_lint(args: argparse.Namespace) -> int:
    """Check an ONNX graph against the rules TensorRT enforces or punishes; exit 1 where it would not build."""
    from calibration.lint import RULES, lint
    from calibration.lint.read import read_onnx
    from calibration.lint.report import as_dict, as_markdown, as_text

    if args.rules:
        print(as_markdown(RULES), end="")
        return DONE
    if args.graph is None:
        raise BadInput("expected an ONNX file, found none; mien lint graph.onnx, or mien lint --rules for the rules")
    findings = lint(read_onnx(args.graph), args.target)
    say("\n".join(as_text(findings)))
    if args.json:
        print_json(as_dict(findings, str(args.graph), args.target))
    return FAILED if any(finding.rule.severity == "error" for finding in findings) else DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare this room's verbs and their flags."""
    p = verb("lint", verb_lint)
    p.add_argument("graph", type=Path, nargs="?", help="any ONNX file")
    p.add_argument("--target", choices=["tensorrt", "jetson-orin", "tensorrt-rtx"], default="tensorrt",
                   help="tensorrt: what holds from 10.3 on")
    p.add_argument("--rules", action="store_true", help="print every rule as a Markdown table")
