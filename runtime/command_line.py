"""How every verb speaks: text for people on stderr, one JSON object on stdout. Knows no verb."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Protocol

Verb = Callable[[argparse.Namespace], int]


class AddVerb(Protocol):
    """Declares a verb: `run`'s docstring is its help, `group` its first word (`data` in `data check`)."""

    def __call__(self, name: str, run: Verb, group: str = "") -> argparse.ArgumentParser: ...


def say(text: str) -> None:
    """Print text for people."""
    print(text, file=sys.stderr)


def print_json(values: Any) -> None:
    """Print the one JSON object of a verb."""
    print(json.dumps(values, indent=2, allow_nan=False), flush=True)  # a closed pipe shows here, not at exit
