"""Which parameters a method of TensorRT's Python bindings takes, read from the docstrings that pybind11 wrote.

    python tests/signatures.py tensorrt_cu12_bindings-10.3.0-cp311-….whl > tests/golden/tensorrt-10.3-signatures.json

writes what the doubles are compared with: `pip download --no-deps tensorrt-cu12-bindings==10.3.0` is 1 MB, the library
itself gigabytes. The binding is imported beside empty libraries: it needs TensorRT's names to load, and nothing behind
them to describe itself. Nothing of TensorRT is there, so nothing of it can be called. Needs gcc, nm, and the Python of
the wheel's tag.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

Overloads = list[list[str]]
CLASSES = ("Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig", "IRuntimeCache",
           "Builder", "IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "OnnxParser", "ParserError",
           "ITimingCache", "IProgressMonitor", "EngineInspector")
ENUMS = ("NetworkDefinitionCreationFlag", "BuilderFlag", "ProfilingVerbosity", "MemoryPoolType", "TensorIOMode",
         "TensorLocation", "ExecutionContextAllocationStrategy", "LayerInformationFormat")
ENTRY = re.compile(r"(create|get|init)\w*(_INTERNAL|Registry|Version|Plugins)")  # NvInfer.h, NvOnnxParser.h


def of_docstring(text: str) -> Overloads:
    """Return the parameter names of each overload, `self` left out."""
    found = []
    for line in text.splitlines():
        signature = re.match(r"(?:\d+\. )?\w+\((self: .*)\) ->", line)
        if signature:
            found.append([part.partition(":")[0].strip() for part in _split(signature[1])][1:])
    return found


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(<") - (letter in "])>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def of_binding(module: ModuleType) -> dict[str, Any]:
    """Return what a binding has of `CLASSES`, "property" or overloads a member, and of `ENUMS`, a number a name."""
    def members(kind: type) -> dict[str, str | Overloads]:
        return {name: "property" if isinstance(member, property) else of_docstring(member.__doc__ or "")
                for name, member in sorted((name, getattr(kind, name)) for name in dir(kind)
                                           if not name.startswith("_"))}

    return {"classes": {name: members(getattr(module, name)) for name in CLASSES if hasattr(module, name)},
            "enums": {name: {member: int(value) for member, value in getattr(module, name).__members__.items()}
                      for name in ENUMS if hasattr(module, name)}}


def import_alone(binding: Path) -> ModuleType:
    """Import a binding's .so without its libraries: empty ones of their names take their place."""
    needed = re.findall(r"NEEDED.*\[(libnv\S+)\]", _told("readelf", "-d", str(binding)))
    undefined = [line.split()[-1] for line in _told("nm", "-D", "--undefined-only", str(binding)).splitlines()]
    entries = [name for name in undefined if ENTRY.fullmatch(name)]
    source = binding.with_name("empty.c")
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in entries))
    for name in needed:
        library = binding.with_name(name)
        subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", library, source], check=True)
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)  # the loader then asks for no other of that name
    spec = importlib.util.spec_from_file_location("tensorrt", binding)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    wheel = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        binding = Path(archive.extract("tensorrt_bindings/tensorrt.so", folder))
        content = {"source": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
                   **of_binding(import_alone(binding))}
    print(json.dumps(content, indent=1))
