"""The Dockerfile that ships, as far as it can be judged without docker."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

import mien
from export.forms.deb_from_bundle import SCRIPTS
from runtime.machine import ROOT

LINES = (SCRIPTS / "Dockerfile").read_text().splitlines()
JOINED = "\n".join(line for line in LINES if not line.startswith("#")).replace("\\\n", " ")
INSTRUCTIONS = [(words[0], words[1]) for line in JOINED.splitlines() if (words := line.split(None, 1))]
DEVICES = yaml.safe_load((ROOT / "runtime/engines/devices.yaml").read_text())


def of(kind: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == kind]


def test_its_base_is_a_jetpack_that_we_know() -> None:
    image, _, tag = of("FROM")[0].rpartition(":")
    assert image == "nvcr.io/nvidia/l4t-jetpack" and len(of("FROM")) == 1
    assert f'"{tag.removeprefix("r")}"' in json.dumps(DEVICES)


def test_what_it_runs_is_a_verb_and_no_shell_stands_before_it() -> None:
    entry, command = json.loads(of("ENTRYPOINT")[0]), json.loads(of("CMD")[0])  # JSON: SIGTERM reaches mien itself
    assert entry[0].endswith("/mien")
    mien.make_parser().parse_args([*entry[1:], *command])


def test_its_comments_show_commands_that_are_understood() -> None:
    shown = re.sub(r"\\\n#\s*", "", "\n".join(LINES[:12]))
    verbs = re.findall(r"kiosk:1\.4\.0 (prepare .*)$", shown, flags=re.MULTILINE)
    assert verbs
    for words in verbs:
        mien.make_parser().parse_args(shlex.split(words))


class Says(BaseHTTPRequestHandler):
    """A stream that answers /readyz."""

    troubles: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        """Answer as a stream does."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"state": "running", "troubles": self.troubles}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("troubles", "code"), [({}, 0), ({"engine": "fell back"}, 1)])
def test_its_health_is_asked_where_the_configuration_serves_it(
    troubles: dict[str, str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Says, "troubles", troubles)
    program = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])[-1]
    assert program.count("/opt/mien/current/bundle") == 1
    with HTTPServer(("127.0.0.1", 0), Says) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "stream.yaml").write_text(f"metrics: {{port: {server.server_port}}}\n")
        asked = program.replace("/opt/mien/current/bundle", str(tmp_path))
        done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, check=False, capture_output=True, text=True)
        server.shutdown()
    assert (done.returncode, done.stderr) == (code, "")


def test_it_is_not_root_and_takes_no_tensorrt_from_pip() -> None:
    assert of("USER")[-1] == "mien" and "pip" not in JOINED and "--no-install-recommends" in JOINED
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
