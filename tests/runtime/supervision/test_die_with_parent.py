"""A child ends with its parent: one that is killed later, and one that was gone before the child could ask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_child_dies_with_a_parent_that_is_killed() -> None:
    parent = start("import os, time\nfrom runtime.supervision.die_with_parent import die_with_parent\n"
                   "parent = os.getpid()\n"
                   "child = os.fork()\n"
                   "if child == 0:\n"
                   "    die_with_parent(parent)\n    print('ready', os.getpid(), flush=True)\n    time.sleep(60)\n"
                   "os.waitpid(child, 0)\n")
    assert parent.stdout is not None
    child = int(parent.stdout.readline().split()[1])
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(200):
        if not is_alive(child):
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child outlived its parent")


def test_a_child_whose_parent_is_gone_already_dies_at_once() -> None:
    someone_else = os.getppid()
    child = start("from runtime.supervision.die_with_parent import die_with_parent\n"
                  f"die_with_parent({someone_else})\nprint('on')")
    assert child.communicate()[0] == "" and child.returncode == -signal.SIGKILL


def test_a_child_can_ask_before_its_long_imports() -> None:
    child = start("import sys\nimport runtime.supervision.die_with_parent\nprint('numpy' in sys.modules)")
    assert child.communicate()[0] == "False\n"
