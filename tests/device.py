"""A device on loopback: a real OpenSSH server with its own keys and port, a prefix, and a service that restarts.

The service answers /readyz as its control file says, from the slot that was current when it started. Faults are
injected where the device's mien is called: the connection dies before, during or after a step.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from bundles import make_key, trust
from loopback import free_port

ROOT = Path(__file__).resolve().parent.parent

WRAPPER = """#!{python} -I
# The device's mien. With a file `fault` beside it, the connection dies at that step, once; the nth time it is taken.
import os, signal, subprocess, sys, time
from pathlib import Path

def cut():
    process = os.getpid()
    while True:
        words = Path(f"/proc/{{process}}/stat").read_text().rpartition(")")
        if "sshd" in words[0]:
            os.kill(process, signal.SIGKILL)
            return
        process = int(words[2].split()[1])

fault = Path({fault!r})
step, when, nth = fault.read_text().split() if fault.exists() else ("", "", "1")
mien = [sys.executable, "-I", "-m", "mien", *sys.argv[1:]]
if step and step in sys.argv[1:3] and int(nth) > 1:
    fault.write_text(f"{{step}} {{when}} {{int(nth) - 1}}")
elif step and step in sys.argv[1:3]:
    fault.unlink()
    if when == "before":
        cut()
    elif when == "during":
        child = subprocess.Popen(mien)
        time.sleep(0.25)
        child.kill()
        cut()
    else:
        subprocess.run(mien, stdout=subprocess.DEVNULL)
        cut()
    sys.exit(1)
os.execv(sys.executable, mien)
"""

SERVICE = """
import http.server, json, os, sys
from pathlib import Path

prefix, control = Path(sys.argv[1]), Path(sys.argv[2])
slot = os.path.basename(os.readlink(prefix / "current"))
port = json.loads((prefix / "current/bundle/stream.yaml").read_text())["metrics"]["port"]

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        says = json.loads(control.read_text())
        if self.path == "/slot":
            says = {"slot": slot}
        elif slot in says:
            says = says[slot]
        else:
            says = {"state": "running", "troubles": {}}
        self.send_response(200 if says.get("state", "running") == "running" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(says).encode())

    def log_message(self, *_):
        pass

if json.loads(control.read_text()).get(slot) == "crash":
    sys.exit(1)
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""

RESTART = """#!/bin/sh
# Ends the service and starts it again, as systemd would
if [ -f {pid} ]; then kill $(cat {pid}) 2>/dev/null; while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.02; done; fi
{python} -I -m mien slot attempt --prefix {prefix} >/dev/null 2>&1
setsid {python} -I {service} {prefix} {control} </dev/null >/dev/null 2>&1 &
echo $! > {pid}
"""


class Device:
    """Started at once; `close` ends its server and its service. `ssh_config` names it `device`."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder, self.prefix, self.port, self.kiosk_port = folder, folder / "opt", free_port(), free_port()
        self.prefix.mkdir()
        self.key = make_key(folder / "release")
        self.signers = trust(self.prefix / "allowed_signers", self.key)
        self.control, self.pid, self.fault = folder / "control.json", folder / "pid", folder / "fault"
        self.control.write_text("{}")
        (folder / "service.py").write_text(SERVICE)
        self.mien = self._script("mien", WRAPPER.format(python=sys.executable, fault=str(self.fault)))
        self.restart = self._script("restart", RESTART.format(
            pid=self.pid, python=sys.executable, prefix=self.prefix, service=folder / "service.py",
            control=self.control))
        self._client, self._host = make_key(folder / "client"), make_key(folder / "host")
        shutil.copyfile(folder / "client.pub", folder / "authorized_keys")
        self.ssh_config = folder / "ssh_config"
        self.ssh_config.write_text(
            f"Host device*\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {self._client}\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {folder}/known_hosts\n GlobalKnownHostsFile /dev/null\n LogLevel ERROR\n")
        self.know_host(self._host)
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self._host}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            "PermitRootLogin yes\n")
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's privilege separation wants it
        self._sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
                                      stderr=subprocess.DEVNULL)
        self._wait_for_server()

    def know_host(self, key: Path) -> None:
        """Let the client expect this host key."""
        public = " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}\n")

    def flags(self) -> list[str]:
        """Return what mien deploy needs to reach it."""
        return ["device", "--ssh-config", str(self.ssh_config), "--prefix", str(self.prefix), "--remote-mien",
                str(self.mien), "--restart", str(self.restart)]

    def running_slot(self) -> str:
        """Ask the service from which slot it was started, '' where nobody answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.kiosk_port}/slot", timeout=5) as page:
                return str(json.loads(page.read())["slot"])
        except OSError:
            return ""

    def says(self, slot: str, answer: object) -> None:
        """Let a slot's service answer this from now on."""
        self.control.write_text(json.dumps({**json.loads(self.control.read_text()), slot: answer}))

    def close(self) -> None:
        """End the server and the service."""
        self._sshd.kill()
        self._sshd.wait()
        if self.pid.exists():
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(self.pid.read_text()), signal.SIGKILL)

    def _script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def _wait_for_server(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("sshd did not start")
