"""Open what the page needs, or say which package is missing. Knows neither starlette nor uvicorn."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import Unavailable
from runtime.stream_config import load_config


def run_dashboard(path: Path) -> None:
    """Serve the page of the stream that a stream.yaml describes. Raises BadInput, Unavailable."""
    config = load_config(path)
    try:
        from runtime.dashboard.serve import serve
    except ImportError as error:
        raise Unavailable(f"expected the packages starlette and uvicorn for the dashboard, found no {error.name}; "
                          'pip install "mien[dashboard]"') from error
    serve(config)
