"""How the running stream says it is: /readyz, asked on this machine. What it means for a new slot, and nothing else."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.bundle.manifest import CONFIG
from runtime.config import read_yaml
from runtime.errors import MienError

SECONDS = 5.0
# A new slot that fell back to another engine, or leaks, is not the slot that was tried
SERIOUS = ("engine", "memory", "restart")


@dataclass(frozen=True)
class Answer:
    """healthy and bad count; unknown does not: a camera that is unplugged says nothing about a bundle."""

    kind: Literal["healthy", "bad", "unknown"]
    said: str


def ask_health(bundle: Path) -> Answer:
    """Ask the stream of an unpacked bundle's configuration, of which only `metrics` is read: the rest may be newer."""
    try:
        metrics: dict[str, Any] = read_yaml(bundle / CONFIG)["metrics"]
        host, port = str(metrics.get("host", "127.0.0.1")), int(metrics["port"])
    except (MienError, AttributeError, KeyError, TypeError, ValueError) as error:
        return Answer("bad", f"no metrics.port in {CONFIG}: {error}")
    address = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through the site's proxy
    try:
        try:
            with opener.open(f"http://{address}:{port}/readyz", timeout=SECONDS) as page:
                values = json.loads(page.read(65536))
        except urllib.error.HTTPError as error:  # 503: not ready, and says why
            values = json.loads(error.read(65536))
    except (OSError, ValueError) as error:
        return Answer("bad", f"nobody answers on port {port}: {error}")
    return judge(values)


def judge(values: Any) -> Answer:
    """Return what an answer of /readyz means."""
    if not isinstance(values, dict) or not isinstance(values.get("state"), str):
        return Answer("bad", "an answer that is not a stream's")
    state, troubles = values["state"], values.get("troubles") or {}
    serious = [f"{name}: {troubles[name]}" for name in SERIOUS if name in troubles]
    if serious:
        return Answer("bad", f"{state}, {'; '.join(serious)}")
    if state in ("running", "degraded"):
        return Answer("healthy", state)
    return Answer("unknown", state)
