"""A signed bundle → a Debian package: its files as they were signed, units, and a configuration for a person to edit.

The package's folder has the shape of a slot, and its script makes it one. Knows nothing of how a .deb is written.
"""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from export.forms.deb_file import Deb, Link, gzipped
from runtime.bundle.archive import StrictReader
from runtime.bundle.manifest import CONFIG, TARGETS, Manifest
from runtime.bundle.unpack import MANIFEST, SIGNATURE, read_manifest, unpack
from runtime.config import parse_yaml
from runtime.errors import BadInput

SCRIPTS = Path(__file__).parent
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}  # uname -m → Debian's word
MAINTAINER = re.compile(r"[^<>@,\n]+ <[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+>\Z")
DATE = "Fri, 01 Jan 2010 00:00:00 +0000"  # deb_file.TIME, as a changelog says it
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: mien
Comment: The wheels in /usr/lib/{package}/bundle/wheels hold their own licences.

Files: *
Copyright: 2026 the authors of mien
License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.
"""


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle's manifest, and every file by path, the manifest and its signature among them."""

    manifest: Manifest
    files: dict[str, bytes]


def open_bundle(stream: BinaryIO, signers: Path) -> OpenedBundle:
    """Read a bundle, verified to the byte. Raises BadInput."""
    reader = StrictReader(stream)
    signed = read_manifest(reader, signers)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bundle"
        unpack(reader, signed, place)
        names = [MANIFEST, SIGNATURE, *(file.path for file in signed.manifest.files)]
        return OpenedBundle(signed.manifest, {name: (place / name).read_bytes() for name in names})


def deb_of(bundle: OpenedBundle, signers: bytes, maintainer: str) -> Deb:
    """Return the package. signers: allowed_signers of the device; maintainer: `Name <mail>`. Raises BadInput."""
    if not MAINTAINER.match(maintainer):
        raise BadInput(f"expected a maintainer such as 'Jo Doe <jo@site.example>', found {maintainer!r}; say who "
                       "answers for the package: --maintainer")
    manifest, files = bundle.manifest, bundle.files
    package = f"mien-{manifest.name}"
    here = f"/usr/lib/{package}"
    python = required_python(files)
    config = f"/etc/mien/{CONFIG}"
    tree: dict[str, bytes | Link] = {f"{here}/bundle/{path}": content for path, content in files.items()
                                     if not path.startswith("units/")}
    # read through the link, so that `models/…` in it still lies beside it
    tree |= {f"{here}/bundle/{CONFIG}": Link(config), config: files[CONFIG], "/etc/mien/allowed_signers": signers,
             "/usr/bin/mien": Link(f"../lib/{package}/venv/bin/mien"),
             f"/usr/share/doc/{package}/copyright": COPYRIGHT.format(package=package).encode(),
             f"/usr/share/doc/{package}/changelog.gz": gzipped(
                 changelog(package, manifest.version, maintainer).encode())}
    for path, content in files.items():
        if path.startswith("units/"):
            tree[f"/lib/systemd/system/{path.removeprefix('units/')}"] = content
    scripts = {name: (SCRIPTS / name).read_bytes().replace(b"@PACKAGE@", package.encode()).replace(
                   b"@VERSION@", manifest.version.encode())
               for name in ("postinst", "prerm", "postrm")}
    return Deb(control(package, manifest, python, maintainer), scripts, tree, (config, "/etc/mien/allowed_signers"))


def control(package: str, manifest: Manifest, python: tuple[int, int], maintainer: str) -> dict[str, str]:
    """Return the fields of the package, in Debian's order (deb-control(5))."""
    major, minor = python
    wanted = [f"python3 (>= {major}.{minor})", f"python3 (<< {major}.{minor + 1})", "python3-venv", "adduser",
              "openssh-client"]
    # JetPack's own TensorRT and its Python; without them the kiosk runs on the CPU and says so
    suggested = {"Recommends": "python3-libnvinfer"} if manifest.target.startswith("jetson-") else {}
    return {"Package": package, "Version": manifest.version,
            "Architecture": ARCHITECTURES[TARGETS[manifest.target]], "Maintainer": maintainer,
            "Section": "video", "Priority": "optional", "Depends": ", ".join(wanted),
            **suggested, "Provides": "mien-device", "Conflicts": "mien-device",
            "Description": "facial expressions from a camera, on this device\n"
                           f" A signed bundle of mien for {manifest.target}: networks, configuration, wheels and\n"
                           " systemd units. Engines for the GPU are compiled on the device, when the kiosk\n"
                           " starts. Edit /etc/mien/stream.yaml to say which camera it looks through."}


def changelog(package: str, version: str, maintainer: str) -> str:
    """Return Debian's form of saying which bundle this is."""
    return f"{package} ({version}) stable; urgency=medium\n\n  * Bundle {version}.\n\n -- {maintainer}  {DATE}\n"


def required_python(files: dict[str, bytes]) -> tuple[int, int]:
    """Return the one Python that a bundle's wheels are for, once they are known to be enough. Raises BadInput.

    Every name that mien's own wheel requires for the bundle's configuration must come along: a package asks no index.
    What those require in turn is not looked at.
    """
    wheels = {path.rpartition("/")[2]: content for path, content in files.items() if path.endswith(".whl")}
    names = {_project(name.partition("-")[0]): name for name in wheels}
    if foreign := [name for project, name in names.items() if project.startswith("tensorrt")]:
        raise BadInput(f"expected no TensorRT among a package's wheels, found {foreign[0]}; a Jetson has JetPack's "
                       "own, which the environment sees")
    if "mien" not in names:
        raise BadInput("expected mien's own wheel in the bundle, found none; make it without --wheel none")
    extras = extras_of(files[CONFIG]) if CONFIG in files else {"metrics"}
    missing = sorted(_required(wheels[names["mien"]], extras) - names.keys())
    if missing:
        raise BadInput(f"expected wheels of all that mien[{','.join(sorted(extras))}] needs in the bundle, found none "
                       f"of {', '.join(missing)}; pip download them for the device, and mien bundle --wheels DIR")
    found = {match[1] for name in wheels for match in [re.search(r"-cp(3\d+)-cp3\d+-", name)] if match}
    if len(found) != 1:
        raise BadInput(f"expected wheels for one Python in the bundle, found them for {sorted(found) or 'any'}; pip "
                       "download --python-version fetches one's")
    return 3, int(found.pop()[1:])


def extras_of(config: bytes) -> set[str]:
    """Return the extras of mien that a stream.yaml asks for; health is always served. Raises BadConfig."""
    values = parse_yaml(config.decode(), CONFIG)
    mqtt, page = (found if isinstance(found := values.get(key), dict) else {} for key in ("mqtt", "dashboard"))
    asked = {"mqtt": mqtt.get("host"), "dashboard": page.get("port"), "jetson": values.get("target") == "tensorrt"}
    return {"metrics", *(extra for extra, wanted in asked.items() if wanted)}


def _required(wheel: bytes, extras: set[str]) -> set[str]:
    """Return the projects that mien's wheel names for a kiosk (https://packaging.python.org/specifications/core-metadata)."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as opened:
        about = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        lines = opened.read(about).decode().splitlines()
    asked = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    return {_project(re.split(r"[ <>=!~;\[]", each)[0]) for each in asked
            if not (extra := re.search(r"extra == .(\w+).", each)) or extra[1] in extras}


def _project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
