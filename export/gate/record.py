"""A record as JSON on the disk. What is in it is its maker's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.durable import write_text


def save_figures(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, whole or not at all; `lines`, which are for people, stay out."""
    write_text(path, json.dumps({k: v for k, v in record.items() if k != "lines"}, indent=2) + "\n")
