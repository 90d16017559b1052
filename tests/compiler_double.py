"""A double of TensorRT's compiler: as much of its Python surface as `tensorrt_builder.py` and `inspector.py` touch.

Versions differ in what they lack, so each is made from the names it has. It parses and compiles nothing; what it was
told is kept in `told`. tests/runtime/engines/test_tensorrt_builder.py holds its signatures against the real library's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

ENGINE = b"serialized engine"
GOOD_GRAPH = b"a graph that parses"


@dataclass
class Surface:
    """What one version has; `refuses` are the generations it makes no code for."""

    version: str
    network_flags: dict[str, int] = field(default_factory=lambda: {"STRONGLY_TYPED": 1, "EXPLICIT_BATCH": 0})
    builder_flags: tuple[str, ...] = ("TF32",)
    verbosity: bool = True
    monitor: bool = True
    timing_cache: bool = True
    generations: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    parser_errors: tuple[Any, ...] = ()
    timings: bytes = b"new timings"
    accepts_timings: bool = True
    inspected: str = '{"Layers": ["one"]}'
    opens: bool = True
    starts: bool = True


TENSORRT_10_3 = Surface("10.3.0")
TENSORRT_10_16 = Surface("10.16.1")
TENSORRT_11 = Surface("11.4.0", network_flags={"STRONGLY_TYPED": 0})
BARE_11 = Surface("11.9.0", network_flags={}, builder_flags=(), verbosity=False, monitor=False, timing_cache=False)
TENSORRT_9_0 = Surface("9.0.1", network_flags={"EXPLICIT_BATCH": 0})
RTX = Surface("1.7.1", network_flags={"STRONGLY_TYPED": 0}, builder_flags=("TF32", "REQUIRE_USER_ALLOCATION"),
              generations=("SM75", "SM86", "SM120"))


class Error:
    """A parser error as TensorRT 10.1 and later describe it."""

    def __init__(self, node_name: str, desc: str):
        self._node_name, self._desc = node_name, desc

    def node_name(self) -> str:
        return self._node_name

    def desc(self) -> str:
        return self._desc


class OldError:
    """A parser error before nodes had names there."""

    def __init__(self, node: int, desc: str):
        self._node, self._desc = node, desc

    def node(self) -> int:
        return self._node

    def desc(self) -> str:
        return self._desc


def make_compiler(surface: Surface) -> ModuleType:  # one function: the classes know each other and the surface
    """Return a module that looks like `tensorrt` (or `tensorrt_rtx`) of a version; `module.told` is what it heard."""
    module = ModuleType("tensorrt")
    told: dict[str, Any] = {"configs": []}

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IProgressMonitor:
        pass

    class ITimingCache:
        def __init__(self, content: bytes):
            self.content = content

        def serialize(self) -> bytes:
            return surface.timings

    class IBuilderConfig:
        def __init__(self) -> None:
            self.cleared: list[Any] = []
            self.flags: list[Any] = []
            self.pools: dict[Any, int] = {}
            self.profiles: list[Any] = []
            self.capabilities: dict[int, Any] = {}
            self.cache: ITimingCache | None = None
            self.cache_contents: list[bytes] = []

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self.pools[pool] = pool_size

        def clear_flag(self, flag: Any) -> None:
            self.cleared.append(flag)

        def set_flag(self, flag: Any) -> None:
            self.flags.append(flag)

        def add_optimization_profile(self, profile: Any) -> int:
            self.profiles.append(profile)
            return 0

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            if cache.content and not surface.accepts_timings:
                return False
            self.cache = cache
            return True

        def get_timing_cache(self) -> ITimingCache | None:
            return self.cache

    if surface.verbosity:
        IBuilderConfig.profiling_verbosity = None
        module.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    if surface.monitor:
        IBuilderConfig.progress_monitor = None
        module.IProgressMonitor = IProgressMonitor
    if surface.timing_cache:

        def create_timing_cache(self: IBuilderConfig, serialized_timing_cache: bytes) -> ITimingCache:
            self.cache_contents.append(serialized_timing_cache)
            return ITimingCache(serialized_timing_cache)

        IBuilderConfig.create_timing_cache = create_timing_cache
    if surface.generations:
        module.ComputeCapability = SimpleNamespace(**{name: name for name in surface.generations})

        def set_compute_capability(self: IBuilderConfig, compute_capability: Any, index: int) -> bool:
            self.capabilities[index] = compute_capability
            return True

        IBuilderConfig.set_compute_capability = set_compute_capability

    class IOptimizationProfile:
        def __init__(self) -> None:
            self.shapes: dict[str, tuple[Any, Any, Any]] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self.shapes[input] = (min, opt, max)

    class INetworkDefinition:
        num_layers, num_inputs, num_outputs = 3, 1, 1

        def __init__(self) -> None:
            self.input = SimpleNamespace(name="faces", dtype=SimpleNamespace(name="UINT8"), shape=(-1, 1, 48, 48))
            self.output = SimpleNamespace(name="logits", dtype=SimpleNamespace(name="FLOAT"), shape=(-1, 7))

        def get_input(self, index: int) -> Any:
            return self.input

        def get_output(self, index: int) -> Any:
            return self.output

    class Builder:
        def __init__(self, logger: Any):
            if not surface.starts:
                logger.log(ILogger.ERROR, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.logger = logger

        def create_network(self, flags: int) -> INetworkDefinition:
            told["flags"], told["network"] = flags, INetworkDefinition()
            return told["network"]

        def create_builder_config(self) -> IBuilderConfig:
            told["configs"].append(IBuilderConfig())
            return told["configs"][-1]

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            refused = [name for name in config.capabilities.values() if name in surface.refuses]
            if refused:
                self.logger.log(ILogger.ERROR, f"no code\nfor {refused[0]}")
                return None
            self.logger.log(ILogger.INFO, "Total Weights Memory: 1924804 bytes")
            self.logger.log(ILogger.INFO, "[MemUsageStats] Peak memory usage of TRT CPU/GPU memory allocators: "
                                          "CPU 1 MiB, GPU 4 MiB")
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building engine", None, 2)
                monitor.phase_start("Timing graph nodes", "Building engine", 5)
                assert monitor.step_complete("Timing graph nodes", 0)
                monitor.phase_finish("Timing graph nodes")
            return ENGINE

    class OnnxParser:
        num_errors = len(surface.parser_errors)

        def __init__(self, network: Any, logger: Any):
            pass

        def parse(self, model: bytes) -> bool:
            return not surface.parser_errors

        def get_error(self, index: int) -> Any:
            return surface.parser_errors[index]

    class EngineInspector:
        execution_context: Any = None

        def get_engine_information(self, format: Any) -> str:
            assert format == "json" and self.execution_context is not None
            return surface.inspected

    class IExecutionContext:
        def set_input_shape(self, name: str, shape: Any) -> bool:
            told["inspected_shape"] = (name, shape)
            return True

    class ICudaEngine:
        def create_execution_context(self) -> IExecutionContext:
            return IExecutionContext()

        def create_engine_inspector(self) -> EngineInspector:
            return EngineInspector()

    class Runtime:
        def __init__(self, logger: Any):
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            if not surface.opens or serialized_engine != ENGINE:
                self.logger.log(ILogger.ERROR, "deserialization failed")
                return None
            return ICudaEngine()

    module.__version__ = surface.version
    module.told = told
    module.NetworkDefinitionCreationFlag = SimpleNamespace(**surface.network_flags)
    module.BuilderFlag = SimpleNamespace(**{name: name for name in surface.builder_flags})
    module.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    module.LayerInformationFormat = SimpleNamespace(JSON="json")
    for part in (ILogger, ITimingCache, IBuilderConfig, IOptimizationProfile, INetworkDefinition, Builder, OnnxParser,
                 EngineInspector, IExecutionContext, ICudaEngine, Runtime):
        setattr(module, part.__name__, part)
    return module
