"""One part in its own process: what dies, hangs or lacks a package there is a line of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export.board import measure_part
from export.board.measure_part import MEASURES
from export.board.record import PARTS
from export.board.task import Task

ROOT = Path(__file__).parents[3]


def run_as(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 60) -> dict[str, object]:
    """Run `measure(task)` of this source as the part `bench`, in a real child process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\nmodule = types.ModuleType('export.board.timings')\n"
        f"exec({source!r}, module.__dict__)\nsys.modules['export.board.timings'] = module\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    return measure_part.measure_part("bench", Task("mien-light", "cpu", 1, 0, seconds), environment)[0]


def test_every_part_has_its_function() -> None:
    assert tuple(MEASURES) == PARTS
    for place in MEASURES.values():
        module, _, function = place.partition(":")
        assert f"def {function}(task: Task) -> Measured:" in (ROOT / f"export/board/{module}.py").read_text()


@pytest.mark.parametrize(("source", "status", "words"), [
    ("def time_engines(task):\n    import os; os.kill(os.getpid(), 11)", "failed", "dead by signal 11"),
    ("def time_engines(task):\n    import os; print('last words'); os._exit(7)", "failed", "exit code 7"),
    ("def time_engines(task):\n    raise RuntimeError('cuda')", "failed", "RuntimeError: cuda"),
    ("def time_engines(task):\n    import onnx_that_is_not_there", "not possible here", "onnx_that_is_not_there"),
    ("def time_engines(task):\n    from runtime.errors import Unavailable\n    raise Unavailable('expected a GPU')",
     "not possible here", "expected a GPU"),
    ("def time_engines(task):\n    from export.board.task import Measured\n    return Measured([])", "failed",
     "found none")])
def test_however_a_part_ends_the_report_goes_on(source: str, status: str, words: str, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    part = run_as(source, tmp_path, monkeypatch)
    assert part["status"] == status and words in str(part["why"])


def test_a_part_that_hangs_is_stopped_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    # started with the interpreter, so that a busy machine has it well before the time is up
    source = (f"import subprocess\nchild = subprocess.Popen(['sleep', '300'])\nwith open({str(pid)!r}, 'w') as file:\n"
              "    file.write(str(child.pid))\ndef time_engines(task):\n    child.wait()")
    part = run_as(source, tmp_path, monkeypatch, 3)
    assert part["status"] == "failed" and "raise --timeout" in str(part["why"])
    stat = Path(f"/proc/{pid.read_text()}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_a_part_that_is_stopped_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    source = ("import tempfile, time\n"
              f"with open({str(made)!r}, 'w') as file:\n    file.write(tempfile.mkdtemp())\n"
              "def time_engines(task):\n    time.sleep(300)")
    assert run_as(source, tmp_path, monkeypatch, 3)["status"] == "failed"
    assert made.read_text() and not Path(made.read_text()).exists()


def test_a_part_whose_report_is_dead_already_measures_nothing(tmp_path: Path) -> None:
    answer = str(tmp_path / "answer.json")
    code = f"from export.board.measure_part import _child; _child('bench', '{{}}', {answer!r}, parent='1000000000')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)  # it ends itself
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_what_a_part_says_is_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = run_as("def time_engines(task):\n    raise OSError('no such file: /home/anna/faces/mia.png')", tmp_path,
                  monkeypatch)
    assert part["why"] == "OSError: no such file: <path>"


WITHOUT_ONNX = """
import sys
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "onnx" else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from export.board.measure_part import attempt
from export.board.task import Task
for name in ("numerics", "oracle", "inspector", "ahead of time", "gpu tests"):
    found = attempt(name, Task("mien-light", "cpu", 1, 0, 60))
    print(name, bool(found.found), *found.failures, *found.missing, sep="|")
"""


def test_a_lean_machine_without_onnx_still_measures_its_numerics() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_ONNX], cwd=ROOT, capture_output=True, text=True, check=True)
    said = {line.partition("|")[0]: line for line in done.stdout.splitlines()}
    assert said["numerics"] == "numerics|True"
    for part in ("oracle", "inspector", "ahead of time"):
        assert said[part].startswith(f"{part}|False|") and 'pip install "mien[export]"' in said[part]
    assert 'pip install "mien[dev]"' in said["gpu tests"]
