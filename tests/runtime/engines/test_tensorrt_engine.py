"""The engine that runs TensorRT's engines, on doubles of TensorRT and of a GPU; ONNX Runtime computes the numbers."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_model import TinyNetwork

if importlib.util.find_spec("tensorrt_rtx") is None:
    pytest.skip('the double takes names and types from the real parser: pip install "mien[rtx]" (x86-64 only)',
                allow_module_level=True)

import two_by_two
from cuda_double import Misuse
from engine_bench import ONNX, TINY_ENGINE, Bench, MakeBench, faces, same
from tensorrt_double import double_engine

from runtime.card import load_model
from runtime.engines.jit_kernels import KernelFile
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import MienError
from train.datasets.labelled_faces import LabelledFaces

KINDS = pytest.mark.parametrize("kind", [
    {}, {"rtx": False}, {"has_graphs": False}, {"integrated": True}, {"integrated": True, "has_graphs": False}],
    ids=["rtx", "tensorrt", "pycuda", "jetson", "jetson-pycuda"])


@KINDS
def test_every_kind_of_gpu_gives_numpys_logits(make_bench: MakeBench, kind: dict[str, bool]) -> None:
    engine = make_bench(**kind).open()
    for turn in range(3):  # the first run, the first graph, the graph again
        assert all(same(engine, faces(count, turn)) for count in (1, 3, 4, 9))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 150), min_size=1, max_size=4))
def test_any_order_of_any_batches_gives_numpys_logits(make_bench: MakeBench, counts: list[int]) -> None:
    engine = make_bench().open()
    assert all(same(engine, faces(count, turn)) for turn, count in enumerate(counts))
    engine.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_real_faces_get_the_cpu_engines_logits(make_bench: MakeBench, fer2013: LabelledFaces, precision: str) -> None:
    content = load_model(Path("mien-light")).read_graph(precision)
    images = fer2013.split("PublicTest").images[:24].reshape(-1, 1, 48, 48)
    engine = make_bench(integrated=precision == "fp16").open(double_engine(content, (1, 4, 8)), (1, 4, 8))
    expected = OnnxRuntimeEngine(content, "mien-light", precision).run({"faces": images})["logits"]
    for _ in range(2):
        # 24 faces run as three batches of 8: INT8 rounds otherwise than a batch of 24 in the last bit of a scale
        assert np.abs(engine.run({"faces": images})["logits"] - expected).max() < 1e-3


def test_the_specs_are_the_parsers(bench: Bench) -> None:
    engine = bench.open()
    assert [(i.name, i.dtype, i.shape) for i in engine.inputs] == [("faces", np.uint8, (None, 1, 48, 48))]
    assert [(o.name, o.dtype, o.shape) for o in engine.outputs] == [("logits", np.float32, (None, 7))]
    assert (engine.target, engine.precision) == ("tensorrt-rtx", "fp32")


@KINDS
def test_several_inputs_and_outputs_of_several_types_keep_their_names(make_bench: MakeBench,
                                                                      kind: dict[str, bool]) -> None:
    engine = make_bench(**kind).open(double_engine(two_by_two.graph()))
    for count in (3, 3, 70):
        arrays = two_by_two.inputs(count)
        found, expected = engine.run(arrays), two_by_two.outputs(arrays)
        assert found.keys() == expected.keys()
        assert all(found[n].dtype == expected[n].dtype and np.array_equal(found[n], expected[n]) for n in expected)


def test_a_batch_keeps_every_inputs_profile(bench: Bench) -> None:
    content = double_engine(two_by_two.graph())
    narrower = content.replace(b"[[1, 3], [4, 3], [64, 3]]", b"[[2, 3], [4, 3], [32, 3]]")
    engine = bench.open(narrower, (2, 4, 32))
    for count in (1, 40):
        arrays = two_by_two.inputs(count)
        assert np.array_equal(engine.run(arrays)["double"], two_by_two.outputs(arrays)["double"])
    assert narrower != content and bench.behaviour.executions == [2, 32, 8]


def test_results_are_the_callers_own(bench: Bench) -> None:
    engine = bench.open()
    first = engine.run({"faces": faces(4)})["logits"]
    kept = first.copy()
    engine.run({"faces": faces(4, seed=9)})
    engine.close()
    assert np.array_equal(first, kept)


def test_no_faces_give_no_logits_and_no_work(bench: Bench) -> None:
    assert bench.open().run({"faces": faces(0)})["logits"].shape == (0, 7)
    assert bench.behaviour.executions == []


def test_a_batch_is_padded_to_a_power_of_two_and_split_at_the_largest(bench: Bench) -> None:
    engine = bench.open()
    for count in (1, 3, 5, 64, 130):
        engine.run({"faces": faces(count)})
    assert bench.behaviour.executions == [1, 4, 8, 64, 64, 64, 2]


def test_an_engine_of_one_fixed_batch_takes_any(make_bench: MakeBench) -> None:
    bench = make_bench()
    engine = bench.open(double_engine(ONNX, (4, 4, 4)), (4, 4, 4))
    assert all(same(engine, faces(count)) for count in (1, 4, 11))
    assert set(bench.behaviour.executions) == {4}


def test_after_the_first_run_a_batch_is_a_graph(bench: Bench) -> None:
    engine = bench.open()
    for count in (1, 3):
        engine.run({"faces": faces(count)})
    assert engine.graph_batches == (1, 4) and bench.cuda.launches == 0
    assert same(engine, faces(3, seed=5)) and bench.cuda.launches == 1


def test_without_cuda_python_there_are_no_graphs(make_bench: MakeBench) -> None:
    engine = make_bench(has_graphs=False).open()
    engine.run({"faces": faces(3)})
    assert engine.graph_batches == ()


def test_rtx_is_asked_whether_it_can_be_recorded(bench: Bench) -> None:
    bench.behaviour.capturable = False
    engine = bench.open()
    assert same(engine, faces(3)) and same(engine, faces(3, seed=1)) and engine.graph_batches == ()
    assert "begin_capture" not in bench.cuda.events


def test_what_cannot_be_recorded_runs_on_without_a_graph(make_bench: MakeBench) -> None:
    bench = make_bench(rtx=False)  # TensorRT cannot be asked: the recording itself fails
    bench.behaviour.capturable = False
    engine = bench.open()
    assert same(engine, faces(3)) and same(engine, faces(3, seed=1))
    assert engine.graph_batches == () and "graphs" not in bench.cuda.held()


@pytest.mark.parametrize(("integrated", "zero_copy", "copies"), [
    (True, None, 0), (False, None, 2), (False, True, 0), (True, False, 2)])
def test_an_integrated_gpu_copies_nothing_unless_told(make_bench: MakeBench, integrated: bool, zero_copy: bool | None,
                                                      copies: int) -> None:
    bench = make_bench(integrated=integrated, has_graphs=False)
    engine = bench.open(zero_copy=zero_copy)
    assert same(engine, faces(3)) and bench.cuda.copies == copies


def test_memory_is_allocated_once(bench: Bench) -> None:
    engine = bench.open()
    held = bench.cuda.held()
    for turn in range(30):
        engine.run({"faces": faces(1 + turn % 3)})
    assert bench.cuda.held() == held | {"graphs": 3}
    assert bench.behaviour.contexts == 3


def test_closing_gives_everything_back_in_reverse(bench: Bench) -> None:
    engine = bench.open()
    engine.run({"faces": faces(2)})
    bench.cuda.events.clear()
    engine.close()
    assert bench.cuda.held() == {}
    # nothing is freed while in use; a context outlives its graph, its memory outlives the context
    assert bench.cuda.events == ["synchronize", "destroy_graph", "destroy_context", "free_device", "free_device",
                                 "free_host", "free_device", "free_host", "destroy_event", "destroy_event",
                                 "destroy_stream", "destroy_engine"]


def test_an_engine_that_is_forgotten_ends_on_the_cuda_thread(bench: Bench) -> None:
    bench.open().run({"faces": faces(2)})
    gc.collect()
    bench.thread.call(lambda: None)  # what the collection asked for was asked before
    assert bench.cuda.held() == {} and bench.cuda.misuses == []


def test_a_closed_engine_does_not_run(bench: Bench) -> None:
    engine = bench.open()
    engine.close()
    engine.close()
    with pytest.raises(MienError, match="found a closed one"):
        engine.run({"faces": faces(1)})


def test_many_threads_share_an_engine(bench: Bench) -> None:
    engine = bench.open()
    wrong: list[int] = []

    def work(seed: int) -> None:
        for turn in range(10):
            if not same(engine, faces(1 + seed, turn)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_engines_share_the_gpu(bench: Bench) -> None:
    other = TinyNetwork.random(seed=5)
    first, second = bench.open(), bench.open(double_engine(other.graph().SerializeToString()))
    for turn in range(3):
        assert same(first, faces(3, turn))
        found = second.run({"faces": faces(3, turn)})["logits"]
        assert np.allclose(found, other.logits(faces(3, turn)), atol=1e-4)
    first.close()
    assert np.allclose(second.run({"faces": faces(9)})["logits"], other.logits(faces(9)), atol=1e-4)


@KINDS
def test_the_gpus_share_of_each_run_is_told_by_its_own_clock(make_bench: MakeBench, kind: dict[str, bool]) -> None:
    """The double takes a millisecond for each thing done: a copy in, the network, a copy out; nothing is copied where
    memory is shared."""
    engine = make_bench(**kind).open()
    part = 0.001 if kind.get("integrated") else 0.003
    assert engine.last_device_seconds is None
    for turn in range(3):  # plain, then replayed
        engine.run({"faces": faces(3, turn)})
        assert engine.last_device_seconds == part
    engine.run({"faces": faces(64 + 3)})
    assert engine.last_device_seconds == 2 * part


def test_a_run_that_fails_leaves_the_clock_right(bench: Bench) -> None:
    engine = bench.open()
    bench.behaviour.refuse_run = "Error Code 9"
    with pytest.raises(MienError):
        engine.run({"faces": faces(3)})
    engine.run({"faces": faces(3)})
    engine.run({"faces": faces(3)})
    assert engine.last_device_seconds == 0.003


def test_kernels_are_kept_after_the_first_run_of_a_size_and_found_again(bench: Bench, tmp_path: Path) -> None:
    file = KernelFile(tmp_path / "tiny.kernels", b"s" * 32, hashlib.sha256(TINY_ENGINE).hexdigest())
    engine = bench.open(kernels=file)
    assert not file.path.exists()
    engine.run({"faces": faces(3)})
    assert file.load() == b"kernels of [4]"
    engine.run({"faces": faces(1)})
    assert file.load() == b"kernels of [1, 4]"
    bench.open(kernels=file)
    assert bench.behaviour.kernels_taken == b"kernels of [1, 4]"


def test_kernels_are_kept_of_a_size_whose_first_run_failed(bench: Bench, tmp_path: Path) -> None:
    file = KernelFile(tmp_path / "tiny.kernels", b"s" * 32, "0")
    engine = bench.open(kernels=file)
    bench.behaviour.refuse_run = "Error Code 9"
    with pytest.raises(MienError):
        engine.run({"faces": faces(3)})
    assert file.load() is None and same(engine, faces(3)) and file.load() == b"kernels of [4]"


def test_tensorrt_keeps_no_kernels(make_bench: MakeBench, tmp_path: Path) -> None:
    engine = make_bench(rtx=False).open(kernels=KernelFile(tmp_path / "kernels", b"s" * 32, "0"))
    assert same(engine, faces(3))
    assert list(tmp_path.iterdir()) == []


def test_shapes_compile_their_own_kernels_before_they_are_recorded(bench: Bench) -> None:
    config = bench.open()._opened._context_config
    strategy = bench.library.DynamicShapesKernelSpecializationStrategy
    assert config.dynamic_shapes_kernel_specialization_strategy == strategy.EAGER


def test_the_double_forgives_nothing(bench: Bench) -> None:
    with pytest.raises(Misuse, match="on thread MainThread"):
        bench.cuda.allocate_device(8)
    bench.cuda.misuses.clear()
