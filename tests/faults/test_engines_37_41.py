"""Faults 37–41: what an engine cache, a compiler and a GPU do to a service. The GPU is a double; compilers are real."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from cached_engines import COMMAND, SomeDevice, builder, no_build, some_key
from kiosk import Manager, endless_folder, finish, start, wait_until, write_config
from tiny_graphs import vgg_graph

from runtime.engines import tensorrt_engine
from runtime.engines.cache import EngineCache
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.cuda_thread import CudaThread
from runtime.engines.engine_key import EngineKey
from runtime.errors import BadInput, GpuLost, MienError, Unavailable

Record = Callable[[str, object], None]
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not HAS_RTX, reason='no tensorrt_rtx here: pip install "mien[rtx]" (x86-64 only)')
KEY = some_key()


def note(record: Record, fault: str, injected: str, observed: str) -> None:
    record("fault", fault)
    record("injected", injected)
    record("observed", observed)


@pytest.mark.parametrize(("differs", "other"), [
    ("TensorRT", some_key(version="10.16.0")), ("GPU", some_key(device=SomeDevice(name="Thor", sm="sm110"))),
    ("CUDA", some_key(device=SomeDevice(cuda="13.2")))])
def test_37_cache_of_another(differs: str, other: EngineKey, tmp_path: Path, record_property: Record) -> None:
    cache = EngineCache(tmp_path / "engines")
    theirs = cache.get(other, builder(b"theirs"), COMMAND).path
    with pytest.raises(Unavailable, match=COMMAND):
        EngineCache(cache.folder, read_only=True).get(KEY, no_build, COMMAND)
    os.replace(theirs, theirs.with_name(f"{KEY.digest()}.engine"))  # somebody who means well renames it
    with pytest.raises(BadInput, match=COMMAND):
        EngineCache(cache.folder, read_only=True).get(KEY, no_build, COMMAND)
    assert cache.get(KEY, builder(b"ours"), COMMAND).engine == b"ours"
    note(record_property, f"37 cache of another {differs}", "an engine sealed for it, also under our name",
         "a service refuses it with the command to run, mien prepare compiles again; neither tries it")


def test_38_cache_tampered(tmp_path: Path, record_property: Record) -> None:
    cache = EngineCache(tmp_path / "engines")
    path = cache.get(KEY, builder(), COMMAND).path
    content, random, flips = path.read_bytes(), np.random.default_rng(0), 100
    for _ in range(flips):
        spoilt = bytearray(content)
        spoilt[int(random.integers(len(spoilt)))] ^= 1 << int(random.integers(8))
        path.write_bytes(spoilt)
        with pytest.raises(BadInput):
            EngineCache(cache.folder, read_only=True).get(KEY, no_build, COMMAND)
    note(record_property, "38 cache tampered", f"{flips} bits of a sealed engine, one at a time",
         "all refused by the seal, before anything is deserialized")


def test_39_build_killed(tmp_path: Path, record_property: Record) -> None:
    cache = EngineCache(tmp_path / "engines")
    log = tmp_path / "log"
    child = os.fork()
    if child == 0:
        log.touch()
        cache.get(KEY, lambda: signal.pause() or builder()(), COMMAND)  # type: ignore[func-returns-value]
        os._exit(0)
    try:
        wait_until(lambda: (cache.folder / ".lock").exists())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert cache.find(KEY) is None and not list(cache.folder.glob("*.engine"))
    assert cache.get(KEY, builder(), COMMAND).compiled_now
    note(record_property, "39 build killed", "SIGKILL to the process that compiles", "no part of an engine; the next "
         "prepare compiles")


@needs_rtx
def test_39_build_out_of_memory(record_property: Record) -> None:
    request = CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 16, 16), timeout_seconds=120, memory_bytes=40 << 20)
    with pytest.raises(MienError, match="stopped it; raise --memory") as caught:
        compile_onnx(vgg_graph().SerializeToString(), request)
    assert "\n" not in str(caught.value)
    note(record_property, "39 build out of memory", "NVIDIA's compiler with 40 MiB", "stopped, one line, this process "
         "lives")


@needs_rtx
def test_40_build_longer_than_its_time(record_property: Record) -> None:
    request = CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 16, 16), timeout_seconds=120)
    heard: list[tuple[str, int, int]] = []
    graph = vgg_graph().SerializeToString()
    compile_onnx(graph, request, lambda *step: heard.append(step))
    with pytest.raises(MienError, match="still running and stopped it; raise --timeout"):
        compile_onnx(graph, dataclasses.replace(request, timeout_seconds=0.05))
    assert heard
    note(record_property, "40 build longer than its time", "NVIDIA's compiler with 50 ms; and with time, watched",
         f"stopped with one line; {len(heard)} steps of progress heard where it has time")


def test_40_opening_longer_than_the_watchdog(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record
) -> None:
    config = write_config(tmp_path / "s.yaml", source=endless_folder(tmp_path / "in", face_photo), model=tiny_model,
                          events=tmp_path / "e.jsonl")
    with closing(Manager(tmp_path / "notify")) as manager:
        running = start(config, environment={**manager.environment, "WATCHDOG_USEC": "1000000"})
        wait_until(lambda: any(m.startswith("READY=1") for m in manager.heard()), running)
        running.send_signal(signal.SIGTERM)
        assert finish(running)[0] == 0
        asked = manager.heard()[0]
    assert asked.startswith("EXTEND_TIMEOUT_USEC=90000000\nWATCHDOG=1")
    note(record_property, "40 opening longer than the watchdog", "WatchdogSec=1, a start of seconds",
         "90 s more asked for before anything is opened, then READY; a service opens engines and compiles none")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An engine on a GPU that is a double, held to NVIDIA's real parser for its shapes."""
    pytest.importorskip("tensorrt_rtx", reason='this double asks the real parser: pip install "mien[rtx]"')
    from cuda_double import CudaDouble
    from engine_bench import Bench
    from tensorrt_double import Behaviour, tensorrt_double

    cuda, behaviour = CudaDouble(), Behaviour(rtx=True)
    library = tensorrt_double(cuda, behaviour)
    monkeypatch.setattr(tensorrt_engine, "load_compiler", lambda target: library)
    bench = Bench(cuda, behaviour, library, CudaThread(cuda))
    yield bench
    bench.thread.close()


@pytest.mark.parametrize("fault", ["hangs", "CUDA error"])
def test_41_inference(fault: str, gpu: object, monkeypatch: pytest.MonkeyPatch, record_property: Record) -> None:
    from engine_bench import Bench, faces, same

    assert isinstance(gpu, Bench)
    monkeypatch.setattr(tensorrt_engine, "PATIENCE", 0.2)
    engine = gpu.open()
    assert same(engine, faces(3))
    if fault == "hangs":
        gpu.cuda.hang = threading.Event()
    else:
        gpu.cuda.broken = "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"
    with pytest.raises(GpuLost) as caught:
        engine.run({"faces": faces(3)})
    if fault == "hangs":
        gpu.cuda.hang.set()
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
    note(record_property, f"41 inference: {fault}", "a GPU's double that never answers, or whose context is broken",
         "one line within its patience, exit 3 for the supervisor to restart the process; after engine_tries the next "
         "engine")
