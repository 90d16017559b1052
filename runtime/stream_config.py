"""What a stream is told: one frozen dataclass, one YAML file, one set of flags. Knows nothing of how it is done."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from runtime.camera import names_a_path
from runtime.camera.recovery import Recovery
from runtime.config import build, read_yaml
from runtime.dashboard.settings import DashboardConfig
from runtime.drift.config import DriftConfig
from runtime.faces.model_detector import LONGEST_SIDE
from runtime.privacy import RecordingConfig
from runtime.sinks.event_files import EventFiles

NOTICE = "Facial expressions are being analysed here"


@dataclass(frozen=True)
class MetricsConfig:
    """Where Prometheus and a watchdog ask; port 0 serves nobody."""

    port: int = 0
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"expected a port of 0–65535, found {self.port}")
        if not self.host or not self.host.isascii() or not self.host.isprintable():
            raise ValueError(f"expected a host's name or address, found {self.host!r}; 127.0.0.1 answers this machine "
                             "only")


@dataclass(frozen=True)
class MqttConfig:
    """Which MQTT broker is told; no host, none. The password stands in a file or the environment, never here."""

    host: str = ""
    port: int = 0
    topic: str = "mien"
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    keepalive: int = 30
    queue: int = 1000

    def __post_init__(self) -> None:
        for name, least, most in (("port", 0, 65535), ("keepalive", 5, 3600), ("queue", 1, 100_000)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least}–{most}, found {getattr(self, name)}")
        if not re.fullmatch(r"[^+#/\s][^+#\s]{0,199}", self.topic):  # MQTT 3.1.1, 4.7: + and # are wildcards
            raise ValueError(f"expected a topic without +, # and spaces, found {self.topic!r}")
        if (self.ca_file or self.certificate or self.key) and not self.tls:
            raise ValueError("expected tls: true beside ca_file, certificate or key, found false")


@dataclass(frozen=True)
class SupervisionConfig:
    """What keeps a stream alive for months; 0 switches the memory alarm off."""

    state: Path | None = None
    engine_tries: int = 3
    memory_slope: float = 50.0
    memory_window: float = 3600.0

    def __post_init__(self) -> None:
        for name, least, most in (("engine_tries", 1, 100), ("memory_slope", 0, 1e6), ("memory_window", 1, 1e6)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least}–{most:g}, found {getattr(self, name)}")


@dataclass(frozen=True)
class TrackingConfig:
    """How faces are followed from frame to frame; see `TrackRules`. Still pictures are searched one by one."""

    detect_every: int = 5
    births: int = 2
    misses: int = 1
    expire: float = 1.0

    def __post_init__(self) -> None:
        for name, least, most in (("detect_every", 1, 100), ("births", 1, 10), ("misses", 0, 10), ("expire", 0.05, 60)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least:g}–{most}, found {getattr(self, name)}")


@dataclass(frozen=True)
class SmoothingConfig:
    """How slowly a shown label follows the readings; see `SteadyRules`."""

    seconds: float = 0.5
    margin: float = 0.1
    dwell: float = 0.5
    read_every: int = 1

    def __post_init__(self) -> None:
        for name, least, most in (("seconds", 0, 60), ("margin", 0, 1), ("dwell", 0, 60), ("read_every", 1, 100)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least}–{most}, found {getattr(self, name)}")


@dataclass(frozen=True)
class StreamConfig:
    """Everything a stream is told; stream.yaml comments every key. 0 leaves threads, frames and camera as they come."""

    source: str
    model: str = "mien-light"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    target: Literal["auto", "cpu", "tensorrt", "tensorrt-rtx"] = "auto"
    threads: int = 0
    cache: Path | None = None
    faces: str = "mien-face"
    face_precision: Literal["fp32", "fp16", "int8"] = "fp32"
    face_side: int = LONGEST_SIDE
    face_threshold: float = 0.0
    max_faces: int = 8
    threshold: float = 0.4
    events: Path | None = None
    video: Path | None = None
    view: bool = False
    notice: str = NOTICE
    max_frames: int = 0
    camera_width: int = 0
    camera_height: int = 0
    camera_fps: float = 0.0
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    recovery: Recovery = field(default_factory=Recovery)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    event_files: EventFiles = field(default_factory=EventFiles)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    dashboard: DashboardConfig = field(default_factory=DashboardConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("expected a source, found none; name a camera, a video, a folder or an image")
        for name, most in (("threshold", 1.0), ("face_threshold", 1.0), ("camera_fps", 1000.0), ("threads", 256),
                           ("camera_width", 7680), ("camera_height", 4320), ("max_frames", 10**12)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of 0–{most:g}, found {getattr(self, name)}")
        if not 64 <= self.face_side <= 4096:
            raise ValueError(f"expected face_side of 64–4096 pixels, found {self.face_side}")
        if not 1 <= self.max_faces <= 64:
            raise ValueError(f"expected max_faces of 1–64, found {self.max_faces}")
        if len(self.notice) > 200:
            raise ValueError(f"expected a notice of at most 200 characters, found {len(self.notice)}")

    def to_yaml(self) -> str:
        """Return every key as a stream.yaml that reads back as this; a source's user and password are left out."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def to_dict(self) -> dict[str, Any]:
        """Return every key in plain types; a source's user and password are left out."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values | {"source": without_credentials(self.source)}


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> StreamConfig:
    """Read a stream.yaml; overrides (None: not given) replace its keys. Raises BadConfig.

    Relative paths in the file mean "beside this file"; those in overrides mean the working directory.
    """
    values = read_yaml(path)
    if type(values.get("source")) is int:  # `source: 0`, the first camera, is a number to YAML
        values["source"] = str(values["source"])
    recording = values.get("recording")
    if isinstance(recording, dict) and isinstance(recording.get("until"), datetime):  # YAML knows moments
        recording["until"] = recording["until"].isoformat()
    _lie_beside(path.absolute().parent, values)
    return build(StreamConfig, {**values, **_given(overrides or {})}, str(path))


def config_of(values: Mapping[str, Any]) -> StreamConfig:
    """Make a configuration of flags alone; None means not given. Raises BadConfig."""
    return build(StreamConfig, _given(values), "the command line")


def without_credentials(uri: str) -> str:
    """Return a URI without `user:password@`."""
    return re.sub(r"://[^/@\s]*@", "://***@", uri)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if v is not None}


def _lie_beside(folder: Path, values: dict[str, Any]) -> None:
    """Make the relative paths of a file's keys absolute, its sections' too."""
    paths = {"recovery": ("credentials",), "mqtt": ("password_file", "ca_file", "certificate", "key"),
             "dashboard": ("token_file", "certificate", "key", "folder"), "supervision": ("state",)}
    for key in ("source", "model", "cache", "faces", "events", "video"):
        value = values.get(key)
        if isinstance(value, str) and value and _is_path(key, value, folder):
            values[key] = str(folder / value)
    for section, keys in paths.items():
        inside: Any = values.get(section)
        for key in keys if isinstance(inside, dict) else ():
            if isinstance(inside.get(key), str) and inside[key]:
                inside[key] = str(folder / inside[key])


def _is_path(key: str, value: str, folder: Path) -> bool:
    if key == "source":
        return names_a_path(value)
    if key in ("model", "faces"):  # a bare name is a model that ships, unless something lies here
        return "/" in value or value.endswith(".onnx") or os.path.exists(folder / value)  # False: too long a name
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return str(value) if isinstance(value, Path) else value
