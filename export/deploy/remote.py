"""One command on a device, over the user's own ssh: his configuration, keys and known hosts; never a question, never a
new host key. Knows nothing of what the command does.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runtime.errors import BadInput, MienError, Unavailable

SSH_FAILED = 255  # ssh(1): "exits with the exit status of the remote command or with 255 if an error occurred"
OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=15", "ServerAliveInterval=5",
           "ServerAliveCountMax=3")


class Disconnected(MienError):
    """The connection broke, or never was: what the command did over there is not known."""


@dataclass(frozen=True)
class Host:
    """A device: `USER@HOST`, the mien it was set up with, where its slots lie, and a configuration of ssh's."""

    name: str
    mien: str = "/opt/mien/base/bin/mien"
    prefix: str = "/opt/mien"
    ssh_config: Path | None = None

    def __post_init__(self) -> None:
        if self.name.startswith("-") or not self.name.strip():  # ssh would take it for an option
            raise BadInput(f"expected USER@HOST, found {self.name!r}")

    def run(self, arguments: list[str], seconds: float, stdin: BinaryIO | None = None) -> tuple[int, str, str]:
        """Run a command line there; return exit code, output and what it said. Raises Disconnected, Unavailable."""
        ssh = ["ssh", *(["-F", str(self.ssh_config)] if self.ssh_config else []),
               *(word for option in OPTIONS for word in ("-o", option)), "-T", self.name, "--", shlex.join(arguments)]
        try:
            done = subprocess.run(ssh, stdin=stdin or subprocess.DEVNULL, capture_output=True, check=False,
                                  timeout=seconds)
        except FileNotFoundError as error:
            raise Unavailable("expected ssh, found none; apt install openssh-client") from error
        except subprocess.TimeoutExpired as error:
            raise Disconnected(f"expected {arguments[-1]} on {self.name} to end within {seconds:g} s, found silence; "
                               "deploy again") from error
        out, said = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        if done.returncode == SSH_FAILED:
            raise Disconnected(f"expected {self.name} over ssh, found: {_last(said)}; ssh {self.name} shows it, and "
                               "deploying again goes on")
        return done.returncode, out, said

    def ask(self, words: list[str], seconds: float, stdin: BinaryIO | None = None) -> dict[str, Any]:
        """Run a verb of the device's mien and return its JSON. Raises MienError with the device's own line."""
        code, out, said = self.run([*shlex.split(self.mien), *words, "--json"], seconds, stdin)
        if code:
            raise MienError(_last(said) or f"exit {code}")
        try:
            values: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise MienError(f"expected JSON of mien {words[0]} on {self.name}, found {out[:80]!r}; is its mien of this "
                            "version?") from error
        return values

    def slot(self, verb: str, *words: str, seconds: float = 60.0, stdin: BinaryIO | None = None) -> dict[str, Any]:
        """Run `mien slot VERB` under the device's prefix."""
        return self.ask(["slot", verb, *words, "--prefix", self.prefix], seconds, stdin)


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("mien: ") and not line.startswith("mien: warning")]
    return (errors or lines or [""])[-1].removeprefix("mien: ")
