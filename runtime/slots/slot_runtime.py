"""What runs a slot: its own Python environment, made of the wheels in its bundle, or the device's where it has none.

Knows nothing of what is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from runtime.durable import fsync_directory
from runtime.errors import MienError

BORROWED = "mien-borrowed.pth"
SECONDS = 900.0  # pip unpacks 200 MB of wheels; an SD card writes some 10 MB/s


def make_venv(slot: Path) -> str:
    """Leave `slot/venv` and return what it is made of. Raises MienError.

    Wheels are installed without an index. What they lack (NumPy, OpenCV, JetPack's TensorRT …) comes from the Python
    that runs this. A bundle without wheels is run by that Python altogether.
    """
    venv, wheels = slot / "venv", sorted((slot / "bundle" / "wheels").glob("*.whl"))
    done = slot / "venv.done"
    if done.exists() and (venv / "bin" / "python").exists():  # a link to a Python that an upgrade took away does not
        return "found"
    done.unlink(missing_ok=True)
    if venv.is_symlink():
        venv.unlink()
    shutil.rmtree(venv, ignore_errors=True)  # what a kill left
    if not wheels:
        venv.symlink_to(sys.prefix)
    else:
        _run([sys.executable, "-m", "venv", "--system-site-packages", str(venv)])
        python = str(venv / "bin" / "python")
        _run([python, "-I", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile",
              "--disable-pip-version-check", *map(str, wheels)])
        places = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        ours = Path(_run([python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
        (ours / BORROWED).write_text("\n".join(places) + "\n")
    os.sync()  # some thousand files; one call costs less than an fsync each
    done.touch()
    fsync_directory(slot)
    return f"{len(wheels)} wheels" if wheels else f"no wheels: {sys.prefix} runs it"


def run_in(slot: Path, arguments: list[str], seconds: float, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run the slot's own mien; return its exit code, what it printed and what it said. Raises MienError on silence."""
    # without STATE_DIRECTORY and NOTIFY_SOCKET: the lock and the watchdog are the running stream's
    inherited = {k: v for k, v in os.environ.items() if k not in ("STATE_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC")}
    try:
        done = subprocess.run([str(slot / "venv" / "bin" / "python"), "-I", "-m", "mien", *arguments], cwd=slot,
                              capture_output=True, text=True, check=False, timeout=seconds, env=inherited | environment)
    except subprocess.TimeoutExpired as error:
        raise MienError(f"expected mien {arguments[0]} of {slot.name} to end within {seconds:g} s, found it still at "
                        "work; look at the device") from error
    except OSError as error:
        raise MienError(f"expected {slot.name} to have been prepared, found {error}; mien slot prepare "
                        f"{slot.name}") from error
    return done.returncode, done.stdout, done.stderr


def last_line(text: str, otherwise: str) -> str:
    """Return the last line that a command said, without its own `mien: `."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("mien: ") if lines else otherwise


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MienError(f"expected {Path(command[0]).name} to make the slot's environment, found {error}") from error
    if done.returncode:
        raise MienError("expected an environment of the bundle's wheels, found: "
                        f"{last_line(done.stderr, 'a failure')}; on Debian apt install python3-venv; wheels must be "
                        "for this Python: mien bundle --wheels")
    return done.stdout
