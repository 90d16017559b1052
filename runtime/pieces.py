"""The parts of a stream that its configuration opens, each by its own keys, and how a new configuration replaces them.

What is new is open before what is old goes; whatever fails leaves the old as it was. Knows nothing of any part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from runtime.stream_config import StreamConfig


class Closable(Protocol):
    """What a piece opens."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Piece:
    """One part: the configuration's keys that decide it, and how it is opened; None where nothing was asked for."""

    name: str
    keys: tuple[str, ...]
    open: Callable[[StreamConfig], Closable | None]


class Pieces:
    """Open parts by name, closed in the reverse order of their opening."""

    def __init__(self, pieces: Sequence[Piece], config: StreamConfig):
        """Open all. Raises what the first that fails raises; the others are closed again."""
        self._pieces, self.config = pieces, config
        self._open: dict[str, Closable | None] = self._opened(pieces, config)

    def __getitem__(self, name: str) -> Any:
        """Return what is open now under a name, or None."""
        return self._open[name]

    def replace(self, config: StreamConfig) -> list[str]:
        """Open anew what a configuration changes, then close the old; return the names.

        Raises what opening raises, with the old pieces in place.
        """
        changed = [p for p in self._pieces if any(getattr(config, k) != getattr(self.config, k) for k in p.keys)]
        fresh = self._opened(changed, config)
        old = [self._open[piece.name] for piece in changed]
        self._open, self.config = self._open | fresh, config
        _close(old)
        return [piece.name for piece in changed]

    def __enter__(self) -> Pieces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(list(self._open.values()))

    @staticmethod
    def _opened(pieces: Sequence[Piece], config: StreamConfig) -> dict[str, Closable | None]:
        with ExitStack() as stack:
            opened: dict[str, Closable | None] = {}
            for piece in pieces:
                found = piece.open(config)
                if found is not None:
                    stack.callback(found.close)
                opened[piece.name] = found
            stack.pop_all()
        return opened


def _close(opened: Sequence[Closable | None]) -> None:
    with ExitStack() as stack:  # one that fails to close does not keep the others open
        for each in opened:
            if each is not None:
                stack.callback(each.close)
