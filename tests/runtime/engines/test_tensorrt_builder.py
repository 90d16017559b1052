"""One code path for every version: what a version lacks is left out, what it has is used. Against a double.

The real TensorRT-RTX compiles in tests/export/test_engine_from_onnx.py.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from compiler_double import (
    BARE_11,
    ENGINE,
    GOOD_GRAPH,
    RTX,
    TENSORRT_9_0,
    TENSORRT_10_3,
    TENSORRT_10_16,
    TENSORRT_11,
    Error,
    OldError,
    Surface,
    make_compiler,
)

from runtime.engines import tensorrt_builder
from runtime.engines.inspector import ask_inspector
from runtime.engines.tensorrt_builder import Built, build_engine
from runtime.errors import BadInput, BadModel, MienError, Unavailable

PROFILE = {"faces": ((1, 1, 48, 48), (4, 1, 48, 48), (64, 1, 48, 48))}
GOLDEN = {path.name.split("-")[1]: json.loads(path.read_text())
          for path in sorted((Path(__file__).parents[2] / "golden").glob("tensorrt-*-signatures.json"))}
FIXED = {"faces": ((1, 1, 48, 48),) * 3}
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
every_version = pytest.mark.parametrize("surface", [TENSORRT_10_3, TENSORRT_10_16, TENSORRT_11, BARE_11],
                                        ids=lambda surface: surface.version)

Install = Callable[..., ModuleType]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that puts a version's double where the library is imported from, on a machine with a GPU."""
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda root: "NVIDIA Jetson Orin Nano")

    def put(surface: Surface, **changes: object) -> ModuleType:
        module = make_compiler(dataclasses.replace(surface, **changes))
        monkeypatch.setitem(sys.modules, "tensorrt_rtx" if surface is RTX else "tensorrt", module)
        return module

    return put


def build(gpu: str | None = None, **more: object) -> Built:
    target = "tensorrt" if gpu is None else "tensorrt-rtx"
    return build_engine(GOOD_GRAPH, target, gpu, PROFILE, 1 << 20, **more)  # type: ignore[arg-type]


@every_version
def test_every_version_builds(install: Install, surface: Surface) -> None:
    install(surface)
    built = build(timing_cache=b"", watch=lambda *_: None)
    assert built.content == ENGINE and built.compiler_version == surface.version
    assert built.inputs == {"faces": "uint8"} and built.outputs == {"logits": "float"}


@pytest.mark.parametrize(("surface", "flags"), [
    (TENSORRT_10_3, 0b11), (TENSORRT_11, 0b1), (BARE_11, 0)], ids=["10.3", "11.4", "11 without the name"])
def test_networks_are_strongly_typed_by_name(install: Install, surface: Surface, flags: int) -> None:
    module = install(surface)
    build()
    assert module.told["flags"] == flags


def test_a_version_without_strong_types_is_refused(install: Install) -> None:
    install(TENSORRT_9_0)
    with pytest.raises(Unavailable, match=r"9\.1.*found 9\.0\.1; update it"):
        build()


def test_tf32_is_cleared_and_recorded(install: Install) -> None:
    module = install(TENSORRT_10_3)
    assert build().tf32 is False
    assert module.told["configs"][0].cleared == ["TF32"]


def test_a_version_without_tf32_says_that_it_knows_none(install: Install) -> None:
    install(BARE_11)
    assert build().tf32 is None


@pytest.mark.parametrize(("surface", "flags"), [(TENSORRT_10_3, []), (RTX, ["REQUIRE_USER_ALLOCATION"])])
def test_memory_is_the_callers_where_cuda_graphs_ask_for_it(
    install: Install, surface: Surface, flags: list[str]
) -> None:
    module = install(surface)
    build(gpu="sm86" if surface is RTX else None)
    assert module.told["configs"][0].flags == flags


def test_layers_are_named_in_detail(install: Install) -> None:
    module = install(TENSORRT_10_3)
    build()
    assert module.told["configs"][0].profiling_verbosity == "detailed"


