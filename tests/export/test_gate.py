"""The gate: what passes, what fails, and that a damaged graph never passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.gate.check import Budget, Verdict, check, judge
from export.gate.record import describe_check, save_figures
from export.model_from_checkpoint import generated_faces
from runtime.agreement import Comparison
from runtime.card import Model
from runtime.engines import open_engine, open_graph_on_cpu
from runtime.engines.face_batches import engine_logits, run_all
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError
from runtime.golden import require_agreement
from train.datasets.labelled_faces import LabelledFaces

SOUND = Comparison(images=100, accuracy_reference=0.7, accuracy_engine=0.699, agreement=0.99, mean_kl=0.001,
                   worst_kl=0.1, worst_delta=0.1, recall_change={"happy": 0.0}, non_finite=0)


def test_a_sound_comparison_breaks_no_budget() -> None:
    assert judge(SOUND, Budget()) == ()


@pytest.mark.parametrize(("change", "words"), [
    ({"accuracy_engine": 0.689}, "accuracy falls by 1.10 points, 1.00 are allowed"),
    ({"agreement": 0.949}, "94.90% of labels agree, 95.00% are asked for"),
    ({"mean_kl": 0.06}, "mean KL is 0.0600 nats, 0.0500 are allowed"),
    ({"non_finite": 1}, "1 images have outputs that are not finite"),
    ({"mean_kl": float("nan")}, "mean KL is nan"),
    ({"accuracy_engine": float("nan")}, "accuracy falls by nan points")])
def test_every_broken_budget_is_named(change: dict[str, float], words: str) -> None:
    broken = judge(replace(SOUND, **change), Budget())
    assert len(broken) == 1 and words in broken[0]


def test_an_engine_better_than_its_reference_breaks_nothing() -> None:
    assert judge(replace(SOUND, accuracy_engine=0.9), Budget()) == ()


FACES = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
LABELS = np.arange(20) % 4
NAMES = ("a", "b", "c", "d")


def certain(faces: np.ndarray) -> np.ndarray:
    """Answer every face's label with certainty."""
    return np.float32(9) * np.eye(4, dtype=np.float32)[faces[:, 0, 0, 0] % 4]


def test_an_engine_that_equals_its_reference_passes() -> None:
    verdict = check(certain, certain, FACES, LABELS, NAMES, Budget())
    assert verdict.passed and verdict.comparison.agreement == 1 and verdict.comparison.worst_delta == 0


def test_answers_that_are_not_finite_are_counted_and_fail() -> None:
    def broken(faces: np.ndarray) -> np.ndarray:
        logits = certain(faces)
        logits[faces[:, 0, 0, 0] == 7] = np.nan
        logits[faces[:, 0, 0, 0] == 8, 1] = np.inf
        return logits

    verdict = check(certain, broken, FACES, LABELS, NAMES, Budget(accuracy_drop=100, agreement=0))
    assert not verdict.passed and verdict.comparison.non_finite == 2
    assert verdict.comparison.accuracy_engine == 18 / 20  # a NaN is never right
    assert verdict.broken == ("2 images have outputs that are not finite",)


def test_a_reference_that_is_not_finite_judges_nothing() -> None:
    with pytest.raises(MienError, match="finite logits from the reference"):
        check(lambda faces: certain(faces) * np.nan, certain, FACES, LABELS, NAMES, Budget())


def test_no_faces_are_refused() -> None:
    with pytest.raises(BadInput, match="--split"):
        check(certain, certain, FACES[:0], LABELS[:0], NAMES, Budget())


def test_a_verdict_is_plain_json() -> None:
    verdict = check(certain, certain, FACES, LABELS, NAMES, Budget())
    assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False))["passed"] is True


