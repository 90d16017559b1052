"""Aligning a model: the crop changes, the graphs do not, and golden frames replay through landmarks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from export.faces.align_model import align_model
from runtime.card import load_model
from runtime.engines import open_graph_on_cpu
from runtime.errors import BadInput
from runtime.golden import require_agreement
from train.expression.run import load_network
from train.expression.stream_crops import TEMPLATE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """The shipped model's directory, as a copy."""
    shutil.copytree(ROOT / "runtime" / "models" / "mien-light", tmp_path / "mien-light")
    return tmp_path / "mien-light"


def test_graphs_stay_and_golden_frames_are_cut_by_landmarks(boxed: Path) -> None:
    before = load_model(boxed).card
    network, facts = load_network(ROOT / "train" / "checkpoints" / "mien-light")
    assert before.training["checkpoint_sha256"] == facts["sha256"]
    after = align_model(load_model(boxed), network)
    assert after.graphs == before.graphs and after.input.template == TEMPLATE
    model = load_model(boxed)
    golden = model.read_golden()
    assert golden.landmarks is not None and np.isfinite(golden.landmarks).all()
    for graph in after.graphs:
        assert require_agreement(model, open_graph_on_cpu(model, graph), graph).largest <= after.golden_bound[graph]


def test_another_networks_weights_are_refused_and_nothing_changes(boxed: Path) -> None:
    network, _ = load_network(ROOT / "train" / "checkpoints" / "mien-light-50")
    before = (boxed / "card.json").read_bytes()
    with pytest.raises(BadInput, match="give its own"):
        align_model(load_model(boxed), network)
    assert (boxed / "card.json").read_bytes() == before
