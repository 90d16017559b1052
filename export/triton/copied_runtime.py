"""The stream's own code for a server: the modules that finding, cutting and reading faces need, as files by path.

Copied, not installed: the repository then holds which code its numbers came from, hashed, and works offline. Read from
the syntax tree, so nothing is imported and no file is forgotten. Knows nothing of what the modules do.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED = ("runtime.card", "runtime.errors", "runtime.expressions", "runtime.faces.model_detector",
          "runtime.engines.engine")


def copied_runtime(root: Path = ROOT) -> dict[str, bytes]:
    """Return every file of `runtime` that the needed modules load when they are imported, by path under `root`.

    Imports inside functions are left out: they are vendors' libraries, and choices that a server does not make.
    """
    found: dict[str, bytes] = {}
    waiting = list(NEEDED)
    while waiting:
        name = waiting.pop()
        for path in _files(root, name):
            place = path.relative_to(root).as_posix()
            if place not in found:
                found[place] = path.read_bytes()
                waiting += sorted(_imports(ast.parse(found[place])))
    return dict(sorted(found.items()))


def _files(root: Path, name: str) -> list[Path]:
    """Return the files that importing a dotted name runs: each package's `__init__.py` on the way, then the module."""
    parts = name.split(".")
    here = [root.joinpath(*parts[:depth]) / "__init__.py" for depth in range(1, len(parts) + 1)]
    return [path for path in [*here, root.joinpath(*parts).with_suffix(".py")] if path.is_file()]


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _for_types_only(node):
            found |= _imports(node)
    return {name for name in found if name.partition(".")[0] == "runtime"}


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
