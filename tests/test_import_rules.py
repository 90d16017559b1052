"""Who may import whom, read from the syntax tree: an import inside a function counts like one at the top."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("runtime", "calibration", "train", "export")
# Third-party packages of each room; what the standard library brings is free
PACKAGES = {
    "runtime": {"numpy", "cv2", "yaml", "tqdm"},
    "calibration": {"numpy", "onnx", "onnxruntime", "tqdm"},
    "train": {"numpy", "cv2", "torch", "safetensors", "matplotlib", "tqdm", "yaml"},
    "export": {"numpy", "cv2", "torch", "onnx", "onnxruntime", "onnxsim", "matplotlib", "tqdm"},
}
MAY_ENTER = {
    "runtime": {"runtime"},
    "calibration": {"calibration", "runtime"},
    "train": {"train", "runtime"},
    "export": {"export", "train", "calibration", "runtime"},
}
# A vendor's library has one file that may import it, and so has what is only compared with
ONLY_IN = {
    "PIL": "train/speed.py",
    "fer": "export/fer_frames.py",
    "prometheus_client": "runtime/sinks/metrics.py",
    "paho": "runtime/sinks/mqtt.py",
    "starlette": "runtime/dashboard/site.py",
    "uvicorn": "runtime/dashboard/serve.py",
    "triton_python_backend_utils": "export/triton/server_model.py",
    "onnxruntime": "runtime/engines/onnxruntime_engine.py",
    "tensorrt": "runtime/engines/tensorrt_api.py",
    "tensorrt_rtx": "runtime/engines/tensorrt_api.py",
    "cuda": "runtime/engines/cuda_python.py",
    "pycuda": "runtime/engines/cuda_pycuda.py",
}


def imports_of(source: str) -> set[str]:
    """Return every module that Python source imports, at any depth, `import_module("…")` with a literal included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return found


def packages_of(source: str) -> set[str]:
    """Return the top-level names of everything imported that is not the standard library's."""
    return {name.partition(".")[0] for name in imports_of(source)} - sys.stdlib_module_names - {"__future__"}


def files_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("source", [
    "import torch.nn", "def f():\n    from torch import nn", "class A:\n    if True:\n        import torch",
    "import importlib\nimportlib.import_module('torch')", "try:\n    import torch\nexcept ImportError:\n    pass"])
def test_an_import_is_found_wherever_it_hides(source: str) -> None:
    assert "torch" in packages_of(source)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_enters_only_the_rooms_below_it(room: str) -> None:
    entered = {name_of(f): (packages_of(f.read_text()) & set(ROOMS)) - MAY_ENTER[room] for f in files_of(room)}
    assert {file: rooms for file, rooms in entered.items() if rooms} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_uses_only_its_own_packages(room: str) -> None:
    strangers = {}
    for file in files_of(room):
        own = {p for p, place in ONLY_IN.items() if place == name_of(file)}
        strangers[name_of(file)] = packages_of(file.read_text()) - PACKAGES[room] - own - set(ROOMS)
    assert {file: found for file, found in strangers.items() if found} == {}


def test_the_vendors_libraries_are_named_in_one_file() -> None:
    # tensorrt_api.py picks the library by name at run time, so the syntax tree alone would not see it elsewhere
    sources = {name_of(f): f.read_text() for room in ROOMS for f in files_of(room)}
    naming = {file for file, source in sources.items() if "tensorrt_rtx" in source and "import_module" in source}
    assert naming == {"runtime/engines/tensorrt_api.py"}


def test_data_sets_are_free_of_torch() -> None:
    users = {name_of(f) for f in files_of("train/datasets") if packages_of(f.read_text()) & {"torch", "safetensors"}}
    assert users == set()


def test_data_sets_enter_no_torch_module_of_their_own_room() -> None:
    entered = {n for f in files_of("train/datasets") for n in imports_of(f.read_text()) if n.startswith("train.")}
    assert {n for n in entered if not n.startswith("train.datasets")} == set()


def loaded_by(modules: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after importing modules."""
    program = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(result.stdout.split())


HEAVY = {"torch", "onnx", "onnxsim", "matplotlib", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "paho",
         "prometheus_client", "starlette", "uvicorn"}


@pytest.mark.parametrize("modules", [
    "runtime", "runtime.stream", "runtime.doctor", "runtime.engines.compile", "runtime.engines.tensorrt_api",
    "runtime.engines.tensorrt_engine", "mien"])
def test_the_device_loads_nothing_heavy(modules: str) -> None:
    assert loaded_by(modules) & HEAVY == set()


def test_the_command_line_loads_no_engine_until_a_verb_runs() -> None:
    assert loaded_by("mien") & {"onnxruntime", "cv2", "numpy", "yaml"} == set()


@pytest.mark.parametrize("modules", [
    "calibration.quantize, calibration.observe, calibration.pick_images", "train.datasets, train.datasets.summary"])
def test_calibration_and_data_sets_load_no_torch(modules: str) -> None:
    assert loaded_by(modules) & {"torch", "matplotlib", "tensorrt", "tensorrt_rtx"} == set()
