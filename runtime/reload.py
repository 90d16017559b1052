"""A new configuration in a running stream: SIGHUP has the file read again, and what it changes opened anew.

The pipeline keeps its counts and tracks: it holds stand-ins that pass on to what is open now. Knows nothing of parts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from runtime.camera.source import Frame
from runtime.errors import BadConfig, MienError
from runtime.pieces import Pieces
from runtime.sinks.sinks import Sinks
from runtime.stream_config import StreamConfig
from runtime.supervision.health import Health
from runtime.supervision.stop_request import StopAsked, StopRequest
from runtime.supervision.systemd import Notifier

log = logging.getLogger(__name__)

# decided once, at the start: the steady labels live on over a reload
FIXED = ("supervision", "max_frames", "smoothing", "threshold", "event_files")
SECONDS = 90.0  # that each piece may take to open, of systemd's patience too; a Jetson deserializes in a few


class Current:
    """Stands for the piece of a name, whichever is open now."""

    def __init__(self, pieces: Pieces, name: str):
        """Stand for `pieces[name]`."""
        self._pieces, self._name = pieces, name

    def __getattr__(self, attribute: str) -> Any:
        """Pass on to what is open now."""
        return getattr(self._pieces[self._name], attribute)


class CurrentReader(Current):
    """Stands for the reader of the reading that is open now."""

    def __getattr__(self, attribute: str) -> Any:
        """Pass on to what is open now."""
        return getattr(self._pieces[self._name].reader, attribute)


class CurrentSource(Current):
    """Stands for the source that is open now, and goes on with the next when it is replaced.

    `damaged` counts the frames of all.
    """

    _damaged = 0  # of those before this one

    @property
    def damaged(self) -> int:
        """Frames that could not be read."""
        return self._damaged + int(self._pieces[self._name].damaged)

    def __iter__(self) -> Iterator[Frame | None]:
        """Yield the frames of one source after another; ends where one ends by itself."""
        while True:
            source = self._pieces[self._name]
            for frame in source:
                yield frame
                if self._pieces[self._name] is not source:
                    self._damaged += getattr(source, "damaged", 0)
                    break
            else:
                return


def reload_pieces(
    pieces: Pieces, load_again: Callable[[], StreamConfig] | None, sinks: Sinks, health: Health, notifier: Notifier,
    stop: StopRequest
) -> None:
    """Read the configuration again and replace what changed; whatever is wrong leaves all as it was, and is told.

    A stopping signal gives up what opens; the loop then ends with the old.
    """
    @contextmanager
    def opening() -> Iterator[None]:
        metrics = pieces["metrics"]
        with notifier.opening(SECONDS), metrics.opening(SECONDS) if metrics else nullcontext(), stop.interruptible():
            yield

    notifier.reloading()
    troubles = health.troubles
    try:
        if load_again is None:
            raise BadConfig("expected a --config to read again, found flags alone; start the stream with a file")
        changed = pieces.replace(_reloadable(load_again(), pieces.config), opening)
    except StopAsked:
        return
    except (MienError, OSError) as error:
        log.warning("the old configuration goes on: %s", error)
        for name in {*troubles, *health.troubles}:  # what opened meanwhile spoke for itself, and is gone
            health.report(name, troubles.get(name, ""))
        sinks.event("reload", done=False, why=str(error))
    else:
        sinks.join()
        sinks.event("reload", done=True, changed=changed, **pieces["reading"].facts(), source=pieces["source"].name)
        health.report("engine", pieces["reading"].fallback)
        if "mqtt" in changed:
            sinks.announce()
            health.tell_again()
    notifier.ready(f"{health.state}: {pieces['source'].name}")


def _reloadable(new: StreamConfig, old: StreamConfig) -> StreamConfig:
    """Raise BadConfig where a key changed that only a start reads."""
    for key in FIXED:
        if getattr(new, key) != getattr(old, key):
            raise BadConfig(f"expected {key} as it was at the start, found it changed; restart the stream for that")
    return new
