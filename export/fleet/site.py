"""What a site is: its kiosks, its broker, and who may read. One frozen dataclass, one YAML file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runtime.config import build, read_yaml

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # a label of a host name (RFC 1123): safe in topics and files
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
TOPICS = ("events", "health", "status")  # what a stream publishes under its own topic: runtime/sinks/mqtt.py


@dataclass(frozen=True)
class Kiosk:
    """One device: its name, which is its certificate's and its topic's, and the address that Prometheus asks."""

    name: str
    address: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"expected a kiosk's name of a-z, 0-9 and -, found {self.name!r}")
        if not HOST.fullmatch(self.address):
            raise ValueError(f"expected an address or a host's name, found {self.address!r}")


@dataclass(frozen=True)
class Site:
    """Kiosks that one broker and one Prometheus serve.

    broker: the name or address that kiosks connect to, which its certificate carries. folder: where the broker's files
    will lie on its machine. quiet_hours: so long nobody may pass before that is worth an alert.
    """

    name: str
    broker: str
    kiosks: tuple[Kiosk, ...]
    broker_port: int = 8883
    metrics_port: int = 9109
    monitor: str = "monitor"
    folder: Path = Path("/etc/mosquitto/mien")
    quiet_hours: int = 12

    def __post_init__(self) -> None:
        for what in ("name", "monitor"):
            if not NAME.fullmatch(getattr(self, what)):
                raise ValueError(f"expected a {what} of a-z, 0-9 and -, found {getattr(self, what)!r}")
        if not HOST.fullmatch(self.broker):
            raise ValueError(f"expected the broker's address or host name, found {self.broker!r}")
        users = ["broker", "ca", self.monitor, *(kiosk.name for kiosk in self.kiosks)]
        if twice := sorted({user for user in users if users.count(user) > 1}):
            raise ValueError(f"expected every kiosk under a name of its own, and none named broker, ca or "
                             f"{self.monitor}, found {twice[0]} again")
        if not self.kiosks:
            raise ValueError("expected at least one kiosk, found none")
        for what, least, most in (("broker_port", 1, 65535), ("metrics_port", 1, 65535), ("quiet_hours", 1, 744)):
            if not least <= getattr(self, what) <= most:
                raise ValueError(f"expected {what} of {least}–{most}, found {getattr(self, what)}")
        if not re.fullmatch(r"/[A-Za-z0-9/._-]+", str(self.folder)):
            raise ValueError(f"expected an absolute folder of plain characters, found {str(self.folder)!r}")


def load_site(path: Path) -> Site:
    """Read a site's YAML file. Raises BadConfig."""
    return build(Site, read_yaml(path), str(path))
