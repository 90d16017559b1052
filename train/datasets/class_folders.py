"""One folder a class: which folder is which label. Knows nothing of what the files in them are called."""

from __future__ import annotations

import difflib
from pathlib import Path

from runtime.errors import BadInput


def class_folders(root: Path, label_names: tuple[str, ...]) -> list[tuple[int, Path]]:
    """Return (label, folder) in label order, whatever the folders' case; classes without a folder are left out.

    Raises BadInput for a folder that is no class: its images would otherwise be lost in silence.
    """
    lower = [name.lower() for name in label_names]
    folders: dict[str, Path] = {}
    for folder in sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")):
        name = folder.name.lower()
        if name not in lower:
            close = difflib.get_close_matches(name, lower, n=1)
            advice = f"rename it to {close[0]}" if close else "take it away"
            raise BadInput(f"expected the classes {', '.join(label_names)} in {root}, found {folder.name}; {advice}")
        if name in folders:
            raise BadInput(f"expected one folder a class in {root}, found {folders[name].name} and {folder.name}; "
                           "merge them")
        folders[name] = folder
    return [(label, folders[name]) for label, name in enumerate(lower) if name in folders]
