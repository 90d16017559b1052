"""One process that wants an engine from a cache; `tests/runtime/engines/test_cache_processes.py` starts several.

    python tests/caching_process.py FOLDER LOG SECONDS ENGINE_BYTES [LIMIT]

Compiling takes SECONDS and adds a line to LOG. With LIMIT the kernel kills it when a file grows beyond so many bytes.
Prints the SHA-256 of the engine it got, or the error.
"""

from __future__ import annotations

import hashlib
import logging
import resource
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cached_engines import COMMAND, builder, some_key  # noqa: E402

from runtime.engines.cache import EngineCache  # noqa: E402
from runtime.engines.compile import Compiled  # noqa: E402
from runtime.errors import MienError  # noqa: E402


def main(folder: str, log: str, seconds: str, size: str, limit: str = "") -> int:
    """Get the engine; returns the exit code that an error asks for."""
    logging.basicConfig(format="mien: %(message)s")
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))

    def build() -> Compiled:
        with open(log, "a") as file:
            file.write("compiled\n")
        time.sleep(float(seconds))
        return builder(bytes(int(size)))()

    try:
        got = EngineCache(Path(folder)).get(some_key(), build, COMMAND)
    except MienError as error:
        print(f"mien: {error}")
        return error.exit_code
    print(hashlib.sha256(got.engine).hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
