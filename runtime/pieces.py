"""The parts of a stream that its configuration opens, each by its own keys, and how a new configuration replaces them.

What is new is open before what is old goes, but for a part that cannot stand beside its successor: that one goes
first, after all others are open, and comes back where the new one fails. Whatever fails to open leaves the old as it
was; that an old one fails to close is told, and changes nothing. Knows nothing of any part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from runtime.errors import MienError
from runtime.stream_config import StreamConfig

log = logging.getLogger(__name__)

Opening = Callable[[], AbstractContextManager[object]]  # what stands around the opening of each part


class Closable(Protocol):
    """What a piece opens."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Piece:
    """One part: the configuration's keys that decide it, and how it is opened; None where nothing was asked for.

    open is given the configuration, and by name what it would stand beside: parts that stay, and new ones opened before
    it. alone: the old one goes before the new one opens, since both want the same port for instance.
    """

    name: str
    keys: tuple[str, ...]
    open: Callable[[StreamConfig, Mapping[str, Any]], Closable | None]
    alone: bool = False


class Pieces:
    """Open parts by name, closed in the reverse order of their opening."""

    def __init__(self, pieces: Sequence[Piece], config: StreamConfig, opening: Opening = nullcontext):
        """Open all. Raises what the first that fails raises; the others are closed again."""
        self._pieces, self.config = pieces, config
        self._open: dict[str, Closable | None] = {}
        with ExitStack() as stack:
            _open_into(self._open, pieces, config, opening, stack)
            stack.pop_all()

    def __getitem__(self, name: str) -> Any:
        """Return what is open now under a name, or None."""
        return self._open[name]

    def replace(self, config: StreamConfig, opening: Opening = nullcontext) -> list[str]:
        """Open anew what a configuration changes, then close the old; return the names.

        Raises what opening raises, with the old pieces in place.
        """
        changed = [p for p in self._pieces if any(getattr(config, k) != getattr(self.config, k) for k in p.keys)]
        beside, alone = [p for p in changed if not p.alone], [p for p in changed if p.alone]
        coming = dict(self._open)
        with ExitStack() as stack:
            _open_into(coming, beside, config, opening, stack)
            for piece in alone:
                self._go(piece, stack)
                _open_into(coming, [piece], config, opening, stack)
            stack.pop_all()
        old = self._open
        self._open, self.config = coming, config
        with ExitStack() as stack:
            for piece in beside:
                stack.callback(_let_go, piece.name, old[piece.name])
        return [piece.name for piece in changed]

    def open_again(self, name: str, config: StreamConfig | None = None) -> None:
        """Open a part that is asked for and not open, once more. Raises what opening raises.

        config: in place of what runs, which stays the one that a reload compares with.
        """
        piece = next(piece for piece in self._pieces if piece.name == name)
        self._open[name] = piece.open(config or self.config, self._open)

    def __enter__(self) -> Pieces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(list(self._open.values()))

    def _go(self, piece: Piece, stack: ExitStack) -> None:
        """Close the old, for the new to open; whatever fails until the stack's end brings the old one back."""
        old = self._open[piece.name]
        self._open[piece.name] = None
        _let_go(piece.name, old)
        if old is not None:
            stack.callback(self._back, piece)

    def _back(self, piece: Piece) -> None:
        try:
            self.open_again(piece.name)
        except (MienError, OSError) as error:  # why the new one failed is what is raised
            log.warning("expected to open the old %s again, found: %s; the stream goes on without", piece.name, error)


def _open_into(
    coming: dict[str, Closable | None], pieces: Sequence[Piece], config: StreamConfig, opening: Opening,
    stack: ExitStack
) -> None:
    """Open in order, each beside what is there by then; the stack closes them unless its owner takes them out."""
    for piece in pieces:
        with opening():
            found = piece.open(config, coming)
            if found is not None:
                stack.callback(found.close)
        coming[piece.name] = found


def _let_go(name: str, old: Closable | None) -> None:
    """Close what is out of use already: that it fails to close is no failure of what takes its place."""
    try:
        _close([old])
    except (MienError, OSError) as error:
        log.warning("expected the old %s to close, found: %s; it is out of use all the same", name, error)


def _close(opened: Sequence[Closable | None]) -> None:
    with ExitStack() as stack:  # one that fails to close does not keep the others open
        for each in opened:
            if each is not None:
                stack.callback(each.close)
