"""The double against the originals: its names are theirs and take what theirs take, in TensorRT-RTX and TensorRT 10–11.

pybind11 writes a typed signature into each docstring; `inspect` sees none, and `create_autospec` takes any arguments.
TensorRT's signatures lie in tests/golden, taken from NVIDIA's own bindings by `python tests/signatures.py`.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path
from types import ModuleType

import pytest

if importlib.util.find_spec("tensorrt_rtx") is None:
    pytest.skip('there is no original to compare with: pip install "mien[rtx]" (x86-64 only)', allow_module_level=True)

import tensorrt_rtx
from cuda_double import CudaDouble
from signatures import of_binding, of_docstring
from tensorrt_double import Behaviour, tensorrt_double

from runtime.engines.cuda_api import Cuda

GOLDEN = {path.name.split("-")[1]: json.loads(path.read_text())
          for path in sorted((Path(__file__).parents[2] / "golden").glob("tensorrt-*-signatures.json"))}
OWN = {"tensor", "compute", "is_set"}  # what the double's classes ask one another


def members(double: ModuleType) -> list[tuple[str, str]]:
    classes = [name for name in ("Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig", "IRuntimeCache")
               if hasattr(double, name)]
    return [(c, name) for c in classes for name in vars(getattr(double, c))
            if name not in OWN and not name.startswith("_")]


RTX = tensorrt_double(CudaDouble(), Behaviour())
TENSORRT = tensorrt_double(CudaDouble(), Behaviour(rtx=False))


def parameters(double: ModuleType, kind: str, name: str) -> list[str]:
    return list(inspect.signature(getattr(getattr(double, kind), name)).parameters)[1:]


@pytest.mark.parametrize(("kind", "name"), members(RTX))
def test_a_member_is_rtxs(kind: str, name: str) -> None:
    original = inspect.getattr_static(getattr(tensorrt_rtx, kind), name)
    mine = inspect.getattr_static(getattr(RTX, kind), name)
    if not callable(mine):
        assert isinstance(original, property)
    else:
        assert parameters(RTX, kind, name) in of_docstring(original.__doc__)


every_version = pytest.mark.parametrize("version", GOLDEN)


@every_version
@pytest.mark.parametrize(("kind", "name"), [m for m in members(TENSORRT) if m[0] != "IRuntimeConfig"])
def test_a_member_is_tensorrts(version: str, kind: str, name: str) -> None:
    original = GOLDEN[version]["classes"][kind][name]
    if isinstance(inspect.getattr_static(getattr(TENSORRT, kind), name), property):
        assert original == "property"
    else:
        assert parameters(TENSORRT, kind, name) in original


@every_version
def test_tensorrt_lacks_what_only_rtx_has(version: str) -> None:
    assert "IRuntimeCache" not in GOLDEN[version]["classes"]
    assert "get_engine_validity" not in GOLDEN[version]["classes"]["Runtime"]
    assert "is_stream_capturable" not in GOLDEN[version]["classes"]["IExecutionContext"]


@pytest.mark.parametrize(("text", "found"), [
    ("f(self: a.B, name: str, memory: typing.SupportsInt) -> bool", [["name", "memory"]]),
    ("f(self: a.B) -> int\n\n    Text (with: brackets)", [[]]),
    ("f(*args, **kwargs)\nOverloaded function.\n\n1. f(self: a.B, x: list[int] = <E.X: 0>) -> int\n\n"
     "2. f(self: a.B) -> int", [["x"], []]),
    ("f(self: a.B, x: collections.abc.Mapping[str, int], y: int = 3) -> int", [["x", "y"]])])
def test_a_docstring_tells_its_parameters(text: str, found: list[list[str]]) -> None:
    assert of_docstring(text) == found


def test_a_binding_tells_its_classes_and_enums() -> None:
    told = of_binding(tensorrt_rtx)
    assert told["classes"]["IExecutionContext"]["execute_async_v3"] == [["stream_handle"]]
    assert told["classes"]["ICudaEngine"]["num_io_tensors"] == "property"
    assert told["enums"]["TensorLocation"] == {"DEVICE": 0, "HOST": 1}


def public_methods(kind: type) -> dict[str, list[str]]:
    return {name: list(inspect.signature(member).parameters) for name, member in vars(kind).items()
            if inspect.isfunction(member) and not name.startswith("_")}


def test_the_gpus_double_has_the_interface_of_cuda() -> None:
    wanted = public_methods(Cuda)
    found = public_methods(CudaDouble)
    assert {name: found.get(name) for name in wanted} == wanted