def test_the_workspace_and_the_batches_reach_the_builder(install: Install) -> None:
    module = install(TENSORRT_10_3)
    build()
    config = module.told["configs"][0]
    assert config.pools == {"workspace": 1 << 20} and config.profiles[0].shapes == PROFILE
    assert module.told["network"].input.shape == (-1, 1, 48, 48)


def test_three_equal_shapes_fix_the_networks_own(install: Install) -> None:
    module = install(TENSORRT_10_3)
    build_engine(GOOD_GRAPH, "tensorrt", None, FIXED, 1 << 20)
    assert module.told["network"].input.shape == (1, 1, 48, 48)


def test_progress_is_told_with_its_steps(install: Install) -> None:
    install(TENSORRT_10_3)
    heard: list[tuple[str, int, int]] = []
    build(watch=lambda *step: heard.append(step))
    assert heard == [("Building engine", 0, 2), ("Timing graph nodes", 0, 5), ("Timing graph nodes", 1, 5)]


def test_the_builders_log_says_what_memory_it_took(install: Install) -> None:
    install(TENSORRT_10_3)
    assert build().memory == {"weights_bytes": 1924804, "build_gpu_peak_bytes": 4 << 20}


def test_a_timing_cache_goes_in_and_comes_out(install: Install) -> None:
    module = install(TENSORRT_10_3)
    assert build(timing_cache=b"old timings").timing_cache == b"new timings"
    assert module.told["configs"][0].cache.content == b"old timings"


def test_another_devices_timing_cache_is_begun_anew(install: Install) -> None:
    module = install(TENSORRT_10_3, accepts_timings=False)
    assert build(timing_cache=b"of another device").timing_cache == b"new timings"
    assert module.told["configs"][0].cache_contents == [b"of another device", b""]


def test_without_a_timing_cache_none_is_made(install: Install) -> None:
    module = install(TENSORRT_10_3)
    assert build().timing_cache == b"" and module.told["configs"][0].cache_contents == []


def test_every_parser_error_is_told_with_its_node(install: Install) -> None:
    errors = (Error("conv", "no\nkernel"), OldError(7, "no importer"))
    install(TENSORRT_10_3, parser_errors=errors)
    with pytest.raises(BadModel, match="tensorrt 10.3.0 parses, found: conv: no kernel; node 7: no importer"):
        build()


def test_a_compiler_whose_cuda_does_not_start_says_why(install: Install) -> None:
    install(TENSORRT_10_3, starts=False)
    with pytest.raises(Unavailable, match="CUDA initialization failure with error: 35; mien doctor"):
        build()


def test_one_engine_for_several_generations(install: Install) -> None:
    module = install(RTX)
    assert build("sm86,sm120").gpus == ("sm86", "sm120")
    config = module.told["configs"][0]
    assert config.num_compute_capabilities == 2 and config.capabilities == {0: "SM86", 1: "SM120"}


def test_all_is_every_generation_the_version_knows(install: Install) -> None:
    install(RTX)
    built = build("all")
    assert built.gpus == ("sm75", "sm86", "sm120") and built.left_out == {}


def test_all_leaves_out_the_generations_that_refuse_the_graph_and_says_why(install: Install) -> None:
    module = install(RTX, refuses=("SM75",))
    built = build("all")
    assert built.gpus == ("sm86", "sm120") and built.left_out == {"sm75": "no code for SM75"}
    assert module.told["configs"][-1].capabilities == {0: "SM86", 1: "SM120"}


def test_a_generation_that_was_named_is_never_left_out(install: Install) -> None:
    install(RTX, refuses=("SM75",))
    with pytest.raises(MienError, match="found: no code for SM75; try another precision"):
        build("sm75,sm86")


def test_all_fails_where_every_generation_refuses(install: Install) -> None:
    install(RTX, refuses=RTX.generations)
    with pytest.raises(MienError, match="to build the engine, found: no code"):
        build("all")


@pytest.mark.parametrize("gpu", ["sm53", "sm86,sm53", "sm86,sm86", "", "SM86"])
def test_a_generation_that_is_not_known_is_refused(install: Install, gpu: str) -> None:
    install(RTX)
    with pytest.raises(BadInput, match="expected a GPU of sm75, sm86, sm120, all, found"):
        build(gpu)


