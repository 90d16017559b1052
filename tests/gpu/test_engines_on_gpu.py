"""Engines on a real GPU: built here, run here, held against PyTorch's logits and ONNX Runtime's.

One command: `python -m pytest tests/gpu`. Whoever has NVIDIA's sanitizer runs the same under it:
`compute-sanitizer --tool memcheck --target-processes all python -m pytest tests/gpu -k "not growing"`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from growing_memory import WINDOWS, growth_of_a_window

from runtime.card import Model
from runtime.engines import open_graph_on_cpu
from runtime.engines.cache import EngineCache
from runtime.engines.cuda_api import DeviceFacts
from runtime.engines.cuda_thread import shared_cuda_thread
from runtime.engines.prepared_engine import PreparedEngine, prepare_engine
from runtime.engines.tensorrt_engine import TensorRTEngine
from runtime.errors import BadModel
from runtime.golden import require_agreement
from train.datasets.labelled_faces import LabelledFaces

MIB = 1 << 20


def open_prepared(prepared: PreparedEngine, zero_copy: bool | None = None) -> TensorRTEngine:
    cached, request = prepared.cached, prepared.request
    return TensorRTEngine(cached.engine, str(cached.path), prepared.precision, request.target, request.batches,
                          zero_copy=zero_copy, kernels=cached.kernels)


def faces(model: Model, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    card = model.card
    shape = (count, card.input.channels, card.input.height, card.input.width)
    return {card.input_name: np.random.default_rng((count, seed)).integers(0, 256, shape, dtype=np.uint8)}


def test_an_engine_is_within_the_cards_bound_of_pytorch(prepared: PreparedEngine, model: Model) -> None:
    engine = open_prepared(prepared)
    for _ in range(2):  # run plainly, then from a graph
        agreement = require_agreement(model, engine, prepared.graph)
        assert agreement.largest <= agreement.bound
    engine.close()


def test_real_faces_get_onnx_runtimes_labels(prepared: PreparedEngine, model: Model, fer2013: LabelledFaces) -> None:
    images = {model.card.input_name: fer2013.split("PublicTest").images[:512].reshape(-1, 1, 48, 48)}
    expected = open_graph_on_cpu(model, prepared.graph).run(images)[model.card.output_name].argmax(1)
    found = open_prepared(prepared).run(images)[model.card.output_name].argmax(1)
    # of 512 faces: the integers of two backends may differ by a step, and so may a label that was nearly a tie
    assert (found != expected).sum() <= {"fp32": 0, "fp16": 3, "int8-gpu": 10}[prepared.graph]


def test_every_batch_gives_what_single_faces_give(prepared: PreparedEngine, model: Model) -> None:
    engine, name, output = open_prepared(prepared), model.card.input_name, model.card.output_name
    golden = model.read_golden().faces
    every = np.concatenate([golden] * (70 // len(golden) + 1))
    singles = np.concatenate([engine.run({name: face[None]})[output] for face in every])
    bound = model.card.golden_bound[prepared.graph]  # of both from PyTorch
    for count in (2, 3, 8, 33, 64, 70):
        assert np.abs(engine.run({name: every[:count]})[output] - singles[:count]).max() <= 2 * bound


def test_zero_copy_and_copied_runs_are_equal(prepared: PreparedEngine, model: Model) -> None:
    copied, mapped = open_prepared(prepared, zero_copy=False), open_prepared(prepared, zero_copy=True)
    for turn in range(3):
        for count in (1, 5):
            first, second = (e.run(faces(model, count, turn))[model.card.output_name] for e in (copied, mapped))
            assert np.array_equal(first, second)


def test_a_graphs_replay_equals_the_plain_run(prepared: PreparedEngine, model: Model) -> None:
    if not shared_cuda_thread().cuda.has_graphs:
        pytest.skip("pycuda has no CUDA graphs: pip install cuda-python")
    engine = open_prepared(prepared)
    plain = engine.run(faces(model, 4))[model.card.output_name]
    if engine.graph_batches != (4,):
        pytest.skip("this version of the library does not let this engine be recorded")
    assert np.array_equal(engine.run(faces(model, 4))[model.card.output_name], plain)


def test_the_gpus_time_is_a_part_of_each_call(prepared: PreparedEngine, model: Model) -> None:
    engine = open_prepared(prepared)
    for count in (1, 4, 4, model.card.batches[2] + 1):  # the second 4 may be a graph; the last runs in two parts
        began = time.perf_counter()
        engine.run(faces(model, count))
        taken = time.perf_counter() - began
        assert engine.last_device_seconds is not None and 0 < engine.last_device_seconds < taken


def test_a_second_preparation_compiles_nothing(prepared: PreparedEngine, model: Model, cache: EngineCache) -> None:
    again = prepare_engine(model, prepared.graph, prepared.request.target, cache)
    assert not again.cached.compiled_now and again.cached.engine == prepared.cached.engine


def test_ten_thousand_runs_hold_no_growing_memory(prepared: PreparedEngine, model: Model) -> None:
    engine = open_prepared(prepared)
    inputs = [faces(model, count) for count in (1, 2, 4, 3)]
    for turn in range(400):
        engine.run(inputs[turn % 4])
    before = resident()

    def runs() -> None:
        for turn in range(10_000 // WINDOWS):
            engine.run(inputs[turn % 4])

    # a leak of one face, 2.3 KB, at each run is 3.1 MiB a window, and 22 MiB of them all
    assert growth_of_a_window(runs, used_on_gpu) < 2 * MIB
    assert resident() - before < 16 * MIB


def test_engines_that_open_and_close_hold_no_growing_memory(prepared: PreparedEngine, model: Model) -> None:
    def life() -> None:
        engine = open_prepared(prepared)
        engine.run(faces(model, 4))
        engine.run(faces(model, 4))
        engine.close()

    for _ in range(5):
        life()
    # an engine that stays is larger than its weights, 1.9 MB or more
    assert growth_of_a_window(lambda: [life() for _ in range(4)], used_on_gpu) < 4 * MIB


def test_two_engines_run_from_many_threads(prepared: PreparedEngine, model: Model) -> None:
    engines = [open_prepared(prepared), open_prepared(prepared)]
    output = model.card.output_name
    expected = {count: engines[0].run(faces(model, count))[output] for count in (1, 2, 3, 4)}
    wrong: list[int] = []

    def work(count: int) -> None:
        for turn in range(50):
            found = engines[turn % 2].run(faces(model, count))[output]
            if not np.allclose(found, expected[count], atol=1e-3):
                wrong.append(count)

    threads = [threading.Thread(target=work, args=(count,)) for count in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: content[:64],
                                    lambda content: bytes(len(content))], ids=["half", "header", "zeros"])
def test_a_damaged_engine_is_refused_and_the_gpu_works_on(prepared: PreparedEngine, model: Model,
                                                         damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadModel, match="build it again"):
        TensorRTEngine(damage(prepared.cached.engine), "damaged", prepared.precision, prepared.request.target)
    open_prepared(prepared).run(faces(model, 1))


def test_the_gpu_names_itself(gpu: DeviceFacts) -> None:
    assert gpu.name and gpu.sm.startswith("sm") and float(gpu.cuda) >= 11


def resident() -> int:
    """Return this process's memory, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def used_on_gpu() -> int:
    """Return what the GPU's memory, on a Jetson all memory, lacks to be free, bytes: other programs' share is in it.

    A process's own pages would be no answer on a Jetson: what its GPU allocates need not be among them.
    """
    thread = shared_cuda_thread()
    if thread.cuda.has_graphs:
        driver = pytest.importorskip("cuda.bindings.driver")
        _, free, total = thread.call(driver.cuMemGetInfo)
        return int(total) - int(free)
    driver = pytest.importorskip("pycuda.driver")
    free, total = thread.call(driver.mem_get_info)
    return int(total) - int(free)
