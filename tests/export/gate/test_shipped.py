"""The shipped model through the gate: PrivateTest less copies of training images, the form that ships to a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from export.gate.answers import Answers
from export.gate.budget import Budget
from export.gate.check import answer_all, judge
from runtime.card import Model
from runtime.engines import open_engine, open_graph_on_cpu
from runtime.engines.face_batches import engine_logits
from runtime.golden import require_agreement
from train.datasets.labelled_faces import LabelledFaces, without_copies_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def answers(shipped: Model, fer2013: LabelledFaces) -> Answers:
    """INT8 against FP32 on 3,301 faces: seconds."""
    faces = without_copies_of(fer2013.split("PrivateTest"), fer2013.split("Training"))
    fp32, int8 = (engine_logits(open_engine(shipped, p, "cpu"), shipped) for p in ("fp32", "int8"))
    return answer_all(fp32, int8, faces.images[:, None], faces.labels, faces.label_names, shipped.card.temperature)


def test_the_shipped_int8_passes_by_the_default_budget(answers: Answers) -> None:
    judged = judge(answers, Budget())
    assert judged.verdict == "pass", judged.findings
    assert len(answers.labels) == 3301 and answers.right_reference.mean() >= 0.66


def test_a_sound_model_never_fails_in_200_resamplings(answers: Answers) -> None:
    random, count = np.random.default_rng(0), len(answers.labels)
    verdicts = set()
    for _ in range(200):
        some = random.integers(0, count, count)
        verdicts.add(judge(Answers(answers.reference[some], answers.engine[some], answers.labels[some],
                                   answers.label_names, answers.temperature), Budget()).verdict)
    assert "fail" not in verdicts


@pytest.mark.parametrize("graph", ["fp32", "fp16", "int8", "int8-gpu"])
def test_a_shipped_graph_agrees_with_pytorch_on_the_golden_faces(shipped: Model, graph: str) -> None:
    assert require_agreement(shipped, open_graph_on_cpu(shipped, graph), graph).faces == 30


def test_the_record_of_the_shipped_gate_is_of_the_shipped_file(shipped: Model) -> None:
    record = json.loads((ROOT / "docs/results/gate-mien-light-int8-cpu.json").read_text())
    assert record["sha256"] == shipped.card.graphs["int8"].sha256 and record["verdict"] == "pass"


def test_the_recorded_error_rates_and_cost_are_those_that_were_asked() -> None:
    rates, cost = (json.loads((ROOT / f"docs/results/gate-{name}.json").read_text()) for name in (
        "error-rates", "cost-cpu"))
    assert rates["comparisons"] >= 2000 and max(row["false_passes"] for row in rates["rows"]) <= 0.065
    assert cost["data"]["images"] == 7178 and max(cost["wall_ratio"], cost["processor_ratio"]) <= 1.3
