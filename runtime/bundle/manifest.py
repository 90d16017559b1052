"""The manifest of a bundle: version, target class, and SHA-256 and size of every file. Its bytes have one form only.

What reads back otherwise than it was written is refused, so that nothing can hide in a manifest. Judges no signature.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.config import build
from runtime.errors import BadConfig, BadInput

SCHEMA = 1
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 1000
MAX_BUNDLE_BYTES = 4 << 30  # of all files; the shipped model and every wheel for aarch64 are under 0.3 GB
CONFIG = "stream.yaml"
TARGETS = {"jetson-orin": "aarch64", "jetson-thor": "aarch64", "aarch64": "aarch64", "x86-64": "x86_64"}  # → uname -m
# 100: the name field of a tar header (POSIX ustar), which holds the whole path
PATH = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9_][A-Za-z0-9_.+@-]*(/[A-Za-z0-9_][A-Za-z0-9_.+@-]*)*\Z")
VERSION = re.compile(r"(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5})){1,3}\Z")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")


@dataclass(frozen=True)
class BundledFile:
    """One file: its path in the bundle, hash and size."""

    path: str
    sha256: str
    size: int

    @classmethod
    def of(cls, path: str, content: bytes) -> BundledFile:
        """Describe bytes that go under a path."""
        return cls(path, hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class Manifest:
    """What a bundle is. lineage: what `mien why` walked when it was made, signed with the rest."""

    name: str
    version: str
    target: str
    files: tuple[BundledFile, ...]
    lineage: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"expected a manifest of schema {SCHEMA}, found {self.schema}; use a matching mien")
        if not NAME.match(self.name):
            raise ValueError(f"expected a name of a–z, 0–9 and -, found {self.name!r}")
        if not VERSION.match(self.version):
            raise ValueError(f"expected a version such as 1.4.0, found {self.version!r}")
        if self.target not in TARGETS:
            raise ValueError(f"expected a target among {', '.join(TARGETS)}, found {self.target!r}")
        _check_files(self.files)

    @property
    def ordered_version(self) -> tuple[int, ...]:
        """The version as numbers that compare: 1.10 is after 1.9, and 1.4 is 1.4.0."""
        numbers = [int(part) for part in self.version.split(".")]
        return (*numbers, *[0] * (4 - len(numbers)))

    @property
    def total_bytes(self) -> int:
        """What all files take together."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """Return the manifest's one form."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()

    def slot(self) -> str:
        """Return the slot's name: the version, and what tells two bundles of one version apart."""
        return f"{self.version}-{hashlib.sha256(self.encode()).hexdigest()[:12]}"


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest. Raises BadInput for anything that `encode` would not have written."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected a manifest in JSON, found: {str(error).splitlines()[0]}; make the bundle "
                       "again") from error
    if not isinstance(values, dict):
        raise BadInput("expected a manifest that is an object, found none; make the bundle again")
    try:
        manifest = build(Manifest, values, "manifest.json")
    except BadConfig as error:
        raise BadInput(str(error)) from error
    if manifest.encode() != content:  # a key twice, or a second spelling of the same
        raise BadInput("expected a manifest as mien bundle writes it, found another form; make the bundle again")
    return manifest


def _check_files(files: tuple[BundledFile, ...]) -> None:
    """Raise ValueError for paths that leave the folder, come twice, out of order, or through another file."""
    if not 0 < len(files) <= MAX_FILES:
        raise ValueError(f"expected 1–{MAX_FILES} files, found {len(files)}")
    paths = [file.path for file in files]
    for file in files:
        if not PATH.match(file.path) or file.path in ("manifest.json", "manifest.json.sig"):
            raise ValueError(f"expected a plain path of at most 100 characters, found {file.path!r}")
        if not re.fullmatch("[0-9a-f]{64}", file.sha256) or not 0 <= file.size <= MAX_BUNDLE_BYTES:
            raise ValueError(f"expected a SHA-256 and a size for {file.path}, found {file.sha256!r}, {file.size}")
    if paths != sorted(set(paths)):
        raise ValueError("expected every path once and in order, found otherwise")
    folders = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
    if both := folders & set(paths):
        raise ValueError(f"expected {min(both)} to be a file or a folder, found both")
    if CONFIG not in paths:
        raise ValueError(f"expected {CONFIG} among the files, found none")
    if sum(file.size for file in files) > MAX_BUNDLE_BYTES:
        raise ValueError(f"expected at most {MAX_BUNDLE_BYTES} bytes in all, found more")
