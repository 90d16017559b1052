"""What goes into a bundle: models by their cards, the stream's configuration, wheels, units, the notice. Paths → bytes.

Every byte is verified on its way in. Knows nothing of manifests, tars or keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.image_list import MAX_BYTES as MAX_LIST_BYTES
from runtime.card import MAX_CARD_BYTES, MAX_GRAPH_BYTES, FileEntry, Model, load_model
from runtime.config import parse_yaml
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput, BadModel
from runtime.stream_config import StreamConfig, load_config

UNITS = Path(__file__).parent.parent.parent / "runtime" / "units"
MAX_WHEEL_BYTES = 1 << 30


def model_files(model: Model) -> dict[str, bytes]:
    """Return a model directory's card and all that it names, verified, by file name. Raises BadModel."""
    found = {"card.json": _read(model.directory / "card.json", MAX_CARD_BYTES)}
    for graph, entry in model.card.graphs.items():
        found[entry.file] = model.read_graph(graph)
    if model.card.golden is None:
        raise BadModel(f"expected golden vectors in {model.directory}, found none; a device proves its engine on them: "
                       "mien export makes them")
    model.read_golden()
    found[model.card.golden.file] = _read(model.directory / model.card.golden.file, MAX_GRAPH_BYTES)
    if (baseline := model.read_drift()) is not None and model.card.drift:
        found[model.card.drift.file] = baseline
    for values in model.card.calibration.get("files", {}).values():
        entry = FileEntry(**values)
        content = _read(model.directory / entry.file, MAX_LIST_BYTES)
        if FileEntry.of(model.directory / entry.file) != entry:
            raise BadModel(f"expected the bytes whose hash is in card.json, found others in "
                           f"{model.directory / entry.file}; calibrate the model again")
        found[entry.file] = content
    return found


@dataclass(frozen=True)
class BundledModels:
    """The files of the network and the detector, how the configuration names each, and the models themselves."""

    files: dict[str, bytes]
    model: str
    faces: str
    models: tuple[Model, ...]


def bundled_models(model: str, faces: str) -> BundledModels:
    """Return what a stream reads faces and expressions with.

    model: a model directory or a shipped name; faces: the same, `haar`, or a YuNet `.onnx`. Raises BadInput, BadModel.
    """
    network = load_model(Path(model))
    if network.card.task != "expression":
        raise BadInput(f"expected a model that reads expressions, found {model}, which finds {network.card.task}s")
    place = f"models/{_plain(network.card.name)}"
    files = {f"{place}/{name}": content for name, content in model_files(network).items()}
    if faces == "haar":
        return BundledModels(files, place, faces, (network,))
    if faces.endswith(".onnx"):
        detector = f"models/{_plain(Path(faces).name)}"
        files[detector] = _read(Path(faces), MAX_GRAPH_BYTES)
        return BundledModels(files, place, detector, (network,))
    finder = load_model(Path(faces))
    if finder.card.task != "face":
        raise BadInput(f"expected a model that finds faces, found {faces}, which reads {finder.card.task}s")
    detector = f"models/{_plain(finder.card.name)}"
    files |= {f"{detector}/{name}": content for name, content in model_files(finder).items()}
    return BundledModels(files, place, detector, (network, finder))


def bundled_config(path: Path, model: str, faces: str) -> bytes:
    """Return a stream.yaml's text, comments and all, whose model and faces are the bundled ones. Raises BadConfig,
    BadInput where it names a path that a slot does not have, or serves no health."""
    before = load_config(path)
    beside = {key: str(value) for key, value in _paths(before).items()
              if value is not None and path.absolute().parent in Path(value).parents}
    if beside:
        key, value = next(iter(beside.items()))
        raise BadInput(f"expected an absolute path for {key} in {path}, found {value}, beside the file: a slot is "
                       "read-only to the service; write one such as /var/lib/mien/events.jsonl")
    if not before.metrics.port:
        raise BadInput(f"expected metrics.port above 0 in {path}, found 0; a new bundle is kept or rolled back by what "
                       "/readyz says there")
    text = path.read_text(encoding="utf-8")
    for key, value in (("model", model), ("faces", faces)):
        text, replaced = re.subn(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
        text = text if replaced else f"{text.rstrip()}\n{key}: {value}\n"
    if [parse_yaml(text, str(path)).get(key) for key in ("model", "faces")] != [model, faces]:
        raise BadInput(f"expected model and faces on lines of their own in {path}, found another form; see stream.yaml")
    return text.encode()


def units() -> dict[str, bytes]:
    """Return the systemd units that ship, by path."""
    return {f"units/{path.name}": path.read_bytes() for path in sorted(UNITS.iterdir()) if path.is_file()}


def wheels(folder: Path) -> dict[str, bytes]:
    """Return every wheel of a folder, by path. Raises BadInput."""
    found = {f"wheels/{wheel_name(path.name)}": _read(path, MAX_WHEEL_BYTES) for path in sorted(folder.glob("*.whl"))}
    if not found:
        raise BadInput(f"expected wheels in {folder}, found none; pip download --dest {folder} … fetches them")
    return found


def wheel_name(name: str) -> str:
    """Return a wheel's name with one of its platforms.

    A name lists all that would do (https://packaging.python.org/specifications/platform-compatibility-tags/), and
    PyYAML's for aarch64 is longer than a path in a bundle may be.
    """
    stem, dash, platforms = name.removesuffix(".whl").rpartition("-")
    return f"{stem}{dash}{min(platforms.split('.'))}.whl"


def notice(config: StreamConfig) -> bytes:
    """Return the text that people in front of the camera must be shown, for the site to print."""
    return (f"{config.notice}\n\nA camera here estimates facial expressions. The bundle's stream.yaml says what is "
            "kept.\n").encode()


def _paths(config: StreamConfig) -> dict[str, Any]:
    mqtt, page = config.mqtt, config.dashboard
    return {"events": config.events, "video": config.video, "cache": config.cache,
            "supervision.state": config.supervision.state, "mqtt.password_file": mqtt.password_file,
            "mqtt.ca_file": mqtt.ca_file, "mqtt.certificate": mqtt.certificate, "mqtt.key": mqtt.key,
            "recovery.credentials": config.recovery.credentials, "dashboard.token_file": page.token_file,
            "dashboard.certificate": page.certificate, "dashboard.key": page.key, "dashboard.folder": page.folder,
            "source": None if "://" in config.source or config.source.isdecimal() else config.source}


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,49}", name):
        raise BadInput(f"expected a model's name of letters, digits, - and _, found {name!r}; export it under another")
    return name


def _read(path: Path, most: int) -> bytes:
    try:
        return read_regular_file(path, most)[0]
    except FileNotFoundError as error:
        raise BadInput(f"expected the file {path}, found nothing; check the path") from error

