"""Which libraries are here, and whether those that do the work load: ONNX Runtime, compilers, bindings.

Installs nothing. What only other rooms use (PyTorch, onnx) is known by name and not loaded.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping

from runtime.doctor.finding import Finding, judge, one_line
from runtime.engines.cuda_api import device_facts
from runtime.engines.devices import OLDEST_TENSORRT, version_of
from runtime.engines.onnxruntime_engine import HOW_TO_GET_PROVIDERS, available_targets
from runtime.engines.tensorrt_api import load_compiler
from runtime.errors import Unavailable

RUN_ON_CPU = "run on the CPU (ONNX Runtime)"
RUN_ON_GPU = "run through ONNX Runtime on the GPU"
COMPILE = {"tensorrt": "compile for Jetson and servers (TensorRT)",
           "tensorrt-rtx": "compile for desktop GPUs (TensorRT-RTX)"}
REACH_GPU = "move bytes to the GPU (cuda-python or pycuda)"


def examine_libraries(jetson: bool) -> list[Finding]:
    """Look at what computes, in the order in which a person would want it."""
    compiler = ("python3 -m venv --system-site-packages .venv" if jetson else "pip install tensorrt")
    return [
        *_onnxruntime(),
        _compiler("tensorrt", "tensorrt", compiler),
        _compiler("tensorrt-rtx", "tensorrt_rtx", 'pip install "mien[rtx]"'),
        _binding(jetson),
        package("train (PyTorch)", "torch", 'pip install "mien[train]"'),
        package("export and calibrate (onnx, onnxsim)", "onnxsim", 'pip install "mien[export]"'),
    ]


def package(what: str, module: str, fix: str) -> Finding:
    """Look for a package by its module's name, without loading it."""
    if importlib.util.find_spec(module) is None:
        return Finding(what, False, f"no module {module}", fix)
    return Finding(what, True, " ".join(part for part in _distribution(module) if part))


def _distribution(module: str) -> tuple[str, str]:
    """Name and version of what brought a module; Debian's packages often leave no version behind."""
    name = _packages().get(module, [module])[0]
    try:
        return name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return module, "of unknown version"


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    """Module → distributions; it reads every installed package's file list, so once is enough."""
    return importlib.metadata.packages_distributions()


def _onnxruntime() -> list[Finding]:
    """Load ONNX Runtime: it may be there in part, after one of its two packages was taken away, or lack a library."""
    here = package(RUN_ON_CPU, "onnxruntime", "pip install mien")
    try:
        targets = available_targets()
    except (Unavailable, AttributeError) as error:
        name = _distribution("onnxruntime")[0]
        fix = here.fix or f"pip install --force-reinstall {name}"
        return [Finding(what, False, one_line(error), fix) for what in (RUN_ON_CPU, RUN_ON_GPU)]
    on_gpu = [target for target in targets if target != "cpu"]
    return [here, judge(RUN_ON_GPU, bool(on_gpu), ", ".join(f"--target {t}" for t in on_gpu)
                        or "ONNX Runtime without a GPU provider", HOW_TO_GET_PROVIDERS)]


def _compiler(target: str, module: str, fix: str) -> Finding:
    """Load one compiler: it may be there and lack a library of its own."""
    if importlib.util.find_spec(module) is None:
        return Finding(COMPILE[target], False, f"no module {module}", fix)
    try:
        version = str(load_compiler(target).__version__)
    except Unavailable as error:
        return Finding(COMPILE[target], False, str(error), fix)
    new_enough = target != "tensorrt" or version_of(version) >= OLDEST_TENSORRT
    return judge(COMPILE[target], new_enough, f"{target} {version}", "flash JetPack 6.2 or later; a desktop: " + fix)


def _binding(jetson: bool) -> Finding:
    """Ask the GPU through whichever binding is here, and name both."""
    here = [" ".join(_distribution(module)) for module in ("cuda", "pycuda") if _is_here(module)]
    try:
        device = device_facts()
    except Unavailable as error:
        why = ", ".join(here) + f"; {error}" if here else "neither"
        return Finding(REACH_GPU, False, why, 'pip install "mien[jetson]"' if jetson else 'pip install "cuda-python"')
    memory = "memory shared with the CPU" if device.integrated else "memory of its own"
    return Finding(REACH_GPU, True, f"{', '.join(here)}: {device.name}, {device.sm}, CUDA {device.cuda}, {memory}")


def _is_here(module: str) -> bool:
    """Is a module here with code in it? `cuda` alone may be an empty name that another package left."""
    try:
        return importlib.util.find_spec("cuda.bindings" if module == "cuda" else module) is not None
    except ImportError:
        return False
