"""Quantizers side by side on a tiny graph: what is measured, what is skipped, what a failure looks like."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_graphs import random_faces, vgg_graph

from export.int8 import compare_quantizers as comparing
from export.int8.compare_quantizers import Peer, compare_quantizers, main, peers

FP32 = vgg_graph().SerializeToString()
LABELS = np.arange(16) % 5
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')


def compare(*chosen: Peer) -> dict[str, dict]:
    found = compare_quantizers(FP32, random_faces(32), random_faces(16, seed=7), LABELS, chosen)
    return {peer["name"]: peer for peer in found}


def python(program: str) -> Peer:
    """A quantizer that is a line of Python."""
    return Peer("other", "a test's own", (sys.executable, "-c", program, "{graph}", "{faces}", "{out}"))


@pytest.fixture(scope="module")
def found() -> dict[str, dict]:
    """Every peer that needs no other environment, once."""
    return compare(*peers(None))


def test_every_peer_is_in_the_record_and_the_float_graph_leads(found: dict) -> None:
    assert list(found) == ["fp32", "mien", "onnxruntime", "onnxruntime-symmetric", "modelopt"]


@pytest.mark.parametrize("name", ["mien", "onnxruntime", "onnxruntime-symmetric"])
def test_a_peer_is_measured(found: dict, name: str) -> None:
    peer = found[name]
    assert peer["seconds"] > 0 and peer["processor_seconds"] > 0
    assert 0 <= peer["accuracy"] <= 1 and peer["agreement"] >= 0.75 and peer["int8_layers"] == 4


@needs_rtx
def test_the_compilers_verdict_is_recorded_and_the_lint_agrees(found: dict) -> None:
    measured = ("mien", "onnxruntime", "onnxruntime-symmetric")
    assert [found[name]["tensorrt_rtx"].split()[0] for name in measured] == ["compiles", "rejected:", "compiles"]
    assert [bool(found[name]["lint_errors"]) for name in measured] == [False, True, False]


def test_a_peer_that_is_not_installed_is_skipped_and_says_so(found: dict) -> None:
    assert found["modelopt"] == {"name": "modelopt", "settings": found["modelopt"]["settings"],
                                 "skipped": "no --modelopt-python: an interpreter with nvidia-modelopt[onnx]"}


@pytest.mark.parametrize(("interpreter", "why"), [("/nowhere/python", "does not run"),
                                                  (sys.executable, "cannot import modelopt: ModuleNotFoundError")])
def test_an_interpreter_without_modelopt_says_why(interpreter: str, why: str) -> None:
    if importlib.util.find_spec("modelopt"):
        pytest.skip("modelopt is installed here")
    assert why in next(p for p in peers(Path(interpreter)) if p.name == "modelopt").missing


def test_a_quantizer_that_fails_is_recorded_with_its_last_words() -> None:
    peer = compare(python("print('all well'); raise SystemExit('no memory left')"))["other"]
    assert peer["failed"] == "exit code 1: no memory left" and "accuracy" not in peer


def test_a_graph_that_cannot_be_read_fails_its_peer_alone() -> None:
    found = compare(python("import sys; open(sys.argv[3], 'wb').write(b'no graph')"),
                    replace(python("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[3])"), name="next"))
    assert found["other"]["failed"].startswith("its graph: expected") and "accuracy" not in found["other"]
    assert found["next"]["agreement"] == 1.0


def test_a_quantizer_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "LONGEST", 0.2)
    assert compare(python("import time; time.sleep(60)"))["other"]["failed"] == "stopped after 0.2 s"


def test_a_graph_that_is_not_quantized_at_all_agrees_with_itself() -> None:
    peer = compare(python("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[3])"))["other"]
    assert (peer["agreement"], peer["int8_layers"]) == (1.0, 0)


def test_memory_is_the_quantizers_own() -> None:
    small, large = (compare(replace(python(f"x = b'x' * {size}"), name="other"))["other"]["peak_bytes"]
                    for size in (1, 200_000_000))
    assert 180e6 < large - small < 220e6


def test_without_data_it_is_a_usage_error(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2 and "--data is needed" in capsys.readouterr().err


def test_a_data_path_that_is_not_there_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["--data", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.startswith("mien: expected")
