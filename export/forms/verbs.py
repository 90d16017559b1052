"""`mien deb` and `mien rootfs`: flags and words. The work is in the files beside."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput


def verb_deb(args: argparse.Namespace) -> int:
    """Make a Debian package of a signed bundle that holds its wheels."""
    from export.forms.deb_file import write_deb
    from export.forms.deb_from_bundle import deb_of, open_bundle

    try:
        signers = args.signers.read_bytes()
        with open(args.bundle, "rb") as stream:
            bundle = open_bundle(stream, args.signers)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(f"expected a file at {error.filename}, found: {error.strerror}; check the path") from error
    deb = deb_of(bundle, signers, args.maintainer)
    path = args.out / deb.file_name
    write_deb(path, deb)
    say(f"{path}  {path.stat().st_size / 1e6:.1f} MB, needs {deb.control['Depends']}")
    if args.json:
        print_json({"file": str(path), "package": deb.control["Package"], "version": deb.control["Version"],
                    "architecture": deb.control["Architecture"], "slot": bundle.manifest.slot()})
    return DONE


def verb_rootfs(args: argparse.Namespace) -> int:
    """Put a kiosk's package, CUDA's and TensorRT's into a Jetson's root file system, before it is flashed."""
    from export.forms.rootfs import install_into, plan_root, require_emulator

    plan = plan_root(args.tegra, args.deb, args.debs, args.user, args.password_file)
    say("\n".join(plan.lines()))
    if not args.dry_run:
        if os.geteuid() != 0:
            raise BadInput("expected root, who owns the files of a root file system, found another user; use sudo")
        if not args.accept_license:
            raise BadInput("expected --accept-license, since the first boot will not ask, found none; NVIDIA's licence "
                           "lies in Linux_for_Tegra")
        require_emulator()
        install_into(plan, args.force_depends)
    if args.json:
        print_json({"root": str(plan.root), "debs": [path.name for path in plan.debs], "tensorrt": plan.has_tensorrt,
                    "done": not args.dry_run})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verbs and their flags."""
    p = verb("deb", verb_deb)
    p.add_argument("bundle", type=Path, help="a .mien file, made with --wheels")
    p.add_argument("-o", "--out", type=Path, default=Path(), help="the folder to write the package into")
    p.add_argument("--signers", type=Path, required=True,
                   help="the device's allowed_signers: the bundle is verified with it, and it goes into the package")
    p.add_argument("--maintainer", required=True, help="who answers for the package: 'Name <mail>'")

    p = verb("rootfs", verb_rootfs)
    p.add_argument("deb", type=Path, help="the kiosk's package, of mien deb")
    p.add_argument("tegra", type=Path, help="Linux_for_Tegra, after apply_binaries.sh")
    p.add_argument("--debs", type=Path, help="a folder with CUDA's and TensorRT's .deb files and all that they need")
    p.add_argument("--user", required=True, help="the device's first user, whom oem-config would have asked for")
    p.add_argument("--password-file", type=Path, required=True, help="holds that user's password")
    p.add_argument("--accept-license", action="store_true", help="NVIDIA's, which oem-config would have shown")
    p.add_argument("--force-depends", action="store_true", help="install although dpkg misses packages")
    p.add_argument("--dry-run", action="store_true", help="only say what would be done")
