"""What stream.yaml's `dashboard` section says: where the page is served, to whom, and what the stream leaves for it.

A page that others than this machine could open unprotected is refused here, before anything is bound.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class DashboardConfig:
    """Where the page is served; port 0: nobody is served, and the stream leaves nothing for it."""

    port: int = 0
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_tunnel: bool = False
    folder: Path | None = None
    preview: bool = False
    preview_faces: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"expected a port of 0–65535, found {self.port}")
        if not self.host:
            raise ValueError("expected a host, found none; 127.0.0.1 answers this machine only")
        for name in self.names:
            if not HOST_NAME.fullmatch(name):
                raise ValueError(f"expected names as a browser sends them (lower case, no port), found {name!r}")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("expected certificate and key, found one of them")
        reached = "behind_tunnel" if self.behind_tunnel else f"host {self.host}"
        if self.is_open and not self.token_file:
            raise ValueError(f"expected a token_file with {reached}, found none; mien dashboard --make-token FILE")
        if self.is_open and not (self.certificate or self.behind_tunnel):
            raise ValueError(f"expected certificate and key with {reached}, found none; give both, or keep 127.0.0.1 "
                             "behind a tunnel that encrypts, and say behind_tunnel: true")

    @property
    def is_open(self) -> bool:
        """Whether others than this machine can reach the page."""
        return self.behind_tunnel or not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address answers this machine alone; a name other than localhost might lead anywhere."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
