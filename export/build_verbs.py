"""`mien build`: its flags and words. The work is in `engine_from_onnx.py`; imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput, Unavailable

if TYPE_CHECKING:
    from runtime.card import Model
    from runtime.engines.compile import CompileRequest
    from runtime.engines.layer_verdicts import JudgedLayer


def verb_build(args: argparse.Namespace) -> int:
    """Compile a model with NVIDIA's compiler; leaves an engine and its sidecar in --out."""
    from export.engine_from_onnx import compile_model, require_as_asked, require_writable, write_engine
    from runtime.card import load_model
    from runtime.engines.build_progress import shown_progress

    model = load_model(args.model)
    if args.inspect:
        return _judge_file(args, model)
    must_inspect = args.layers or args.strict
    if must_inspect and args.gpu:
        raise Unavailable(f"expected to inspect layers on the GPU that they are for, found --gpu {args.gpu}, ahead of "
                          "time; leave out --layers and --strict here, and judge with --inspect what the device wrote")
    request = _request(args, model)
    require_writable(args.out)
    with shown_progress(f"{args.precision} for {args.target}") as watch:
        compiled = compile_model(model, args.precision, request, watch)
    facts = compiled.facts
    if must_inspect and not compiled.layers:
        raise Unavailable(f"expected the engine inspector to tell the layers, found: {facts['layers_not_inspected']}; "
                          "leave out --layers and --strict to keep the engine as it is")
    if compiled.layers:
        _show_layers(args, compiled.layers, facts)
    if args.strict:
        require_as_asked(compiled.layers)
    built = write_engine(compiled, args.out)
    say(f"{built.engine}  {facts['network_layers']} network layers  {facts['engine_bytes']:,} bytes  "
        f"{args.target} {facts['compiler_version']} for {', '.join(facts['gpus'])}  {facts['build_seconds']} s")
    for gpu, why in facts["gpus_left_out"].items():
        say(f"without {gpu}, whose code the compiler refuses to make: {why}")
    if not compiled.layers:
        say(f"layers not inspected: {facts['layers_not_inspected']}")
    if args.json:
        print_json(facts)
    return DONE


def _judge_file(args: argparse.Namespace, model: Model) -> int:
    """Judge the layers that an inspector told on a device, without building anything."""
    from export.engine_from_onnx import judge_inspected, require_as_asked
    from runtime.engines.layer_verdicts import count_verdicts

    layers = judge_inspected(model, args.precision, args.target, _read(args.inspect), str(args.inspect))
    facts = {"model": model.card.name, "precision": args.precision, "target": args.target,
             "inspected": args.inspect.name, "layers": count_verdicts(layers)}
    _show_layers(args, layers, facts)
    if args.json:
        print_json(facts | {"each": [{"name": one.layer.name, "verdict": one.verdict, "why": one.why,
                                      "nodes": list(one.nodes)} for one in layers]})
    if args.strict:
        require_as_asked(layers)
    return DONE


def _request(args: argparse.Namespace, model: Model) -> CompileRequest:
    from export.engine_from_onnx import request_for

    if args.static is not None and args.batches:
        raise BadInput("expected --static or --batches, found both; --static N is --batches N N N")
    batches = (args.static,) * 3 if args.static is not None else tuple(args.batches or model.card.batches)
    return dataclasses.replace(request_for(model, args.target, args.gpu, args.out), batches=batches,
                               workspace_bytes=args.workspace << 20, memory_bytes=args.memory << 20,
                               timeout_seconds=args.timeout)


def _show_layers(args: argparse.Namespace, layers: Sequence[JudgedLayer], facts: Mapping[str, object]) -> None:
    """Say how many layers got each verdict and which are opaque; write the page where one was asked for."""
    from export.zoo.layer_table import layer_page
    from runtime.durable import write_text
    from runtime.engines.layer_verdicts import count_verdicts
    from runtime.machine import describe_machine

    say("layers: " + ", ".join(f"{count} {verdict}" for verdict, count in count_verdicts(layers).items()))
    if args.strict:
        for one in layers:
            if one.verdict == "opaque":
                say(f"opaque: {one.layer.name}: {one.why}")
    if args.layers:
        origin = {name: value for name, value in facts.items() if isinstance(value, str | int | float)}
        origin |= {f"page made on: {name}": value for name, value in describe_machine().items()}
        title = f"{facts['model']} {args.precision} on {args.target}: layers"
        write_text(args.layers, layer_page(title, layers, origin))
        say(f"{args.layers}: every layer")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"expected the engine inspector's JSON in {path}, found {error}; take the .layers.json that "
                       "mien build wrote on the device") from error


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("build", verb_build)
    p.add_argument("model", type=Path, help="a model directory, or a shipped model's name")
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"], required=True)
    p.add_argument("--target", choices=["cpu", "tensorrt", "tensorrt-rtx"], default="tensorrt-rtx")
    p.add_argument("--gpu", help="compile ahead of time, without a GPU: sm75, sm80, sm86, sm89, sm120, sm121, several "
                   "with commas, or all in one engine")
    p.add_argument("--out", type=Path, default=Path("engines"))
    p.add_argument("--batches", type=int, nargs=3, metavar=("MIN", "USUAL", "MAX"),
                   help="batch sizes the engine takes, fastest at the usual one; the card's unless given")
    p.add_argument("--static", type=int, nargs="?", const=1, metavar="N", help="one fixed batch size; 1 unless given")
    p.add_argument("--workspace", type=int, default=512, metavar="MIB", help="scratch GPU memory a layer may take")
    p.add_argument("--memory", type=int, default=0, metavar="MIB",
                   help="stop the compiler beyond so much memory; 0 never does. GPU memory does not count")
    p.add_argument("--timeout", type=float, default=1800.0, help="seconds")
    p.add_argument("--layers", type=Path, metavar="FILE.html", help="inspect the engine; write what its layers became")
    p.add_argument("--strict", action="store_true",
                   help="exit 1, and leave no engine, where a layer is not as its graph asks; list the opaque ones")
    p.add_argument("--inspect", type=Path, metavar="FILE.json",
                   help="build nothing: judge what the engine inspector wrote on a device")