def test_a_compiler_that_only_builds_in_place_refuses_generations(install: Install) -> None:
    install(TENSORRT_10_3)
    with pytest.raises(BadInput, match="this machine only, found all; leave out --gpu with tensorrt"):
        build_engine(GOOD_GRAPH, "tensorrt", "all", PROFILE, 1 << 20)


@every_version
def test_the_inspector_is_asked_with_shapes_set(install: Install, surface: Surface) -> None:
    module = install(surface)
    assert ask_inspector(ENGINE, "tensorrt", {"faces": [4, 1, 48, 48]}) == surface.inspected
    assert module.told["inspected_shape"] == ("faces", (4, 1, 48, 48))


def test_an_engine_that_does_not_open_is_told_in_tensorrts_words(install: Install) -> None:
    install(TENSORRT_10_3, opens=False)
    with pytest.raises(MienError, match="to open its own engine, found: deserialization failed"):
        ask_inspector(ENGINE, "tensorrt", {})


def signatures(function: object) -> list[list[tuple[str, bool]]]:
    """Return each overload's parameters, `self` left out, as (name, may be left out), from a pybind11 docstring."""
    overloads = re.findall(r"\(self: [\w.]+(?:, )?(.*?)\) ->", function.__doc__ or "", re.DOTALL)
    return [[(name, " = " in rest) for name, rest in re.findall(r"(\w+): (.*?)(?=, \w+: |$)", overload)]
            for overload in overloads]


def takes(overload: list[tuple[str, bool]], wanted: list[str]) -> bool:
    """Can a function be called with these parameters, and with no others?"""
    return [name for name, _ in overload[:len(wanted)]] == wanted and all(free for _, free in overload[len(wanted):])


def methods(surface: Surface) -> list[tuple[str, str, list[str]]]:
    """Return the double's methods: class, name, parameters."""
    parts = [(name, part) for name, part in vars(make_compiler(surface)).items() if inspect.isclass(part)]
    return [(name, method, list(inspect.signature(function).parameters)[1:]) for name, part in parts
            for method, function in vars(part).items() if inspect.isfunction(function) and not method.startswith("_")]


@needs_rtx
@pytest.mark.parametrize(("kind", "method", "wanted"), methods(RTX))
def test_a_method_of_the_double_takes_what_tensorrt_rtxs_takes(kind: str, method: str, wanted: list[str]) -> None:
    real = importlib.import_module("tensorrt_rtx")
    assert any(takes(overload, wanted) for overload in signatures(getattr(getattr(real, kind), method)))


@pytest.mark.parametrize("version", GOLDEN)
@pytest.mark.parametrize(("kind", "method", "wanted"), methods(TENSORRT_10_3))
def test_a_method_of_the_double_takes_what_tensorrts_takes(kind: str, method: str, wanted: list[str],
                                                           version: str) -> None:
    assert wanted in [overload[:len(wanted)] for overload in GOLDEN[version]["classes"][kind][method]]


@pytest.mark.parametrize(("surface", "version"), [(TENSORRT_10_3, "10.3"), (TENSORRT_10_16, "10.16"),
                                                  (TENSORRT_11, "11.4")], ids=lambda it: str(it)[:5])
def test_a_versions_flags_are_its_own(surface: Surface, version: str) -> None:
    """STRONGLY_TYPED is another number in TensorRT 11, and EXPLICIT_BATCH is gone."""
    flags = GOLDEN[version]["enums"]["NetworkDefinitionCreationFlag"]
    assert surface.network_flags.items() <= flags.items()
    assert ("EXPLICIT_BATCH" in surface.network_flags) == ("EXPLICIT_BATCH" in flags)
    assert set(surface.builder_flags) <= GOLDEN[version]["enums"]["BuilderFlag"].keys()


@needs_rtx
def test_the_monitor_has_the_methods_that_the_real_one_calls() -> None:
    real = importlib.import_module("tensorrt_rtx")
    monitor = type(tensorrt_builder._make_monitor(real, lambda *_: None))
    for method in ("phase_start", "step_complete", "phase_finish"):
        told = signatures(getattr(real.IProgressMonitor, method))
        assert takes(told[0], list(inspect.signature(getattr(monitor, method)).parameters)[1:])
