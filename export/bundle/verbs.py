"""`mien bundle`, and its verify, inspect and diff: flags and words. The work is in the files beside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput

if TYPE_CHECKING:
    from runtime.bundle.unpack import SignedManifest

ACTIONS = {"make": 0, "verify": 1, "inspect": 1, "diff": 2}  # and how many files each takes


def verb_bundle(args: argparse.Namespace) -> int:
    """Make a signed bundle for a device; or verify, inspect, or diff some that are made."""
    if len(args.files) != ACTIONS[args.action]:
        raise BadInput(f"expected {ACTIONS[args.action]} bundles after mien bundle {args.action}, found "
                       f"{len(args.files)}; mien bundle --help")
    return {"make": _make, "verify": _verify, "inspect": _inspect, "diff": _diff}[args.action](args)


def _make(args: argparse.Namespace) -> int:
    from export.bundle.contents import bundled_config, bundled_models, notice, units, wheels
    from export.bundle.lean_wheel import ROOT, build_wheel
    from export.bundle.make import manifest_of, sign, write_bundle
    from export.lineage import lineage_of
    from runtime.bundle.manifest import CONFIG
    from runtime.stream_config import load_config

    missing = [flag for flag in ("config", "target", "output", "key", "version") if getattr(args, flag) is None]
    if missing:
        raise BadInput(f"expected --{missing[0]} to make a bundle, found none; mien bundle --help")
    config = load_config(args.config)
    chosen = bundled_models(args.model or config.model, args.faces or config.faces)
    files = chosen.files | units()
    files[CONFIG] = bundled_config(args.config, chosen.model, chosen.faces)
    files["NOTICE.txt"] = notice(config)
    if args.wheel == "build":
        name, content = build_wheel()
        files[f"wheels/{name}"] = content
        files["constraints.txt"] = (ROOT / "constraints.txt").read_bytes()
    elif args.wheel != "none":
        files[f"wheels/{Path(args.wheel).name}"] = Path(args.wheel).read_bytes()
    if args.wheels:
        files |= wheels(args.wheels)
    lineages = [lineage_of(model, args.records) for model in chosen.models]
    files |= {f"records/{path.name}": path.read_bytes() for lineage in lineages for path in lineage.records}
    manifest = manifest_of(args.name, args.version, args.target, files, {each.model: each.hashes for each in lineages})
    write_bundle(args.output, manifest, sign(manifest.encode(), args.key), files)
    for lineage in lineages:
        for link in lineage.links:
            if not link.holds:
                say(f"warning: lineage of {lineage.model}: {link.to_text()}")
    say(f"{args.output}  {args.name} {manifest.version} for {manifest.target}, {len(manifest.files)} files, "
        f"{manifest.total_bytes / 1e6:.1f} MB")
    if args.json:
        print_json({"file": str(args.output), "slot": manifest.slot(), "bytes": args.output.stat().st_size})
    return DONE


def _read(path: Path, signers: Path | None) -> SignedManifest:
    from runtime.bundle.unpack import check_bundle

    try:
        with open(path, "rb") as stream:
            return check_bundle(stream, signers)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(f"expected a bundle, found {path}: {error.strerror}; check the path") from error


def _verify(args: argparse.Namespace) -> int:
    if args.signers is None:
        raise BadInput("expected --signers FILE, the allowed_signers of the device, found none")
    signed = _read(args.files[0], args.signers)
    say(f"{args.files[0]}: {signed.manifest.name} {signed.manifest.version} for {signed.manifest.target}, "
        f"{len(signed.manifest.files)} files, each as {signed.signed_by} signed it")
    if args.json:
        print_json({"slot": signed.manifest.slot(), "version": signed.manifest.version, "signed_by": signed.signed_by})
    return DONE


def _inspect(args: argparse.Namespace) -> int:
    import dataclasses

    signed = _read(args.files[0], args.signers)
    manifest = signed.manifest
    say(f"{manifest.name} {manifest.version} for {manifest.target}; "
        f"{f'signed by {signed.signed_by}' if signed.signed_by else 'the signature was not checked: --signers FILE'}")
    for file in manifest.files:
        say(f"{file.size:>12,}  {file.sha256[:12]}  {file.path}")
    if args.json:
        print_json(dataclasses.asdict(manifest) | {"slot": manifest.slot(), "signed_by": signed.signed_by})
    return DONE


def _diff(args: argparse.Namespace) -> int:
    from export.bundle.diff import diff_lines, diff_manifests

    old, new = (_read(path, args.signers).manifest for path in args.files)
    found = diff_manifests(old, new)
    say("\n".join(diff_lines(found)))
    if args.json:
        print_json(found)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("bundle", verb_bundle)
    p.add_argument("action", nargs="?", choices=ACTIONS, default="make", help="make, unless said otherwise")
    p.add_argument("files", nargs="*", type=Path, help="bundles to verify, inspect or diff")
    p.add_argument("--model", help="a model directory, or a shipped name; the configuration's unless said otherwise")
    p.add_argument("--faces", help="a detector's model directory, haar, or a YuNet .onnx; as --model")
    p.add_argument("--config", type=Path, help="the kiosk's stream.yaml; its model and faces are rewritten")
    p.add_argument("--target", help="class of the device: jetson-orin, jetson-thor, aarch64 or x86-64")
    p.add_argument("--name", default="kiosk", help="what the bundle is for")
    p.add_argument("--version", help="grows with every bundle: a device refuses a lower one")
    p.add_argument("-o", "--output", type=Path, help="the .mien file")
    p.add_argument("--key", type=Path, help="SSH key that signs, or the .pub of one that ssh-agent holds")
    p.add_argument("--signers", type=Path, help="allowed_signers to verify with")
    p.add_argument("--wheel", default="build", help="mien's wheel: a file, build (from this checkout), or none: "
                                                    "the mien that is on the device runs the models")
    p.add_argument("--wheels", type=Path, help="a folder of wheels for the device, so that it needs no index")
    p.add_argument("--records", type=Path, nargs="*", help="records of mien check; docs/results unless said otherwise")
