"""The tests under tests/gpu, run by pytest in a process of its own, as counts. Knows nothing of what they test."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from export.board.private import without_private
from export.board.task import Measured, Task
from runtime.errors import MienError, Unavailable
from runtime.machine import ROOT

FOLDER = "tests/gpu"
NEEDED = ("pytest", "pytest_timeout", "onnx")  # what tests/conftest.py and pytest's settings in pyproject.toml load
MOST_NAMED = 20


def run_gpu_tests(task: Task) -> Measured:
    """Run every test and count. Raises Unavailable where none can run, MienError where pytest does not."""
    if not (ROOT / FOLDER).is_dir():
        raise Unavailable(f"expected a checkout with {FOLDER}, found an installed package; run this in a checkout")
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise Unavailable(f"expected {', '.join(NEEDED)} for {FOLDER}, found no {', '.join(lacking)}; "
                          'pip install "mien[dev]"')
    with tempfile.TemporaryDirectory(prefix="mien-board-") as folder:
        results = Path(folder) / "results.xml"
        # the folder outside of the tree: a checkout may be read-only
        command = [sys.executable, "-m", "pytest", FOLDER, "-q", f"--junitxml={results}", f"--basetemp={folder}/tests",
                   "-p", "no:cacheprovider"]
        child = subprocess.run(command, cwd=ROOT, env=os.environ | {"MIEN_MODEL": str(task.open_model().directory)},
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not results.is_file():
            said = (child.stdout + child.stderr).strip().splitlines()
            raise MienError(f"expected pytest to run {FOLDER}, found: {said[-1] if said else child.returncode}")
        return read_results(results.read_text(encoding="utf-8"))


def read_results(text: str) -> Measured:
    """Read what pytest's --junitxml wrote. Raises Unavailable where every test was skipped, MienError for none."""
    cases = list(ElementTree.fromstring(text).iter("testcase"))
    failed = [c.get("name", "") for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [reason for c in cases if (reason := c.find("skipped")) is not None]
    if not cases:
        raise MienError(f"expected tests in {FOLDER}, found none")
    if len(skipped) == len(cases):
        raise Unavailable(f"expected {FOLDER} to run, found every test skipped: {skipped[0].get('message')}")
    found = {"passed": len(cases) - len(failed) - len(skipped), "failed": len(failed), "skipped": len(skipped),
             "names_of_failed": [without_private(name) for name in failed[:MOST_NAMED]]}
    return Measured(found, [f"{len(failed)} of {len(cases)} tests failed: {', '.join(failed)}"] if failed else [])
