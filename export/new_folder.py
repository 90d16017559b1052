"""Files by path → a folder that was not there before: all or none. Replaces nothing; knows nothing of the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.durable import replacing_directory
from runtime.errors import BadInput


def write_new_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files, by path under `path`, into a folder that is absent or empty. Raises BadInput."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInput(f"expected {path} to be absent or empty, found something there, which may be in use; choose "
                       "another place")
    with replacing_directory(path) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
