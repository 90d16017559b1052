"""Which parameters a method of TensorRT's Python bindings takes, read from a docstring of pybind11 or from a stub file.

    python tests/signatures.py tensorrt.pyi tensorrt-stubs-10.13.0.35.1 > tests/golden/tensorrt-10.13-signatures.json

writes what the double is compared with. The stubs are not installed for the tests: their folder, which holds no code,
would pass for an installed `tensorrt`; and mypy refuses one of their lines.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from pathlib import Path

Overloads = list[list[str]]
CLASSES = ("Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig", "IRuntimeCache",
           "Builder", "IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "OnnxParser", "ParserError",
           "ITimingCache", "IProgressMonitor", "EngineInspector")


def of_docstring(text: str) -> Overloads:
    """Return the parameter names of each overload, `self` left out."""
    found = []
    for line in text.splitlines():
        signature = re.match(r"(?:\d+\. )?\w+\((self: .*)\) ->", line)
        if signature:
            found.append([part.partition(":")[0].strip() for part in _split(signature[1])][1:])
    return found


def of_stub(text: str) -> dict[str, dict[str, str | Overloads]]:
    """Return class → member → "property", or its overloads' parameter names."""
    classes: dict[str, dict[str, str | Overloads]] = {}
    members: dict[str, str | Overloads] = {}
    above = ""
    for line in text.splitlines():
        if heading := re.match(r"class (\w+)", line):
            members = classes.setdefault(heading[1], {})
        elif attribute := re.match(r"    (\w+): ", line):
            members[attribute[1]] = "property"
        elif method := re.match(r"    def (\w+)\(", line):
            if above.strip() == "@property":
                members[method[1]] = "property"
            else:
                overloads = members.setdefault(method[1], [])
                if isinstance(overloads, list):
                    overloads.append(_arguments(line))
        above = line
    return classes


def _arguments(line: str) -> list[str]:
    """Parameter names of one line `def f(self, …) -> …:`; none where Python cannot read it."""
    try:
        function = ast.parse(line.strip() + " ...").body[0]
    except SyntaxError:
        return ["unreadable"]
    assert isinstance(function, ast.FunctionDef)
    return [argument.arg for argument in function.args.args][1:]


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


if __name__ == "__main__":
    content = Path(sys.argv[1]).read_bytes()
    everything = of_stub(content.decode())
    print(json.dumps({
        "source": sys.argv[2], "sha256": hashlib.sha256(content).hexdigest(),
        "classes": {name: {m: s for m, s in sorted(everything[name].items()) if not m.startswith("_")}
                    for name in CLASSES if name in everything}}, indent=1))
