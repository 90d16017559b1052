"""The checkout → mien's own wheel, the same bytes each time, without a network. Knows nothing of its dependencies.

setuptools takes its times from SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from runtime.errors import BadInput, MienError

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("runtime", "calibration", "train", "export")
FILES = ("pyproject.toml", "README.md", "LICENSE", "mien.py")
EPOCH = "315532800"  # 1980-01-01, the first day that a zip file knows
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def build_wheel() -> tuple[str, bytes]:
    """Return the wheel's file name and bytes. Raises BadInput outside a checkout, MienError where the build fails."""
    missing = [name for name in (*FILES, *ROOMS) if not (ROOT / name).exists()]
    if missing:
        raise BadInput(f"expected a checkout of mien to build its wheel from, found no {missing[0]} in {ROOT}; give "
                       "the wheel itself: --wheel FILE, or --wheel none")
    with tempfile.TemporaryDirectory() as folder:
        copy, out = Path(folder) / "mien", Path(folder) / "out"
        out.mkdir()
        copy.mkdir()
        for name in FILES:
            shutil.copyfile(ROOT / name, copy / name)
        for room in ROOMS:
            # checkpoints are for training on; a wheel leaves them out, and copying them would cost more than the build
            shutil.copytree(ROOT / room, copy / room,
                            ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "checkpoints"))
        _same_modes(copy)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONDONTWRITEBYTECODE": "1"}
        built = subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=copy, capture_output=True, text=True,
                               check=False, env=environment)
        found = list(out.glob("*.whl"))
        if built.returncode or len(found) != 1:
            last = (built.stderr.strip().splitlines() or ["nothing"])[-1]
            raise MienError(f"expected setuptools to build mien's wheel, found: {last}; give one: --wheel FILE")
        return found[0].name, found[0].read_bytes()


def _same_modes(folder: Path) -> None:
    """A wheel keeps each file's mode, which a person's umask decides."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
