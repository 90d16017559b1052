"""What a stream is told: one frozen dataclass, one YAML file, one set of flags. Knows nothing of how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.config import build, read_yaml

NOTICE = "Facial expressions are being analysed here"


@dataclass(frozen=True)
class StreamConfig:
    """Everything a stream is told; stream.yaml comments every key. 0 leaves threads, frames and camera as they come."""

    source: str
    model: str = "mien-light"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    target: Literal["auto", "cpu", "tensorrt", "tensorrt-rtx"] = "auto"
    threads: int = 0
    cache: Path | None = None
    faces: str = "haar"
    max_faces: int = 8
    face_threshold: float = 0.6
    threshold: float = 0.4
    events: Path | None = None
    video: Path | None = None
    view: bool = False
    notice: str = NOTICE
    max_frames: int = 0
    camera_width: int = 0
    camera_height: int = 0
    camera_fps: float = 0.0

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("expected a source, found none; name a camera, a video, a folder or an image")
        for name, most in (("threshold", 1.0), ("face_threshold", 1.0), ("camera_fps", 1000.0), ("threads", 256),
                           ("camera_width", 7680), ("camera_height", 4320), ("max_frames", 10**12)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of 0–{most:g}, found {getattr(self, name)}")
        if not 1 <= self.max_faces <= 64:
            raise ValueError(f"expected max_faces of 1–64, found {self.max_faces}")
        if len(self.notice) > 200:
            raise ValueError(f"expected a notice of at most 200 characters, found {len(self.notice)}")


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> StreamConfig:
    """Read a stream.yaml; overrides (None: not given) replace its keys. Raises BadConfig.

    Relative paths in the file mean "beside this file"; those in overrides mean the working directory.
    """
    values = read_yaml(path)
    if type(values.get("source")) is int:  # `source: 0`, the first camera, is a number to YAML
        values["source"] = str(values["source"])
    folder = path.absolute().parent
    for key in ("source", "model", "cache", "faces", "events", "video"):
        value = values.get(key)
        if isinstance(value, str) and value and _is_path(key, value, folder):
            values[key] = str(folder / value)
    return build(StreamConfig, {**values, **_given(overrides or {})}, str(path))


def config_of(values: Mapping[str, Any]) -> StreamConfig:
    """Make a configuration of flags alone; None means not given. Raises BadConfig."""
    return build(StreamConfig, _given(values), "the command line")


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if v is not None}


def _is_path(key: str, value: str, folder: Path) -> bool:
    if key == "source":
        return "://" not in value and not value.isdecimal()
    if key == "model":  # a bare name is a model that ships, unless one lies here
        return "/" in value or (folder / value).is_dir()
    return not (key == "faces" and value == "haar")
