"""How far a build is, for people: a bar on a terminal, elsewhere a plain line now and then. Knows no compiler."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from runtime.command_line import say
from runtime.engines.tensorrt_builder import Watch

EVERY = 10.0  # seconds between two plain lines: a build that is over sooner says nothing


@contextmanager
def shown_progress(what: str, every: float = EVERY) -> Iterator[Watch]:
    """Give a function for `compile_onnx(…, watch)` that shows the phase TensorRT is in; `what` names the build."""
    began = told = time.monotonic()
    with tqdm(desc=what, total=1, disable=None, leave=False, bar_format="{desc} {n_fmt}/{total_fmt} {elapsed}") as bar:

        def watch(phase: str, done: int, steps: int) -> None:
            nonlocal told
            now = time.monotonic()
            if not bar.disable:
                bar.total, bar.n = steps, done
                bar.set_description(f"{what}: {phase}")
            elif now - told >= every:
                told = now
                say(f"{what}: {phase}, {done} of {steps} steps, {now - began:.0f} s")

        yield watch
