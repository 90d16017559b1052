"""Files → one bundle: the manifest, its signature by `ssh-keygen -Y sign`, and the tar that they decide to the byte.

The same files and key give the same bytes (ed25519 and RSA sign without chance; ECDSA does not).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.bundle.archive import END, header_of, padding
from runtime.bundle.manifest import BundledFile, Manifest
from runtime.bundle.signature import NAMESPACE, ssh_keygen
from runtime.bundle.unpack import MANIFEST, SIGNATURE
from runtime.durable import replacing
from runtime.errors import BadInput

ENGINES = (".engine", ".plan", ".trt", ".kernels")


def manifest_of(name: str, version: str, target: str, files: Mapping[str, bytes], lineage: dict[str, Any]) -> Manifest:
    """Return the manifest of files by path. Raises BadInput."""
    if engines := [path for path in files if path.endswith(ENGINES)]:
        raise BadInput(f"expected no engine in a bundle, found {engines[0]}; engines are compiled on the device")
    listed = tuple(BundledFile.of(path, files[path]) for path in sorted(files))
    try:
        return Manifest(name, version, target, listed, lineage)
    except ValueError as error:
        raise BadInput(str(error)) from error


def sign(content: bytes, key: Path) -> bytes:
    """Return a manifest's signature. key: a private key, or the .pub of one that ssh-agent holds. Raises BadInput."""
    if not key.is_file():
        raise BadInput(f"expected a key to sign with at {key}, found none; ssh-keygen -t ed25519 -f {key} makes one")
    done = ssh_keygen(["-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)], content)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise BadInput(f"expected {key} to sign the manifest, ssh-keygen said: {said[-1]}")
    return done.stdout


def write_bundle(path: Path, manifest: Manifest, signature: bytes, files: Mapping[str, bytes]) -> None:
    """Write the bundle, whole or not at all."""
    members = [(MANIFEST, manifest.encode()), (SIGNATURE, signature),
               *((file.path, files[file.path]) for file in manifest.files)]
    with replacing(path) as temporary, open(temporary, "wb") as out:
        for name, content in members:
            out.write(header_of(name, len(content)))
            out.write(content)
            out.write(padding(len(content)))
        out.write(END)
