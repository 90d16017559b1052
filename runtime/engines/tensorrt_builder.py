"""ONNX bytes → a serialized engine, by whichever of NVIDIA's compilers is there; each feature is looked up by name.

What a version lacks is left out and recorded where it matters. Builds in this process: `compile.py` gives it one of its
own. Knows nothing of models or files, nor what the GPU will run (`inspector.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.engines.tensorrt_api import known_gpus, load_compiler, make_logger
from runtime.errors import BadInput, BadModel, MienError, Unavailable
from runtime.machine import find_gpu

ALL_GPUS = "all"

Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
Watch = Callable[[str, int, int], None]  # a phase of the build, steps done, steps in all


@dataclass(frozen=True)
class Built:
    """A compiled engine and what the compiler said of it.

    tf32: may float32 be multiplied in 19 bits; None where the version has no such flag. gpus: what it was built for
    ahead of time, none for the GPU that is here; left_out: of `all`, those that refuse the graph, and why. memory:
    bytes by name, as the builder's log says them. timing_cache: for the next build, empty where none is kept.
    """

    content: bytes
    compiler_version: str
    layers: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    warnings: tuple[str, ...]
    tf32: bool | None = None
    gpus: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    timing_cache: bytes = b""


def build_engine(content: bytes, target: str, gpu: str | None, profile: Profile, workspace_bytes: int,
                 timing_cache: bytes | None = None, watch: Watch | None = None) -> Built:
    """Parse ONNX bytes as a strongly typed network and compile it.

    gpu: `sm86`, `sm86,sm89` or `all`, compiled without a GPU (TensorRT-RTX only); None compiles for the GPU that is
    here. profile: input → (smallest, usual, largest) shape; three equal shapes are fixed ones. timing_cache: an earlier
    build's, empty to begin one, None to keep none. Raises BadModel with every parser error, BadInput, MienError.
    """
    library = load_compiler(target)
    gpus = _named_gpus(target, gpu)  # before the Builder: it wants a GPU where it has no target
    if not gpus and not find_gpu(Path("/")):
        raise Unavailable("expected an NVIDIA GPU to build for, found none here; say --gpu sm86, or another "
                          "generation, to compile ahead of time with tensorrt-rtx")
    logger = make_logger(library)
    builder = _make_builder(library, logger)
    network = builder.create_network(_network_flags(library))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(content):
        errors = "; ".join(_describe(parser.get_error(i)) for i in range(parser.num_errors))
        raise BadModel(f"expected a graph that {target} {library.__version__} parses, found: {errors}")
    _fix_shapes(network, profile)

    def compile_for(some: Sequence[str]) -> tuple[Any, Any]:
        config = _configure(library, builder, profile, workspace_bytes, some, watch)
        cache = _attach_timing_cache(config, timing_cache)  # held until the engine is built, as TensorRT asks
        engine = builder.build_serialized_network(network, config)
        return engine, config if cache is not None else None

    left_out: dict[str, str] = {}
    engine, timed = compile_for(gpus)
    if engine is None and gpu == ALL_GPUS:
        left_out = {one: logger.problems[-1] for one in gpus if compile_for([one])[0] is None}
        gpus = [one for one in gpus if one not in left_out]
        engine, timed = compile_for(gpus) if gpus else (None, None)
    if engine is None:
        raise MienError(f"expected {target} to build the engine, found: {_reason(logger)}; try another precision or "
                        "--gpu: not every generation has every kind of number")
    return Built(
        content=bytes(engine),
        compiler_version=str(library.__version__),
        layers=network.num_layers,
        inputs={t.name: t.dtype.name.lower() for t in map(network.get_input, range(network.num_inputs))},
        outputs={t.name: t.dtype.name.lower() for t in map(network.get_output, range(network.num_outputs))},
        warnings=tuple(dict.fromkeys(logger.problems)),
        tf32=False if hasattr(library.BuilderFlag, "TF32") else None,
        gpus=tuple(gpus),
        left_out=left_out,
        memory=dict(logger.memory),
        timing_cache=bytes(timed.get_timing_cache().serialize()) if timed is not None else b"",
    )


def _named_gpus(target: str, gpu: str | None) -> list[str]:
    """Return the generations to compile for, none for the GPU that is here. Raises BadInput."""
    if gpu is None:
        return []
    known = known_gpus(target)
    wanted = known if gpu == ALL_GPUS else gpu.split(",")
    if not wanted or set(wanted) - set(known) or len(set(wanted)) < len(wanted):
        raise BadInput(f"expected a GPU of {', '.join([*known, ALL_GPUS]) if known else 'this machine only'}, found "
                       f"{gpu}" + ("; separate several with commas" if known else f"; leave out --gpu with {target}"))
    return wanted


def _make_builder(library: ModuleType, logger: Any) -> Any:
    """A Builder. Raises Unavailable: where CUDA does not start, its constructor fails with a bare TypeError."""
    try:
        return library.Builder(logger)
    except TypeError as error:
        raise Unavailable(f"expected a GPU that {library.__name__} can use, found: {_reason(logger, str(error))}; "
                          "mien doctor says what is missing") from error


def _network_flags(library: ModuleType) -> int:
    """Strongly typed, and explicit batch where the version still has a name for it."""
    flags = library.NetworkDefinitionCreationFlag
    if not hasattr(flags, "STRONGLY_TYPED") and int(library.__version__.partition(".")[0]) < 11:
        raise Unavailable(f"expected TensorRT ≥ 9.1 (strongly typed networks), found {library.__version__}; update it")
    names = [name for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH") if hasattr(flags, name)]
    return sum(1 << int(getattr(flags, name)) for name in names)


def _fix_shapes(network: Any, profile: Profile) -> None:
    """Give the inputs whose profile has one size that shape, so that the compiler sees no free dimension at all."""
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        smallest, _, largest = profile.get(tensor.name, ((), (), (0,)))
        if tuple(smallest) == tuple(largest):
            tensor.shape = tuple(smallest)


def _configure(library: ModuleType, builder: Any, profile: Profile, workspace_bytes: int, gpus: Sequence[str],
               watch: Watch | None) -> Any:
    """A builder configuration: limits, TF32 off, layers named in detail, progress told, one batch profile."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, workspace_bytes)
    if hasattr(library.BuilderFlag, "TF32"):
        config.clear_flag(library.BuilderFlag.TF32)  # fp32 must mean fp32
    if hasattr(library.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # RTX ≥ 1.2 records no CUDA graph without it
        config.set_flag(library.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = library.ProfilingVerbosity.DETAILED  # else the inspector knows names only
    if watch is not None and hasattr(library, "IProgressMonitor") and hasattr(config, "progress_monitor"):
        config.progress_monitor = _make_monitor(library, watch)
    if gpus:
        config.num_compute_capabilities = len(gpus)
        for index, gpu in enumerate(gpus):
            config.set_compute_capability(getattr(library.ComputeCapability, gpu.upper()), index)
    shapes = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in profile.items():
        shapes.set_shape(name, tuple(smallest), tuple(usual), tuple(largest))
    config.add_optimization_profile(shapes)
    return config


def _attach_timing_cache(config: Any, content: bytes | None) -> Any:
    """Attach a timing cache and return it; one of another device or version is refused by TensorRT and begun anew."""
    if content is None or not hasattr(config, "create_timing_cache"):
        return None
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):  # False: never another device's timings
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _make_monitor(library: ModuleType, watch: Watch) -> Any:
    """A progress monitor that tells `watch`; TensorRT calls it from threads of its own."""

    class Monitor(library.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            watch(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            watch(phase_name, step + 1, self._steps.get(phase_name, 0))
            return True  # False would end the build

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def _reason(logger: Any, otherwise: str = "no reason given") -> str:
    """The last things a compiler said before it gave up."""
    return "; ".join(logger.problems[-3:]) or otherwise


def _describe(error: Any) -> str:
    """One parser error with its node, on one line."""
    node = error.node_name() if hasattr(error, "node_name") else f"node {error.node()}"
    lines = [line for line in error.desc().splitlines() if "catchCudaError" not in line]  # no GPU is no parser error
    return f"{node}: {' '.join(lines)}".strip(": ")
