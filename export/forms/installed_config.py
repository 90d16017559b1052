"""A kiosk's package, as `mien deb` writes it → the target that its configuration asks for. Reads no other package."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO

from runtime.bundle.manifest import CONFIG
from runtime.config import parse_yaml
from runtime.errors import BadInput

HEADER = 60  # bytes of an ar header; its size stands at 48–58
ARCHIVE = b"!<arch>\n"


def target_in_deb(path: Path) -> str:
    """Return `target` of the package's stream.yaml, `auto` where it says none. Raises BadInput."""
    try:
        with open(path, "rb") as file:
            _seek_data(file)
            with tarfile.open(fileobj=file, mode="r|gz") as tar:
                for member in tar:
                    if member.name == f"./etc/mien/{CONFIG}" and (content := tar.extractfile(member)):
                        return str(parse_yaml(content.read().decode(), str(path)).get("target", "auto"))
    except (OSError, ValueError, tarfile.TarError) as error:
        raise BadInput(f"expected a package that mien deb made, found {path}: {error}; check the path") from error
    raise BadInput(f"expected a package that mien deb made, found no /etc/mien/{CONFIG} in {path}; check the path")


def _seek_data(file: IO[bytes]) -> None:
    """Go to where data.tar.gz begins."""
    if file.read(len(ARCHIVE)) != ARCHIVE:
        raise ValueError("it is no ar archive")
    while len(header := file.read(HEADER)) == HEADER:
        if header.startswith(b"data.tar.gz"):
            return
        size = int(header[48:58])
        file.seek(size + size % 2, 1)
    raise ValueError("it has no data.tar.gz")
