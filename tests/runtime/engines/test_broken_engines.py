"""Engines that are wrong on purpose, one line each, against the doubles: each is caught, and the right one is not.

The wrong engine is the real one's source with that line changed, so that a test fails too when the line is gone.
"""

from __future__ import annotations

import gc
import importlib.util
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tiny_model import TinyNetwork

if importlib.util.find_spec("tensorrt_rtx") is None:
    pytest.skip('the double takes names and types from the real parser: pip install "mien[rtx]" (x86-64 only)',
                allow_module_level=True)

from cuda_double import CudaDouble
from tensorrt_double import Behaviour, double_engine, tensorrt_double

from runtime.engines import cuda_buffers, cuda_thread, device_timer, fixed_batch, opened_engine, tensorrt_engine
from runtime.errors import MienError

TINY = TinyNetwork.random()
ENGINE = double_engine(TINY.graph().SerializeToString())
OF_NO_USER = ("free_host", "destroy_event", "destroy_stream", "destroy_engine")  # nothing that ends later needs these


def complaints(thread_module: ModuleType, library_double: dict[str, bool], patch: pytest.MonkeyPatch) -> list[str]:
    """Drive an engine through its life and return what was wrong."""
    cuda, behaviour = CudaDouble(**library_double), Behaviour()
    library = tensorrt_double(cuda, behaviour)
    patch.setattr(tensorrt_engine, "load_compiler", lambda target: library)
    thread = thread_module.CudaThread(cuda)
    found: list[str] = []

    def run(engine: tensorrt_engine.TensorRTEngine, count: int, seed: int) -> np.ndarray:
        images = np.random.default_rng((count, seed)).integers(0, 256, (count, 1, 48, 48), dtype=np.uint8)
        logits = engine.run({"faces": images})["logits"]
        if not np.allclose(logits, TINY.logits(images), atol=1e-4):
            found.append(f"wrong logits of {count} faces")
        return logits

    def live() -> None:
        engine = tensorrt_engine.TensorRTEngine(ENGINE, "tiny.engine", "fp32", "tensorrt-rtx", thread=thread)
        for turn in range(3):
            for count in (1, 3, 70):
                logits = run(engine, count, turn)
                kept = logits.copy()
                run(engine, count, turn + 9)
                if not np.array_equal(kept, logits):
                    found.append("a result changed after it was returned")
        if engine.graph_batches != (1, 4, 8, 64) * cuda.has_graphs:
            found.append(f"graphs of {engine.graph_batches}")
        other = threading.Thread(target=lambda: guarded(lambda: run(engine, 2, 0)))
        other.start()
        other.join()
        cuda.events.clear()
        engine.close()
        order = [event for event in cuda.events if event not in OF_NO_USER]
        each_size = ["destroy_graph"] * cuda.has_graphs + ["destroy_context"]
        if order != ["synchronize", *each_size * 5, *["free_device"] * (1 if cuda.integrated else 3)]:
            found.append(f"freed in the order {order}")
        try:
            engine.run({"faces": np.zeros((1, 1, 48, 48), np.uint8)})
            found.append("a closed engine ran")
        except MienError:
            pass
        tensorrt_engine.TensorRTEngine(ENGINE, "tiny.engine", "fp32", "tensorrt-rtx", thread=thread)  # and forget it
        gc.collect()

    def guarded(work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")

    guarded(live)
    gc.collect()
    guarded(thread.close)
    return found + cuda.misuses + [f"{count} {kind} not given back" for kind, count in cuda.held().items()]


def with_change(module: ModuleType, right: str, wrong: str) -> ModuleType:
    """Return the module with one piece of its source changed."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {module.__name__}"
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(source.replace(right, wrong), str(module.__file__), "exec"), changed.__dict__)
    return changed


KINDS = {"discrete": {}, "integrated": {"integrated": True}, "pycuda": {"has_graphs": False}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_real_engine_raises_no_complaint(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaints(cuda_thread, KINDS[kind], monkeypatch) == []


WRONG = {
    "a missing synchronize":
        (fixed_batch, "        self._cuda.synchronize(self._stream)\n", ""),
    "a synchronize before the work instead of after it":
        (fixed_batch, "        self._timer.start()\n        if self._graph is None:\n            self._queue()\n"
         "        else:\n            self._cuda.launch(self._graph, self._stream)\n        self._timer.stop()\n        "
         "self._cuda.synchronize(self._stream)\n        seconds = self._timer.seconds()\n",
         "        self._cuda.synchronize(self._stream)\n        seconds = 0.0\n        if self._graph is None:\n"
         "            self._queue()\n        else:\n            self._cuda.launch(self._graph, self._stream)\n"),
    "a time asked for before it is there":
        (fixed_batch, "        self._cuda.synchronize(self._stream)\n        seconds = self._timer.seconds()\n",
         "        seconds = self._timer.seconds()\n        self._cuda.synchronize(self._stream)\n"),
    "a clock that is recorded into the graph":
        (fixed_batch, "        try:\n            self._queue()\n",
         "        try:\n            self._timer.start()\n            self._queue()\n"),
    "events that are never destroyed":
        (device_timer, "        held.callback(self._cuda.destroy_event, event)\n", ""),
    "inputs that are not copied": (fixed_batch, "buffer.copy_in(self._rows, self._stream)", "pass"),
    "outputs that are not copied": (fixed_batch, "buffer.copy_out(self._rows, self._stream)", "pass"),
    "a recording of the first run":
        (fixed_batch, "        self._timer.start()\n",
         "        if self._may_record:\n            self._may_record = False\n            self._record()\n"
         "        self._timer.start()\n"),
    "a graph that outlives its context":
        (fixed_batch, "        self._held.close()\n        self._context = None\n",
         "        self._context = None\n        self._held.close()\n"),
    "a graph that is never destroyed":
        (fixed_batch, "            self._held.callback(self._cuda.destroy_graph, self._graph)\n", ""),
    "one context for graphs of several sizes":
        (opened_engine, "context = self._engine.create_execution_context(self._context_config)",
         "context = self._only = getattr(self, '_only', None) or "
         "self._engine.create_execution_context(self._context_config)"),
    "results that are the reused buffers":
        (opened_engine, "result[start:stop] = self._buffers[name].host[: stop - start]",
         "results[name] = self._buffers[name].host[: stop - start]"),
    "a use after close":
        (opened_engine, '        if self._held is None:\n            raise MienError("expected an open engine, found a '
         'closed one")\n', ""),
    "no wait before freeing":
        (opened_engine, "held.callback(cuda.synchronize, self._stream)", "pass"),
    "batches that are not closed": (opened_engine, "            held.callback(self._close_batches)\n", ""),
    "memory that is freed under its contexts":
        (opened_engine, "            held.callback(self._close_batches)\n",
         "            held.callback(self._close_batches)\n"
         "            held.callback(cuda.free_device, self._memory)\n"),
    "a memory that a context may not have":
        (opened_engine, "            context.set_device_memory(self._memory, self._memory_bytes)\n", ""),
    "pinned memory freed at once":
        (cuda_buffers, "held.callback(cuda.free_host, self._pinned)", "cuda.free_host(self._pinned)"),
    "pinned memory never freed": (cuda_buffers, "        held.callback(cuda.free_host, self._pinned)\n", ""),
    "a context used on the caller's thread":
        (cuda_thread, "if threading.current_thread() is self._thread:", "if True:"),
    "an end on the caller's thread":
        (tensorrt_engine, "self._thread.call_later, self._opened.close)", "self._opened.close)"),
    "a forgotten engine that is not closed":
        (tensorrt_engine, "weakref.finalize(self, self._thread.call_later, self._opened.close).atexit = False", "pass"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a wrong end is wrong in a finalizer
@pytest.mark.parametrize("what", WRONG)
def test_the_doubles_catch(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, right, wrong = WRONG[what]
    changed = with_change(module, right, wrong)
    place = {fixed_batch: (opened_engine, "FixedBatch"), cuda_buffers: (opened_engine, "TensorBuffer"),
             device_timer: (opened_engine, "DeviceTimer"), opened_engine: (tensorrt_engine, "OpenEngine"),
             tensorrt_engine: (tensorrt_engine, "TensorRTEngine")}
    if module in place:
        user, name = place[module]
        monkeypatch.setattr(user, name, getattr(changed, name))
        # a changed tensorrt_engine has its own names; the double goes where it looks
        monkeypatch.setattr(changed, "load_compiler", lambda name: tensorrt_engine.load_compiler(name), raising=False)
    assert complaints(changed if module is cuda_thread else cuda_thread, {}, monkeypatch) != []
