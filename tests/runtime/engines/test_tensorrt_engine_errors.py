"""What goes wrong around an engine: bad input, refusals of TensorRT, memory that runs out, a GPU that is lost."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("tensorrt_rtx") is None:
    pytest.skip('the double takes names and types from the real parser: pip install "mien[rtx]" (x86-64 only)',
                allow_module_level=True)

import two_by_two
from engine_bench import ONNX, TINY_ENGINE, Bench, faces, same
from tensorrt_double import double_engine

from runtime.engines import tensorrt_engine
from runtime.errors import BadInput, BadModel, GpuLost, MienError, Unavailable


@pytest.mark.parametrize(("arrays", "found"), [
    ({}, "found none"), ({"pixels": faces(1)}, "found pixels"), ({"faces": faces(1).astype(np.float32)}, "float32"),
    ({"faces": faces(1)[..., :40]}, r"\(1, 1, 48, 40\)"), ({"faces": faces(1)[0]}, r"\(1, 48, 48\)"),
    ({"faces": faces(1), "more": faces(1)}, "more of uint8")])
def test_arrays_that_do_not_fit_are_refused(bench: Bench, arrays: dict[str, np.ndarray], found: str) -> None:
    with pytest.raises(BadInput, match=f"expected arrays of one batch, faces of uint8.*{found}"):
        bench.open().run(arrays)


def test_inputs_of_different_batches_are_refused(bench: Bench) -> None:
    arrays = two_by_two.inputs(3)
    arrays["small"] = arrays["small"][:2]
    with pytest.raises(BadInput, match="of one batch"):
        bench.open(double_engine(two_by_two.graph())).run(arrays)


def test_strided_arrays_are_taken_as_they_look(bench: Bench) -> None:
    assert same(bench.open(), faces(9)[::-2])


@pytest.mark.parametrize(("content", "match"), [
    (b"", "found an empty file: tiny.engine"), (TINY_ENGINE[5:], "tiny.engine: .*magicTag does not match")])
def test_bytes_that_are_no_engine_are_refused_with_tensorrts_words(bench: Bench, content: bytes, match: str) -> None:
    with pytest.raises(BadModel, match=match) as caught:
        bench.open(content)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert bench.cuda.held() == {}


def test_all_engines_speak_to_one_logger_which_outlives_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    met, make = [], bench.library.Runtime

    def runtime(logger: Any) -> Any:
        met.append(id(logger))
        return make(logger)

    runtime.get_engine_validity = make.get_engine_validity  # type: ignore[attr-defined]
    monkeypatch.setattr(bench.library, "Runtime", runtime)
    bench.open().close()
    kept = [object() for _ in range(1000)]  # what was freed would be used again
    bench.open().close()
    assert len(set(met)) == 1 and len(met) == 4 and kept


def test_what_one_engine_met_is_not_anothers_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadModel, match="magicTag"):
        bench.open(TINY_ENGINE[5:])
    monkeypatch.setattr(bench.library.Runtime, "deserialize_cuda_engine", lambda self, content: None)
    with pytest.raises(BadModel, match="no reason given"):
        bench.open()


def test_an_engine_of_another_version_and_gpu_is_refused_before_it_is_loaded(bench: Bench) -> None:
    bench.behaviour.validity = 1 | 2
    with pytest.raises(BadModel, match="version mismatch, unsupported cc; build it again"):
        bench.open()


def test_a_library_that_makes_no_runtime_without_a_gpu_is_asked_nothing(bench: Bench,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = bench.library.Runtime, []

    class Picky(real):  # type: ignore[misc, valid-type]
        def __init__(self, logger: object):
            if not asked:
                asked.append(logger)
                raise TypeError("pybind11::init(): factory function returned nullptr")
            super().__init__(logger)

    monkeypatch.setattr(bench.library, "Runtime", Picky)
    assert same(bench.open(), faces(2)) and asked


def test_a_profile_smaller_than_the_batch_is_refused_at_once(bench: Bench) -> None:
    with pytest.raises(BadModel, match="for batches of up to 64, found one for up to 8: tiny.engine"):
        bench.open(double_engine(ONNX, (1, 4, 8)))
    assert bench.cuda.held() == {}


@pytest.mark.parametrize(("right", "wrong"), [(b"[-1, 1, 48, 48]", b"[-1, 1, 48, -1]"), (b"[-1, 7]", b"[3, 7]"),
                                              (b"[-1, 7]", b"[]")])
def test_axes_that_are_not_the_batch_are_refused(bench: Bench, right: bytes, wrong: bytes) -> None:
    assert right in TINY_ENGINE
    with pytest.raises(BadModel, match="vary along the first axis"):
        bench.open(TINY_ENGINE.replace(right, wrong))


def test_an_engine_without_inputs_is_refused(bench: Bench) -> None:
    with pytest.raises(BadModel, match="with inputs and outputs, found faces, logits in tiny.engine"):
        bench.open(TINY_ENGINE.replace(b'"INPUT"', b'"OUTPUT"'))


def test_a_tensorrt_that_is_too_old_is_not_tried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(bench.library.ICudaEngine, "device_memory_size_v2")
    with pytest.raises(Unavailable, match=r"expected TensorRT ≥ 10\.1, found"):
        bench.open()


@pytest.mark.parametrize("words", ["Error Code 2: OutOfMemory (Requested size was 7 bytes.)",
                                   "Error Code 1: Cuda Runtime (out of memory)"])
def test_memory_that_runs_out_while_loading_is_not_held_against_the_engine(
        bench: Bench, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    class Full(bench.library.Runtime):  # type: ignore[name-defined, misc]
        def __init__(self, logger: Any):
            super().__init__(logger)
            self.heard = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> None:
            self.heard.log(bench.library.ILogger.ERROR, words)

    monkeypatch.setattr(bench.library, "Runtime", Full)
    with pytest.raises(MienError, match="expected free memory on the GPU for tiny.engine") as caught:
        bench.open()
    assert not isinstance(caught.value, BadModel) and bench.cuda.held() == {}


def test_that_the_screening_misses_the_gpu_is_left_to_opening(bench: Bench) -> None:
    bench.behaviour.validity = int(bench.library.EngineInvalidityDiagnostics.CUDA_ERROR)
    assert same(bench.open(), faces(2))


def test_padding_holds_nobodys_face(bench: Bench) -> None:
    engine = bench.open()
    engine.run({"faces": faces(4)})
    engine.run({"faces": faces(3)})
    assert engine._opened._buffers["faces"].host[3].max() == 0


def test_a_shape_that_is_refused_is_an_error(bench: Bench) -> None:
    engine = bench.open()
    bench.behaviour.refuse_shape = True
    with pytest.raises(MienError, match=r"expected TensorRT 1\.7\.1 to take a batch of 4"):
        engine.run({"faces": faces(3)})


def test_an_error_repeats_nothing_of_earlier_runs(bench: Bench) -> None:
    engine = bench.open()
    for words in ("the first reason", "the second reason"):
        bench.behaviour.refuse_run = words
        with pytest.raises(MienError, match=f"found: {words}$"):
            engine.run({"faces": faces(3)})


def test_a_tensor_on_the_cpu_is_refused(bench: Bench) -> None:
    with pytest.raises(BadModel, match="on the GPU"):
        bench.open(double_engine(ONNX, location="HOST"))


@pytest.mark.parametrize("step", range(5))
def test_memory_that_runs_out_while_opening_leaves_nothing(bench: Bench, step: int) -> None:
    allocate = [bench.cuda.allocate_host, bench.cuda.allocate_device]
    left = [step]

    def counted(call: Callable[[int], object]) -> Callable[[int], object]:
        def asked(size: int) -> object:
            left[0] -= 1
            if left[0] < 0:
                bench.cuda.failing[call.__name__] = "expected cuMemAlloc to succeed, found out of memory"
            return call(size)
        return asked

    bench.cuda.allocate_host, bench.cuda.allocate_device = map(counted, allocate)  # type: ignore[method-assign]
    with pytest.raises(MienError, match="out of memory"):
        bench.open()
    bench.cuda.allocate_host, bench.cuda.allocate_device = allocate  # type: ignore[method-assign]
    assert bench.cuda.held() == {}
    assert same(bench.open(), faces(2))


def test_an_event_that_cannot_be_made_while_opening_leaves_nothing(bench: Bench) -> None:
    bench.cuda.failing["create_event"] = "expected cuEventCreate to succeed, found out of memory"
    with pytest.raises(MienError, match="out of memory"):
        bench.open()
    assert bench.cuda.held() == {}


def test_a_context_that_is_refused_is_an_error_with_tensorrts_words(bench: Bench) -> None:
    engine = bench.open()
    bench.behaviour.refuse_context = True
    with pytest.raises(MienError, match="to make an execution context, found: out of host memory"):
        engine.run({"faces": faces(1)})


def test_a_run_that_fails_says_tensorrts_words_and_the_next_one_works(bench: Bench) -> None:
    engine = bench.open()
    bench.behaviour.refuse_run = "Error Code 9: Internal Error\n(tactic failed)"
    with pytest.raises(MienError, match=r"batch of 4, found: Error Code 9: Internal Error \(tactic failed\)") as caught:
        engine.run({"faces": faces(3)})
    assert not isinstance(caught.value, GpuLost)
    assert same(engine, faces(3)) and same(engine, faces(3, seed=1))


@pytest.mark.parametrize("method", ["launch", "synchronize", "begin_capture", "end_capture", "copy_in", "copy_out",
                                    "record_event", "seconds_between"])
def test_a_passing_cuda_error_harms_no_later_run(bench: Bench, method: str) -> None:
    engine = bench.open()
    for turn in range(3):
        bench.cuda.failing = {method: f"expected {method} to succeed, found a passing error"}
        try:
            assert same(engine, faces(3, turn))
        except GpuLost:
            raise
        except MienError as error:
            assert "passing error" in str(error) and "capture" not in method  # without a graph a run is as good
        bench.cuda.failing = {}
        assert same(engine, faces(3, seed=9))


def test_a_broken_context_is_a_lost_gpu_for_every_engine_from_then_on(bench: Bench) -> None:
    first, second = bench.open(), bench.open()
    assert same(first, faces(3))
    bench.cuda.broken = "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"
    for engine in (first, second, first):
        with pytest.raises(GpuLost, match="illegal memory access.*restart it") as caught:
            engine.run({"faces": faces(3)})
        assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
    first.close()
    second.close()  # there is nothing to free with


def test_a_failing_run_on_a_broken_context_is_a_lost_gpu(bench: Bench) -> None:
    engine = bench.open()
    bench.behaviour.refuse_run = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
    bench.cuda.failing = {"check": "expected cuCtxSynchronize to succeed, found CUDA_ERROR_ILLEGAL_ADDRESS"}
    with pytest.raises(GpuLost, match="Error Code 1"):
        engine.run({"faces": faces(3)})


def test_a_silent_gpu_is_a_lost_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_engine, "PATIENCE", 0.2)
    engine = bench.open()
    assert same(engine, faces(3))
    bench.cuda.hang = threading.Event()
    with pytest.raises(GpuLost, match="no answer in 0.2 s"):
        engine.run({"faces": faces(3)})
    with pytest.raises(GpuLost):
        engine.run({"faces": faces(3)})
    bench.cuda.hang.set()


def test_only_a_size_that_has_run_must_answer_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_engine, "PATIENCE", 0.05)
    engine = bench.open()
    bench.cuda.hang = threading.Event()
    compiling = threading.Timer(0.3, bench.cuda.hang.set)
    compiling.start()
    assert same(engine, faces(3))
    compiling.join()
