"""mien: the command line. Gathers the rooms' verbs and turns what they raise into one line and an exit code.

Knows no verb itself: each room's `verbs.py` declares its own and imports nothing heavy until one runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import calibration.verbs
import export.verbs
import runtime.verbs
import train.verbs
from runtime.command_line import Verb, missing_package, say
from runtime.errors import FAILED, MienError

JOINED = ("bench stream",)  # verbs of two words whose first is a verb too


class Terminated(BaseException):
    """SIGTERM, raised where the work stands, so that nothing half-written is left."""


class Verbs(argparse.ArgumentParser):
    """The parser of verbs, one of which may begin with another's name: `bench stream` beside `bench`."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Be argparse's own, with the two words of such a verb as one."""
        words = list(sys.argv[1:] if args is None else args)
        if " ".join(words[:2]) in JOINED:
            words[:2] = [" ".join(words[:2])]
        return super().parse_known_args(words, namespace)


def _terminate(*_: object) -> None:
    raise Terminated


def make_parser() -> argparse.ArgumentParser:
    """Return the parser with every room's verbs."""
    parser = Verbs(
        prog="mien",
        description="Train facial-expression networks, compile them for NVIDIA GPUs at the edge, and prove that the "
        "compiled engine still says what the PyTorch network says.",
        epilog="exit codes: 0 done or passed, 1 failed, 2 bad input, 3 library, GPU or camera missing, 4 inconclusive")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB", parser_class=argparse.ArgumentParser)
    groups: dict[str, Any] = {"": verbs}

    def add_verb(name: str, run: Verb, group: str = "") -> argparse.ArgumentParser:
        if group not in groups:
            added_group = verbs.add_parser(group, help=f"{group} …")
            groups[group] = added_group.add_subparsers(required=True, metavar="VERB")
        text = (run.__doc__ or "").strip()
        added: argparse.ArgumentParser = groups[group].add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        return added

    for room in (train.verbs, calibration.verbs, export.verbs, runtime.verbs):
        room.add_verbs(add_verb)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns its exit code. An error on purpose is one line, never a traceback."""
    args = make_parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_: say(f"mien: warning: {message}")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)  # `mien stream` sets its own, which ends it cleanly with 0
    try:
        code: int = args.run(args)
    except MienError as error:
        say(f"mien: {error}")
        return error.exit_code
    except ImportError as error:
        missing = missing_package(error)
        say(f"mien: {missing}")
        return missing.exit_code
    except KeyboardInterrupt:
        say("mien: stopped")
        return 128 + signal.SIGINT
    except Terminated:
        say("mien: stopped")
        return 128 + signal.SIGTERM
    except MemoryError as error:
        say(f"mien: expected enough memory {error}".rstrip() + ", found none left; give it fewer faces, or more memory")
        return FAILED
    except OSError as error:
        say(f"mien: expected to read and write files, found {error}; check the path, its rights and free space")
        return FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
