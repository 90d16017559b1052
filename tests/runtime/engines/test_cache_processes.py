"""The engine cache between processes: two at once, one that is killed at any line, one that meets a full disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cached_engines import COMMAND, ENGINE, builder, some_key

from runtime.engines.cache import EngineCache

TESTS = Path(__file__).resolve().parents[2]
SIZE = 5000
SHA256 = hashlib.sha256(bytes(SIZE)).hexdigest()


def start(folder: Path, seconds: float, size: int = SIZE, *limit: int) -> subprocess.Popen[str]:
    """Start a process that wants the engine of `some_key()`."""
    command = [sys.executable, TESTS / "caching_process.py", folder, folder.parent / "log", seconds, size, *limit]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(what, process: subprocess.Popen[str]) -> None:
    """Wait until something is so; a process that ended too soon is a failure that shows its words."""
    deadline = time.monotonic() + 60
    while not what():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def compilations(folder: Path) -> int:
    log = folder.parent / "log"
    return log.read_text().count("compiled\n") if log.exists() else 0


def test_processes_that_start_at_once_compile_once(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    processes = [start(folder, 1.0) for _ in range(3)]
    assert [p.communicate(timeout=60)[0].strip() for p in processes] == [SHA256] * 3
    assert compilations(folder) == 1


def test_who_waits_says_for_what(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    first = start(folder, 2.0)
    wait_for(lambda: compilations(folder) == 1, first)
    second = start(folder, 0)
    said = second.communicate(timeout=60)[1]
    first.communicate(timeout=60)
    assert first.returncode == second.returncode == 0
    assert said == f"mien: another process is compiling into {folder}; waiting for it\n"


def test_a_process_killed_while_it_compiles_hands_the_work_to_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    first = start(folder, 600)
    wait_for(lambda: compilations(folder) == 1, first)
    second = start(folder, 0)
    time.sleep(0.3)  # most often it waits for the lock by now; either way it must end well
    first.kill()
    first.communicate()
    assert second.communicate(timeout=60)[0].strip() == SHA256
    assert compilations(folder) == 2


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a thousand fsyncs take a disk a minute, and a SIGKILL asks for none."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="mien-test-", dir=memory))
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize(("scenario", "states"), [
    ("first_ever", {"absent", "whole"}), ("beside_another", {"absent", "whole"}),
    ("in_place_of_a_directory", {"refused", "absent", "whole"}), ("over_a_damaged_one", {"refused", "whole"})])
def test_sigkill_before_any_line_leaves_the_engine_whole_or_as_it_was(
        quick_disk: Path, scenario: str, states: set[str]) -> None:
    told = subprocess.run([sys.executable, str(TESTS / "killed_at_every_line.py"), str(quick_disk), scenario],
                          capture_output=True, text=True, timeout=240, check=False)
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert result["wrong"] == []
    assert result["lines"] > 100  # that it was killed at all
    assert set(result["found"]) == states and min(result["found"].values()) > 5  # early and late, never half


@pytest.mark.parametrize("written", [100, 1000, SIZE])
def test_sigkill_in_the_middle_of_writing_leaves_nothing_that_counts(tmp_path: Path, written: int) -> None:
    folder = tmp_path / "engines"
    EngineCache(folder).get(some_key(b"another graph"), builder(), COMMAND)
    process = start(folder, 0, SIZE, written)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGXFSZ  # the kernel's kill, between two bytes of one write
    assert [p.stat().st_size for p in folder.glob(".*.engine")] == [written]
    assert EngineCache(folder).find(some_key()) is None
    assert EngineCache(folder).get(some_key(), builder(), COMMAND).engine == ENGINE
    assert list(folder.glob(".*.engine")) == []


def on_a_small_disk(place: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a mount namespace of its own where `place` is a file system of 128 KiB."""
    script = 'mount -t tmpfs -o size=128k none "$1" || exit 77; exec "$2" -c "$3" "$1"'
    words = ["sh", "-c", script, "sh", str(place), sys.executable, program]
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    try:
        result = subprocess.run(["unshare", "--mount", *user, *words], cwd=TESTS.parent, capture_output=True, text=True,
                                timeout=60, check=False, env=os.environ | {"PYTHONPATH": str(TESTS)})
    except FileNotFoundError:
        pytest.skip("no `unshare` here to mount a small file system with")
    if result.returncode == 77 or result.stderr.startswith("unshare:"):
        pytest.skip(f"this user may not mount a small file system: {result.stderr.strip()}")
    return result


FILLED = """
import sys
from pathlib import Path
from cached_engines import COMMAND, builder, no_build, some_key
from runtime.engines.cache import EngineCache
from runtime.errors import MienError

cache = EngineCache(Path(sys.argv[1]) / "engines")
cache.get(some_key(), builder(), COMMAND)
before = sorted(p.name for p in cache.folder.iterdir())
try:
    cache.get(some_key(b"another graph"), builder(bytes(200_000)), COMMAND)
except MienError as error:
    print(type(error).__name__, error)
assert sorted(p.name for p in cache.folder.iterdir()) == before
cache.get(some_key(), no_build, COMMAND)
print(cache.get(some_key(b"another graph"), builder(bytes(20_000)), COMMAND).compiled_now)
"""


def test_a_full_disk_is_one_line_and_what_was_kept_stays(tmp_path: Path) -> None:
    result = on_a_small_disk(tmp_path, FILLED)
    assert result.returncode == 0, result.stderr
    said, fits = result.stdout.splitlines()
    assert said == (f"MienError expected room for an engine in {tmp_path}/engines, found the disk full; free some "
                    "space, or choose another folder with --cache")
    assert fits == "True"


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from cached_engines import COMMAND, builder, no_build, some_key
from runtime.engines.cache import EngineCache
from runtime.errors import MienError

place = Path(sys.argv[1])
cache = EngineCache(place / "engines")
cache.get(some_key(), builder(), COMMAND)
subprocess.run(["mount", "-o", "remount,ro", place], check=True)
print(cache.get(some_key(), no_build, COMMAND).compiled_now)
try:
    cache.get(some_key(b"another graph"), builder(), COMMAND)
except MienError as error:
    print(type(error).__name__, error)
"""


def test_a_read_only_disk_gives_what_it_has_and_refuses_the_rest_in_one_line(tmp_path: Path) -> None:
    result = on_a_small_disk(tmp_path, READ_ONLY)
    assert result.returncode == 0, result.stderr
    found, said = result.stdout.splitlines()
    assert found == "False"
    assert said.startswith("BadInput expected a folder to keep engines in, found [Errno 30] Read-only file system")
