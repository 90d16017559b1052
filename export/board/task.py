"""What a part of the report is asked, and what it answers. Knows no part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.card import PRECISIONS, Model, load_model
from runtime.errors import MienError, Unavailable


@dataclass(frozen=True)
class Task:
    """One report: the model, the target it runs on, timed rounds, the oracle's draws, and seconds for each part."""

    model: str
    target: str
    rounds: int
    draws: int
    timeout_seconds: float

    def open_model(self) -> Model:
        """Read the model's card. Raises BadModel, BadInput."""
        return load_model(Path(self.model))


@dataclass
class Measured:
    """What a part found, as plain values of its field in the record, and what went wrong beside it.

    missing: what this machine lacks; it makes the part *not possible here* where nothing else was found or failed.
    """

    found: Any = None
    failures: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what the block could not do, and go on behind it."""
        try:
            yield
        except Unavailable as error:
            self.missing.append(str(error))
        except MienError as error:
            self.failures.append(str(error))


Measure = Callable[[Task], Measured]


def of_every_precision(one: Callable[[str], dict[str, Any]], precisions: Iterable[str] = PRECISIONS) -> Measured:
    """Ask for a row of every precision; one that fails leaves the others' rows."""
    measured = Measured(found=[])
    for precision in precisions:
        with measured.noting():
            measured.found.append(one(precision))
    return measured
