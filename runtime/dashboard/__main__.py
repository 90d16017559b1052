"""`python -m runtime.dashboard --config stream.yaml`: the page of the stream that runs with the same file."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.dashboard.run import run_dashboard
from runtime.errors import DONE, MienError
from runtime.supervision.core_dumps import forbid_core_dumps


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page and return the exit code; an error is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m runtime.dashboard", description="Serve a stream's page.")
    parser.add_argument("--config", type=Path, required=True, help="the stream.yaml that the stream runs with")
    args = parser.parse_args(arguments)
    logging.basicConfig(format="mien: %(message)s")
    forbid_core_dumps()
    try:
        run_dashboard(args.config)
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return error.exit_code
    return DONE


if __name__ == "__main__":
    sys.exit(main())
