"""Faults 15–22: model files damaged, crafted, or something else; row 17 and what a bundle meets lie apart.

That a service falls back where a model does not open is in tests/runtime/supervision/test_fallback.py.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from kiosk import endless_folder, events_in, finish, has_event, start, wait_until, write_config
from onnx import TensorProto
from tiny_model import LABELS, TinyNetwork, write_tiny_card, write_tiny_model

from runtime.camera import open_source
from runtime.card import load_model, save_card
from runtime.engines import open_engine
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadModel, MienError
from runtime.expressions import ExpressionReader
from runtime.faces.detector import Faces
from runtime.golden import require_agreement
from runtime.pipeline import Pipeline, Scene
from runtime.sinks.events import EventLog

Record = Callable[[str, object], None]
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')


def note(record: Record, fault: str, injected: str, observed: str) -> None:
    record("fault", fault)
    record("injected", injected)
    record("observed", observed)


def test_15_one_bit_flipped(tiny_model: Path, record_property: Record) -> None:
    graph = tiny_model / "fp32.onnx"
    content, random, flips, accepted = graph.read_bytes(), np.random.default_rng(0), 300, 0
    for _ in range(flips):
        spoilt = bytearray(content)
        spoilt[int(random.integers(len(spoilt)))] ^= 1 << int(random.integers(8))
        graph.write_bytes(spoilt)
        try:
            load_model(tiny_model).read_graph("fp32")
            accepted += 1
        except BadModel as error:
            assert "fp32.onnx" in str(error)
    assert accepted == 0
    note(record_property, "15 one bit of a graph flipped", f"{flips} bits, one at a time", "all refused by their hash")


def test_16_truncated_while_it_runs(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record
) -> None:
    other = write_tiny_model(tmp_path / "new-model", TinyNetwork.random(3))
    os.truncate(other / "fp32.onnx", (other / "fp32.onnx").stat().st_size // 2)
    events = tmp_path / "e.jsonl"
    keys = {"source": endless_folder(tmp_path / "in", face_photo), "events": events}
    config = write_config(tmp_path / "s.yaml", model=tiny_model, **keys)
    running = start(config)
    wait_until(lambda: has_event(events, "faces"), running)
    write_config(config, model=other, **keys)
    running.send_signal(signal.SIGHUP)
    wait_until(lambda: has_event(events, "reload", done=False), running)
    written = events.stat().st_size
    wait_until(lambda: events.stat().st_size > written + 1000, running)
    running.send_signal(signal.SIGTERM)
    code, _, _ = finish(running)
    why = next(e["why"] for e in events_in(events) if e["event"] == "reload")
    assert code == 0 and "fp32.onnx" in why
    note(record_property, "16 truncated graph", "half of a new model's graph, offered to a running stream",
         "refused by its hash in one line; the old model runs on")


@pytest.mark.parametrize("kind", ["../", "absolute", "symlink", "hard link"])
def test_18_external_data(kind: str, tmp_path: Path, record_property: Record) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(8))
    directory = write_tiny_model(tmp_path / "m")
    graph = TinyNetwork.random().graph()
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    location = {"../": "../secret", "absolute": str(secret)}.get(kind, "weights.bin")
    outside.external_data.add(key="location", value=location)
    graph.graph.initializer.append(outside)
    if kind == "symlink":
        (directory / location).symlink_to(secret)
    elif kind == "hard link":
        os.link(secret, directory / location)
    (directory / "fp32.onnx").write_bytes(graph.SerializeToString())
    write_tiny_card(directory)  # the hash fits
    with pytest.raises(BadModel, match="external data"):
        load_model(directory).read_graph("fp32")
    note(record_property, f"18 external data, {kind}", "weights that lie elsewhere, under a card that fits",
         "refused before any parser sees it")


@needs_rtx
def test_19_fuzzed_graph_meets_the_compiler(record_property: Record) -> None:
    content, random = TinyNetwork.random().graph().SerializeToString(), np.random.default_rng(1)
    refused = compiled = 0
    request = CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 48, 48), timeout_seconds=120)
    tries = 5
    for _ in range(tries):
        spoilt = bytearray(content)
        for place in random.integers(len(spoilt), size=40):
            spoilt[int(place)] = int(random.integers(256))
        try:
            compile_onnx(bytes(spoilt), request)
            compiled += 1
        except MienError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused + compiled == tries and refused > 0
    note(record_property, "19 fuzzed graph in the compiler", f"40 bytes of a graph replaced, {tries} times; NVIDIA's "
         "compiler in a child", f"{refused} refused in one line, {compiled} compiled; this process lives")


class Payload:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


def test_20_a_pickle_is_offered(tmp_path: Path, record_property: Record) -> None:
    struck = tmp_path / "struck"
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(pickle.dumps(Payload(struck)))
    with pytest.raises(MienError):
        load_model(checkpoint)
    directory = write_tiny_model(tmp_path / "m")
    (directory / "fp32.onnx").write_bytes(checkpoint.read_bytes())
    write_tiny_card(directory)
    with pytest.raises(MienError):
        open_engine(load_model(directory), "fp32", "cpu")
    np.savez(directory / "golden.npz", faces=np.array([Payload(struck)], object), logits=np.zeros((1, 7), np.float32))
    write_tiny_card(directory)
    with pytest.raises(MienError):
        load_model(directory).read_golden()
    assert not struck.exists()
    pickle.loads(checkpoint.read_bytes())
    assert struck.exists(), "the payload works where it is opened"
    note(record_property, "20 a pickle is offered", "one that acts when opened: as model, as graph, in the golden file",
         "never opened; three refusals")


@pytest.mark.parametrize("change", ["order", "count"])
def test_21_labels_differ(change: str, tmp_path: Path, record_property: Record) -> None:
    if change == "count":
        directory = write_tiny_model(tmp_path / "m", labels=(*LABELS, "contempt"))
        with pytest.raises(BadModel, match="label count"):
            open_engine(load_model(directory), "fp32", "cpu")
    else:
        shipped = load_model(Path("mien-light"))
        for file in shipped.directory.iterdir():
            os.symlink(file, tmp_path / file.name)
        (tmp_path / "card.json").unlink()
        save_card(tmp_path, replace(shipped.card, labels=shipped.card.labels[::-1]))
        model = load_model(tmp_path)
        with pytest.raises(MienError, match="expected the labels angry"):
            require_agreement(model, open_engine(model, "fp32", "cpu"), "fp32")
    note(record_property, f"21 label {change} differs", "a card with other labels, and hashes that fit",
         {"order": "the pinned answers refuse it before a frame is scored", "count": "refused on opening"}[change])


class Middle:
    """A detector that takes the middle of every frame for a face."""

    name = "middle"

    def detect(self, frame: np.ndarray) -> Faces:
        return Faces(np.array([[40, 40, 80, 80]], np.float32), None, np.ones(1, np.float32))

    def close(self) -> None:
        """Nothing is open."""


def test_22_nan_weights(tmp_path: Path, record_property: Record) -> None:
    network = TinyNetwork.random()
    network.weights[3, 3] = np.nan
    directory = write_tiny_model(tmp_path / "m", network)
    with pytest.raises(BadModel, match="finite weights"):
        load_model(directory).read_graph("fp32")
    note(record_property, "22 NaN weights", "one weight, under a card that fits", "refused before it is opened")


def test_22_nan_outputs(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), cv2.resize(face_photo, (160, 188)))
    real, runs = OnnxRuntimeEngine.run, []

    def failing(self: OnnxRuntimeEngine, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        runs.append(len(runs))
        return {name: values * np.float32("nan" if runs[-1] >= 3 else 1) for name, values in real(self, arrays).items()}

    monkeypatch.setattr(OnnxRuntimeEngine, "run", failing)
    model = load_model(tiny_model)
    reader, events = ExpressionReader(model, open_engine(model, "fp32", "cpu")), EventLog(tmp_path / "e.jsonl")

    def sink(scene: Scene) -> None:
        events.write_faces(scene.frame, scene.faces, scene.expressions, LABELS)

    tally = Pipeline(open_source(str(tmp_path / "in")), Middle(), reader, [sink]).run()
    events.close()
    assert (tally.frames, tally.not_finite) == (6, 3)
    found = events_in(tmp_path / "e.jsonl")
    assert [e["frame"] for e in found] == [0, 1, 2]
    note(record_property, "22 NaN outputs", "an engine whose answers turn NaN at the fourth of six frames",
         "3 events, then none; 3 counted as not finite")
