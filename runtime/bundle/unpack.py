"""A stream of bytes → a verified bundle: manifest and signature first, then each file, hashed while it is copied.

Nothing is written before the signature is known to be good. Knows nothing of slots, versions or machines.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runtime.bundle.archive import CHUNK, StrictReader
from runtime.bundle.manifest import MAX_MANIFEST_BYTES, BundledFile, Manifest, parse_manifest
from runtime.bundle.signature import MAX_SIGNATURE_BYTES, signer_of
from runtime.durable import fsync_directory
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"


@dataclass(frozen=True)
class SignedManifest:
    """A manifest, its very bytes, its signature and who made that; `signed_by` is '' where nobody asked."""

    manifest: Manifest
    content: bytes
    signature: bytes
    signed_by: str


def read_manifest(reader: StrictReader, signers: Path | None) -> SignedManifest:
    """Read the first two members; without signers the signature is not judged. Raises BadInput."""
    content = reader.small_member(MANIFEST, MAX_MANIFEST_BYTES)
    signature = reader.small_member(SIGNATURE, MAX_SIGNATURE_BYTES)
    signed_by = signer_of(content, signature, signers) if signers else ""
    return SignedManifest(parse_manifest(content), content, signature, signed_by)


def check_bundle(stream: BinaryIO, signers: Path | None) -> SignedManifest:
    """Read a bundle to its end and write nothing. Raises BadInput."""
    reader = StrictReader(stream)
    signed = read_manifest(reader, signers)
    check_files(reader, signed.manifest)
    return signed


def check_files(reader: StrictReader, manifest: Manifest) -> None:
    """Read every file behind the manifest, and the end. Raises BadInput."""
    for file in manifest.files:
        _copy(reader, file, lambda chunk: None)
    reader.end()


def unpack(reader: StrictReader, signed: SignedManifest, folder: Path) -> None:
    """Write every file into a fresh folder, flushed to the disk. Raises BadInput; what it wrote is then the caller's
    to remove."""
    folder.mkdir()
    made = {folder}
    for file in signed.manifest.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        made |= {parent for parent in path.parents if folder in parent.parents}
        with open(path, "xb") as opened:
            _copy(reader, file, opened.write)
            opened.flush()
            os.fsync(opened.fileno())
    reader.end()
    for name, content in ((MANIFEST, signed.content), (SIGNATURE, signed.signature)):
        with open(folder / name, "xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
    for each in made:
        fsync_directory(each)


def check_folder(folder: Path, signers: Path) -> SignedManifest:
    """Read an unpacked bundle back from the disk: every file as signed, and no other. Raises BadInput."""
    try:
        content, _ = read_regular_file(folder / MANIFEST, MAX_MANIFEST_BYTES)
        signature, _ = read_regular_file(folder / SIGNATURE, MAX_SIGNATURE_BYTES)
        signed = SignedManifest(parse_manifest(content), content, signature, signer_of(content, signature, signers))
        for file in signed.manifest.files:
            _check_file(folder / file.path, file)
    except FileNotFoundError as error:
        raise BadInput(f"expected {error.filename}, found nothing; upload the bundle again") from error
    wanted = {MANIFEST, SIGNATURE, *(file.path for file in signed.manifest.files)}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if strangers := found - wanted:
        raise BadInput(f"expected only what the manifest names in {folder}, found {min(strangers)}; upload it again")
    return signed


def _check_file(path: Path, file: BundledFile) -> None:
    if path.is_symlink():  # a folder that is one counts as a stranger
        raise BadInput(f"expected a file, found a link: {path}; upload the bundle again")
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    _require(file, digest.hexdigest(), size)


def _copy(reader: StrictReader, file: BundledFile, write: Callable[[bytes], object]) -> None:
    digest = hashlib.sha256()
    for chunk in reader.member(file.path, file.size):
        digest.update(chunk)
        write(chunk)
    _require(file, digest.hexdigest(), file.size)


def _require(file: BundledFile, sha256: str, size: int) -> None:
    if (sha256, size) != (file.sha256, file.size):
        raise BadInput(f"expected the bytes of {file.path} that the manifest names, found others; copy the bundle "
                       "again")
