"""How NVIDIA's libraries are listened to: one logger a process and library."""

from __future__ import annotations

import threading
import time
from types import ModuleType
from typing import Any

from runtime.engines.tensorrt_api import runtime_logger


def library() -> Any:
    """A library whose loggers take a while to make."""

    class Logger:
        def __init__(self) -> None:
            time.sleep(0.05)

    made: Any = ModuleType("a_tensorrt")
    made.ILogger = Logger
    return made


def test_threads_that_open_their_first_engines_at_once_share_a_logger() -> None:
    a_tensorrt, loggers, together = library(), [], threading.Barrier(4)

    def open_first() -> None:
        together.wait()
        loggers.append(runtime_logger(a_tensorrt))

    threads = [threading.Thread(target=open_first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loggers) == 4 and len(set(map(id, loggers))) == 1
    assert runtime_logger(library()) is not loggers[0]
