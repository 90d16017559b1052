"""How every verb speaks: text for people on stderr, one JSON object on stdout. Knows no verb."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from runtime.errors import Unavailable

# Which extra brings a package; what is not here is part of the lean runtime
EXTRAS = {"torch": "train", "safetensors": "train", "onnx": "export", "onnxsim": "export", "onnxscript": "export",
          "matplotlib": "report", "PIL": "report"}

Verb = Callable[[argparse.Namespace], int]


class AddVerb(Protocol):
    """Declares a verb: `run`'s docstring is its help, `group` its first word (`data` in `data check`)."""

    def __call__(self, name: str, run: Verb, group: str = "") -> argparse.ArgumentParser: ...


def missing_package(error: ImportError) -> Unavailable:
    """Return the one line for a package that is not there, or is there and does not load (a system library lacks)."""
    package = (error.name or "").partition(".")[0]
    brings = f"mien[{EXTRAS[package]}]" if package in EXTRAS else "mien"
    found = "none" if isinstance(error, ModuleNotFoundError) else f"one that does not load: {error}"
    return Unavailable(f'expected the package {package or "that is imported"}, found {found}; pip install "{brings}"')


def say(text: str) -> None:
    """Print text for people."""
    _put(text, sys.stderr)


def print_json(values: Any) -> None:
    """Print the one JSON object of a verb."""
    _put(json.dumps(values, indent=2, allow_nan=False), sys.stdout)


def _put(text: str, stream: TextIO) -> None:
    """Print, also to a reader that has gone (`mien … | head`): what the verb still does, and its exit code, stand."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
