"""`mien export --triton DIR` and `--deepstream DIR`: flags and words. The work is in `triton/` and `deepstream.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from runtime.command_line import print_json, say
from runtime.errors import DONE, BadInput

# Which flags each form reads; none has a default, so that one which was given and is not read can be refused
PLAIN = ("out", "data", "margin")
DEEPSTREAM = ("precision", "threshold", "max_faces")
TRITON = (*DEEPSTREAM, "faces", "target", "face_precision", "at_once")


def require_flags_of_one_form(args: argparse.Namespace) -> None:
    """Refuse what the asked form would not read. Raises BadInput."""
    if args.triton and args.deepstream:
        raise BadInput("expected one of --triton and --deepstream, found both; run mien export twice")
    form, read = (("--triton", TRITON) if args.triton else ("--deepstream", DEEPSTREAM) if args.deepstream else
                  ("a checkpoint", PLAIN))
    given = [name for name in dict.fromkeys((*PLAIN, *TRITON)) if getattr(args, name) is not None]
    if foreign := [name for name in given if name not in read]:
        raise BadInput(f"expected {_flags(read)} beside {form}, found {_flags(foreign)}; leave that out, or see "
                       "mien export --help for whose it is")


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def export_for_server(args: argparse.Namespace) -> int:
    """Write a model directory for a server of many cameras."""
    from export.deepstream import deepstream_files
    from export.new_folder import write_new_folder
    from export.triton.repository import Serving, repository_files
    from runtime.card import load_model

    model = load_model(args.checkpoint)
    given = {name: getattr(args, name) for name in TRITON if name != "faces" and getattr(args, name) is not None}
    serving = Serving(**given)
    if args.deepstream:
        files, where = deepstream_files(model, serving.precision, serving.threshold, serving.max_faces), args.deepstream
    else:
        files, where = repository_files(model, load_model(args.faces or Path("mien-face")), serving), args.triton
    write_new_folder(where, files)
    size = sum(map(len, files.values()))
    say(f"{where}  {len(files)} files, {size / 1e6:.2f} MB")
    if "build-plans.sh" in files:
        say(f"no engine is among them: run {where / 'build-plans.sh'} where they will serve")
    if args.json:
        print_json({"folder": str(where), "files": len(files), "bytes": size})
    return DONE


def add_server_flags(p: argparse.ArgumentParser) -> None:
    """Declare the flags on `mien export`'s parser."""
    p.add_argument("--triton", type=Path, metavar="DIR",
                   help="of a model directory: write a model repository for Triton Inference Server")
    p.add_argument("--deepstream", type=Path, metavar="DIR",
                   help="of a model directory: write what DeepStream's nvinfer reads expressions with")
    p.add_argument("--faces", type=Path, help="with --triton: the detector's model directory (mien-face)")
    p.add_argument("--target", choices=["cpu", "tensorrt"],
                   help="with --triton: ONNX Runtime on the CPU, or plans that the server compiles for its GPU (cpu)")
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"], help="of the served expressions (fp32)")
    p.add_argument("--face-precision", choices=["fp32", "fp16", "int8"],
                   help="with --triton: of the served detector (fp32)")
    p.add_argument("--max-faces", type=int, help="of a served frame, the largest so many are read (8)")
    p.add_argument("--threshold", type=float, help="probability below which a served face is unsure (0.4)")
    p.add_argument("--at-once", type=int, help="with --triton: frames that are worked on at a time (4)")