def test_the_record_names_graph_data_budget_and_machine(shipped: Model, tmp_path: Path) -> None:
    agreement = require_agreement(shipped, open_engine(shipped, "int8", "cpu"), "int8")
    verdict = Verdict(SOUND, judge(SOUND, Budget()))
    record = describe_check(shipped, "int8", {"name": "fp32.onnx"}, "d" * 64, ["PrivateTest"], agreement, Budget(),
                            verdict)
    save_figures(tmp_path / "record.json", record)
    saved = json.loads((tmp_path / "record.json").read_text())
    assert saved["sha256"] == shipped.card.graphs["int8"].sha256 and saved["data"]["sha256"] == "d" * 64
    assert {"processor", "python", "onnxruntime", "commit"} <= set(saved["made_on"])
    assert record["lines"][-1] == "PASSED" and "lines" not in saved


# the model that ships

def scaled_weight(content: bytes, which: int, by: float) -> bytes:
    """Return a graph with one convolution's weights scaled: a damaged export."""
    model = onnx.load_model_from_string(content)
    name = [n.input[1] for n in model.graph.node if n.op_type == "Conv"][which]
    weight = next(w for w in model.graph.initializer if w.name == name)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(by), name))
    return model.SerializeToString()


@pytest.mark.parametrize(("which", "by"), [(0, 0.5), (4, 1.5), (9, 2.0), (5, -1.0)])
def test_a_graph_with_one_damaged_weight_fails(shipped: Model, which: int, by: float) -> None:
    faces = generated_faces(shipped.card.input, 128)
    reference = engine_logits(open_engine(shipped, "fp32", "cpu"), shipped)
    labels = run_all(reference, faces, "labels").argmax(1)
    damaged = OnnxRuntimeEngine(scaled_weight(shipped.read_graph("fp32"), which, by), "damaged", "fp32")
    verdict = check(reference, engine_logits(damaged, shipped), faces, labels, shipped.card.labels, Budget())
    assert not verdict.passed, verdict.comparison


def test_the_shipped_fp16_passes_on_the_same_faces(shipped: Model) -> None:
    faces = generated_faces(shipped.card.input, 128)
    reference = engine_logits(open_engine(shipped, "fp32", "cpu"), shipped)
    labels = run_all(reference, faces, "labels").argmax(1)
    fp16 = engine_logits(open_engine(shipped, "fp16", "cpu"), shipped)
    assert check(reference, fp16, faces, labels, shipped.card.labels, Budget()).passed


@pytest.mark.parametrize("graph", ["fp32", "fp16", "int8", "int8-gpu"])
def test_a_shipped_graph_agrees_with_pytorch_on_the_golden_faces(shipped: Model, graph: str) -> None:
    assert require_agreement(shipped, open_graph_on_cpu(shipped, graph), graph).faces == 30


@pytest.fixture(scope="module")
def private_test(fer2013: LabelledFaces) -> LabelledFaces:
    return fer2013.split("PrivateTest")


@pytest.fixture(scope="module")
def full_verdict(shipped: Model, private_test: LabelledFaces) -> Verdict:
    """int8 against fp32 on all of PrivateTest."""
    fp32, int8 = (engine_logits(open_engine(shipped, p, "cpu"), shipped) for p in ("fp32", "int8"))
    return check(fp32, int8, private_test.images[:, None], private_test.labels, private_test.label_names, Budget())


def test_the_shipped_model_is_right_on_66_percent_of_private_test(full_verdict: Verdict) -> None:
    assert full_verdict.comparison.images == 3589
    assert full_verdict.comparison.accuracy_reference >= 0.66


def test_the_shipped_int8_stays_within_a_point_of_fp32(full_verdict: Verdict) -> None:
    assert full_verdict.passed, full_verdict.broken
    assert abs(full_verdict.comparison.accuracy_drop) <= 1.0


def test_the_shipped_gpu_form_stays_within_the_budget(shipped: Model, private_test: LabelledFaces) -> None:
    faces, labels = private_test.images[:256, None], private_test.labels[:256]
    fp32 = engine_logits(open_engine(shipped, "fp32", "cpu"), shipped)
    gpu = engine_logits(open_graph_on_cpu(shipped, "int8-gpu"), shipped)
    verdict = check(fp32, gpu, faces, labels, private_test.label_names, Budget())
    assert verdict.passed, verdict.broken
