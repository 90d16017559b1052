"""A stream's page for tests: what a stream publishes, the page's process, an application asked without a network."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from runtime.camera.source import Frame
from runtime.dashboard.guard import App
from runtime.dashboard.publish import Publisher
from runtime.dashboard.settings import DashboardConfig
from runtime.expressions import Expression
from runtime.faces.detector import Faces
from runtime.pipeline import Scene, Tally
from runtime.sinks.events import EventLog
from runtime.sinks.metrics import Snapshot
from runtime.supervision.health import Health

ROOT = Path(__file__).resolve().parent.parent
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def expression(label: str, probability: float = 0.9) -> Expression:
    """Return a reading that is sure of one label."""
    rest = (1 - probability) / (len(LABELS) - 1)
    return Expression(label, probability, np.array([probability if each == label else rest for each in LABELS]))


def scene_with(labels: list[str], index: int = 0, image: np.ndarray | None = None) -> Scene:
    """Return a frame with so many faces, side by side."""
    image = np.full((120, 160, 3), 90, np.uint8) if image is None else image
    boxes = np.array([[10 + 40 * n, 20, 30, 30] for n in range(len(labels))], float).reshape(-1, 4)
    faces = Faces(boxes, None, np.ones(len(labels)))
    read = [expression(label) for label in labels]
    return Scene(Frame(image, index, index / 10), faces, read, tuple(range(len(labels))), read)


def snapshot_of(**changes: Any) -> Snapshot:
    """Return counts as a stream has them after a while."""
    tally = Tally(frames=1000, frames_with_faces=900, faces=1200, detections=200, tracks=7, seconds=0.0,
                  frames_per_second=0.0,
                  stage_milliseconds={"detect": {"p50": 8.0, "p95": 12.0, "p99": 20.0},
                                      "infer": {"p50": 4.0, "p95": 6.0, "p99": 9.0}},
                  age_milliseconds={"p50": 31.0, "p95": 55.0, "p99": 70.0}, expressions={"happy": 800, "sad": 100},
                  label_changes=3, not_finite=0, damaged_frames=2, idle=4, ended="not run")
    values: dict[str, Any] = {
        "tally": tally, "counts": {"events_written": 900, "camera_dropped": 3, "camera_frozen": 5},
        "memory_bytes": 150 << 20, "uptime_seconds": 93784.0,
        "engine": {"model": "mien-light", "precision": "int8", "target": "cpu", "sha256": "ab" * 32},
        "drift": {"state": "watching", "samples": 40, "agreement": 0.975, "compared_with": "calibration", "alarm": "",
                  "quantities": {"brightness": {"evidence": 0.4, "alarming": False}}}}
    return Snapshot(**{**values, **changes})


def publish(folder: Path, labels: list[str], health: Health | None = None, image: np.ndarray | None = None,
            **settings: Any) -> Publisher:
    """Leave a running stream's status in a folder, as the stream does."""
    if health is None:
        health = Health()
        health.started()
    publisher = Publisher(DashboardConfig(port=1, folder=folder, **settings), health, {})
    publisher.show(snapshot_of(), "v4l2:///dev/video0", LABELS)
    publisher._due = 0.0
    publisher.saw(scene_with(labels, image=image))
    return publisher


def write_events(path: Path, labels: list[str]) -> None:
    """Append one faces event a label, as the stream does."""
    log = EventLog(path, None)
    log.write("start", {"model": "mien-light", "source": "v4l2:///dev/video0"})
    for label in labels:
        scene = scene_with([label])
        log.write_faces(scene.frame, scene.faces, scene.expressions, LABELS, scene.tracks, scene.steady)
    log.close()


def write_page_config(folder: Path, port: int, events: bool = False, **dashboard: Any) -> Path:
    """Write a stream.yaml with a dashboard section."""
    values = {"source": "0", **({"events": "events.jsonl"} if events else {}),
              "dashboard": {"port": port, "folder": str(folder / "channel"), **dashboard}}
    (folder / "stream.yaml").write_text(json.dumps(values))
    return folder / "stream.yaml"


def start_page(config: Path, change: str = "") -> subprocess.Popen[str]:
    """Start the page's process and wait until it listens; `change` is a line of Python that runs before, on `serve`."""
    program = f"""from runtime.dashboard import serve
{change}
import sys, runtime.dashboard.__main__ as main
sys.exit(main.main(["--config", {str(config)!r}]))"""
    running = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONWARNINGS": "error"})
    port = json.loads(config.read_text())["dashboard"]["port"]
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return running
        except OSError:
            if running.poll() is not None or time.monotonic() > deadline:
                running.kill()
                raise AssertionError(f"the page did not start: {running.communicate()[1]}") from None
            time.sleep(0.05)


def stop_page(running: subprocess.Popen[str]) -> str:
    """End the page's process; return what it told. It ends by itself, with 0."""
    running.terminate()
    told = running.communicate(timeout=30)[1]
    assert running.returncode == 0, told
    return told


class Answer:
    """One answer of an ASGI application."""

    def __init__(self, messages: list[dict[str, Any]]):
        self.status = int(messages[0]["status"])
        self.headers = {k.decode().lower(): v.decode() for k, v in messages[0]["headers"]}
        self.content = b"".join(message.get("body", b"") for message in messages[1:])


def ask(app: App, path: str = "/", method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"",
        until: Callable[[bytes], bool] = lambda content: False) -> Answer:
    """Ask an application as a browser would; an endless answer is read until its content satisfies `until`."""
    fields = {"host": "localhost:8765", **({"content-length": str(len(body))} if method == "POST" else {}),
              **(headers or {})}
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
             "method": method, "scheme": "http", "path": path.partition("?")[0], "raw_path": path.encode(),
             "query_string": path.partition("?")[2].encode(),
             "root_path": "", "headers": [(k.encode(), v.encode()) for k, v in fields.items() if v],
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8765)}

    async def exchange() -> Answer:
        messages: list[dict[str, Any]] = []
        gone = asyncio.Event()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            messages.append(message)
            if until(b"".join(each.get("body", b"") for each in messages[1:])):
                gone.set()

        await asyncio.wait_for(app(scope, receive, send), 20)
        return Answer(messages)

    return asyncio.run(exchange())
