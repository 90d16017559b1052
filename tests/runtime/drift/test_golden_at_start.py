"""At the start: an engine that departs from PyTorch's golden logits never reads a face in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from kiosk import events_in, folder_of
from tiny_model import TinyNetwork, write_tiny_model

from runtime.card import FileEntry, load_model, save_card
from runtime.golden import Departure
from runtime.stream import run_stream
from runtime.stream_config import StreamConfig, SupervisionConfig


@pytest.fixture
def departing(tmp_path: Path) -> Path:
    """A model whose half-precision file, hashed as it should be, holds weights that are 5 % off."""
    folder = write_tiny_model(tmp_path / "model")
    network, generator = TinyNetwork.random(), np.random.default_rng(0)
    off = network.weights * (1 + 0.05 * generator.standard_normal(network.weights.shape)).astype(np.float32)
    (folder / "fp16.onnx").write_bytes(TinyNetwork(off, network.bias).graph().SerializeToString())
    card = load_model(folder).card
    save_card(folder, dataclasses.replace(card, golden_bound=card.golden_bound | {"fp16": 0.01},
                                          graphs=card.graphs | {"fp16": FileEntry.of(folder / "fp16.onnx")}))
    return folder


def test_with_a_state_folder_the_next_precision_reads_and_health_says_why(
    tmp_path: Path, departing: Path, face_photo: np.ndarray
) -> None:
    pictures = folder_of(tmp_path / "in", face_photo, frames=3)
    summary = run_stream(StreamConfig(
        str(pictures), model=str(departing), precision="fp16", target="cpu", faces="haar", events=tmp_path / "e.jsonl",
        supervision=SupervisionConfig(state=tmp_path / "state")))
    assert (summary.precision, summary.frames) == ("fp32", 3)
    health = next(e for e in events_in(tmp_path / "e.jsonl") if e["event"] == "health")
    assert health["state"] == "degraded"
    why = health["troubles"]["engine"]
    assert why.startswith("fp16 on cpu failed: expected the fp16 engine within 0.01 of PyTorch")
    assert why.endswith("fp32 on cpu runs")


def test_without_one_the_stream_does_not_start(tmp_path: Path, departing: Path, face_photo: np.ndarray) -> None:
    pictures = folder_of(tmp_path / "in", face_photo, frames=3)
    with pytest.raises(Departure, match="expected the fp16 engine within 0.01"):
        run_stream(StreamConfig(str(pictures), model=str(departing), precision="fp16", target="cpu", faces="haar",
                                events=tmp_path / "e.jsonl"))
    assert not (tmp_path / "e.jsonl").exists()
