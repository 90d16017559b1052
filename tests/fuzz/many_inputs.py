"""Many mutated inputs against what reads hostile bytes, each target in a process of its own, watched from outside.

    python tests/fuzz/many_inputs.py --inputs 100000 --record docs/results/fuzz.json

A hang is an input that takes more than two seconds three times over, without the time that its thread waited for a busy
processor. Writes are those that Python's audit events tell of; what a library of C opens by itself is not heard.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz.mutate import mutate  # noqa: E402
from fuzz.targets import BROKEN, TARGETS, Target  # noqa: E402

from runtime.bench.record import layout  # noqa: E402
from runtime.durable import write_text  # noqa: E402
from runtime.machine import describe_machine  # noqa: E402

SHARES = {"yaml": 0.2, "jpeg": 0.4, "http": 0.2, "events": 0.2}
HANG_SECONDS = 2.0
TRIES = 3
DEAD_SECONDS = 60.0  # without a word from the child: it hangs for good
START_SECONDS = 120.0  # until its first word
MEMORY = 8 << 30  # bytes of address space that a child may have
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
           "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile"}
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}


@dataclass
class Findings:
    """What became of a target's inputs. The lists hold the inputs' numbers, and why."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    hangs: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    writes_outside: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.hangs or self.crashes or self.tracebacks or self.writes_outside)


def listen_for_writes(folder: Path, heard: list[str]) -> None:
    """From now on, note whatever this process changes outside a folder, and every program that it starts."""
    home = str(folder.resolve())

    def is_outside(path: Any) -> bool:
        if isinstance(path, int):
            return False
        name = os.fsdecode(path)
        return name != os.devnull and not (os.path.realpath(name) + os.sep).startswith(home + os.sep)

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and is_outside(path):
                heard.append(f"open {path!r}")
        elif (event in CHANGES and is_outside(arguments[0])) or event in STARTS:
            heard.append(f"{event} {arguments[0]!r}")

    sys.addaudithook(listen)


def child(name: str, first: int, count: int, folder: Path) -> None:
    """Try inputs; a JSON line each says how it went."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    target: Target = (TARGETS | BROKEN)[name](folder)
    os.chdir(folder)
    heard: list[str] = []
    listen_for_writes(folder, heard)
    tell(1, {"ready": True})
    for number in range(first, first + count):
        content = mutate(target.seeds, target.words, number)
        seconds, said = timed(target, content)
        for _ in range(TRIES - 1):
            if seconds > HANG_SECONDS:
                seconds = min(seconds, timed(target, content)[0])
        tell(1, {"number": number, "seconds": round(seconds, 4), **said, "writes": heard[:3]})
        heard.clear()
    target.close()


def timed(target: Target, content: bytes) -> tuple[float, dict[str, str]]:
    """Return how long an input took, and its outcome or what was raised."""
    began = time.monotonic() - waited()
    try:
        said = {"outcome": target.take(content)}
    except Exception as error:
        said = {"raised": f"{type(error).__name__}: {error}"[:300]}
    return time.monotonic() - waited() - began, said


def waited() -> float:
    """Return the seconds that this thread was ready and had no processor (sched-stats.rst); 0 where nobody says."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def tell(handle: int, values: dict[str, Any]) -> None:
    """Write one line."""
    os.write(handle, json.dumps(values).encode() + b"\n")


def fuzz(name: str, count: int, dead_seconds: float = DEAD_SECONDS) -> Findings:
    """Give a target inputs 0 … count - 1; a child that hangs or dies is replaced, and goes on behind that input."""
    found, next_input = Findings(), 0
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as given:
        while next_input < count:
            folder = Path(given) / f"{next_input}"
            folder.mkdir()
            next_input = _watch(name, next_input, count - next_input, folder, found, dead_seconds)
    found.inputs = count
    return found


def _watch(name: str, first: int, count: int, folder: Path, found: Findings, dead_seconds: float) -> int:
    """Run one child and return the number of the input that comes next."""
    command = [sys.executable, __file__, "--child", name, str(first), str(count), str(folder)]
    done, rest, patience, ready = first, b"", START_SECONDS, False
    with open(folder.parent / "said", "wb") as said, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process:
        assert process.stdout is not None
        handle = process.stdout.fileno()
        while done < first + count:
            if not select.select([handle], [], [], patience)[0]:
                found.hangs.append(f"{done}: no end within {patience:g} s")
                process.kill()
                return done + 1
            more = os.read(handle, 1 << 16)
            if not more and not ready:
                raise RuntimeError(f"the child for {name} does not start: {Path(said.name).read_text()[-2000:]}")
            if not more:
                found.crashes.append(f"{done}: exit code {process.wait()}")
                return done + 1
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                patience, ready = dead_seconds, True
                done += _note(found, json.loads(line))
    return done


def _note(found: Findings, said: dict[str, Any]) -> int:
    """Take one line of a child; return how many inputs it was about."""
    if "ready" in said:
        return 0
    number, seconds = said["number"], said["seconds"]
    found.slowest_seconds = max(found.slowest_seconds, seconds)
    if seconds > HANG_SECONDS:
        found.hangs.append(f"{number}: {seconds:.1f} s")
    if "raised" in said:
        found.tracebacks.append(f"{number}: {said['raised']}")
    found.writes_outside += [f"{number}: {write}" for write in said["writes"]]
    found.outcomes[said.get("outcome", "raised")] += 1
    return 1


def main() -> int:
    """Fuzz every target, print, and write the record; 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    load, began = os.getloadavg(), time.monotonic()
    with ThreadPoolExecutor(len(SHARES)) as pool:  # each waits for its own child
        findings = dict(zip(SHARES, pool.map(lambda name: fuzz(name, round(SHARES[name] * args.inputs)), SHARES)))
    record = {"inputs": sum(each.inputs for each in findings.values()), "hang_seconds": HANG_SECONDS,
              "targets": {name: vars(each) for name, each in findings.items()},
              "clean": all(each.clean for each in findings.values()), "seconds": round(time.monotonic() - began, 1),
              "load_average": {"before": [round(v, 2) for v in load],
                               "after": [round(v, 2) for v in os.getloadavg()]}, "made_on": describe_machine()}
    print(layout(record))
    if args.record:
        write_text(args.record, layout(record) + "\n")
    return 0 if record["clean"] else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        sys.exit(main())
