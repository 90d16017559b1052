"""The table of NVIDIA's platforms, `devices.yaml`: JetPack → L4T, TensorRT, CUDA, Python, OpenCV, GPU.

Support is data, not code: a new JetPack is a new row. Knows what was seen or read of a platform, never what this
machine has; `runtime/doctor` compares the two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from runtime.config import build, read_yaml

TABLE = Path(__file__).with_name("devices.yaml")
OLDEST_TENSORRT = (10,)  # the first whose engines run here (`tensorrt_engine.py`)
OLDEST_PYTHON = (3, 10)  # pyproject.toml


@dataclass(frozen=True)
class Source:
    """Where a fact was learned: `seen` on a machine, or `read`."""

    url: str
    how: Literal["seen", "read"]
    what: str


@dataclass(frozen=True)
class Platform:
    """One row; versions as text, `gpus` as name and compute capability, None where nobody told."""

    platform: str
    l4t: tuple[str, ...]
    gpus: tuple[str, ...]
    tensorrt: str
    cuda: str
    python: str
    opencv: str | None
    learned: tuple[Source, ...]
    note: str = ""
    record: str = ""

    def __post_init__(self) -> None:
        if not self.learned:
            raise ValueError(f"expected where {self.platform} was learned, found nothing")

    @property
    def too_old(self) -> str:
        """Why nothing of ours can be compiled there, or ''."""
        if not self.tensorrt.startswith("RTX") and version_of(self.tensorrt) < OLDEST_TENSORRT:
            return f"TensorRT {self.tensorrt}, and engines run here from 10 on"
        return f"Python {self.python}" if version_of(self.python) < OLDEST_PYTHON else ""

    @property
    def status(self) -> str:
        """`too old`, `unverified`, or the record that a device made."""
        return f"too old: {self.too_old}" if self.too_old else self.record or "unverified"


@dataclass(frozen=True)
class _Table:
    rows: tuple[Platform, ...]


def version_of(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, `10.16.2.10-1` as (10, 16, 2, 10); () where there are none."""
    numbers: list[int] = []
    for part in text.partition("-")[0].partition("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


@functools.cache
def load_platforms(table: Path = TABLE) -> tuple[Platform, ...]:
    """Read the table. Raises BadConfig."""
    return build(_Table, read_yaml(table), str(table)).rows


def platform_of(l4t: str) -> tuple[Platform | None, bool]:
    """Return the row of an L4T release such as `36.4.3`, and whether the row names it.

    A release that no row names gets the row of its first two numbers, which share a stack as far as rows tell; or None.
    """
    rows = load_platforms()
    named = next((row for row in rows if l4t in row.l4t), None)
    branch = version_of(l4t)[:2]
    return named or next((r for r in rows if any(version_of(n)[:2] == branch for n in r.l4t)), None), named is not None


def as_markdown(rows: tuple[Platform, ...] | None = None) -> str:
    """Return the table as `docs/devices.md` shows it."""
    lines = ["| platform | L4T | GPU, compute capability | TensorRT | CUDA | Python | OpenCV | status | learned |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row in load_platforms() if rows is None else rows:
        learned = " · ".join(f"[{urlsplit(s.url).netloc}]({s.url}) ({s.how}: {s.what})" for s in row.learned)
        status = f"{row.status}; {row.note}" if row.note else row.status
        cells = [row.platform, ", ".join(row.l4t) or "–", ", ".join(row.gpus), row.tensorrt, row.cuda, row.python,
                 row.opencv or "?", status, learned]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
