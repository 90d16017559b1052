"""`mien lint` on files of any content, and as a person meets it: lines, exit codes, --json, docs/lint.md's table."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from broken_graphs import CASES, GOOD, graph, int8
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.lint import RULES, TARGETS, lint
from calibration.lint.read import read_onnx
from calibration.lint.report import as_markdown, as_text
from mien import main, make_parser
from runtime.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]


def ids(model: onnx.ModelProto) -> set[str]:
    return {finding.rule.id for finding in lint(model)}


# hostile files

@pytest.mark.parametrize(("content", "word"), [
    (b"", "found neither"), (b"\x00\x01garbage", "truncated"), (b"hello, world\n" * 50, "truncated"),
    (onnx.ModelProto(ir_version=10).SerializeToString(), "found neither"),
    (GOOD.SerializeToString()[:-200], "truncated")])
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(BadInput, match=word) as caught:
        read_onnx(tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a folder"):
        read_onnx(tmp_path)
    with pytest.raises(BadInput, match="nothing"):
        read_onnx(tmp_path / "absent.onnx")


def test_a_file_of_more_than_2_gib_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "x.onnx", "wb") as file:
        file.truncate(2**31)  # a hole: no disk is used
    with pytest.raises(BadInput, match=r"2\.0 GiB"):
        read_onnx(tmp_path / "x.onnx")


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(CASES)), seed=st.integers(0, 2**32 - 1))
def test_a_damaged_file_is_refused_or_judged(tmp_path_factory: pytest.TempPathFactory, name: str, seed: int) -> None:
    content = bytearray(CASES[name].broken.SerializeToString())
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(min(len(content), 600))] = chance.randrange(256)  # names and types lie in front
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content)
    try:
        lines = as_text(lint(read_onnx(path)))
    except BadInput as error:
        lines = [str(error)]
    assert all("\n" not in line for line in lines)


def test_a_claimed_shape_makes_no_room_for_itself() -> None:
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[2**40])
    assert "weights-damaged" in ids(graph("y = Add(x, w)", {"w": tensor}))


def test_a_node_without_its_inputs_is_invalid_and_no_crash() -> None:
    for kind in ("QuantizeLinear", "DequantizeLinear", "Conv", "Relu", "Cast", "Add", "BatchNormalization"):
        model = int8()
        model.graph.node.append(onnx.NodeProto(op_type=kind, output=["o"]))
        assert "invalid" in ids(model)


def test_tensors_that_chase_each_other_do_not_hang() -> None:
    model = graph("a = Flatten(b)\nb = Flatten(a)\nd = DequantizeLinear(b, s, z)\ny = Add(x, d)",
                  {"s": np.array(0.05, np.float32), "z": np.array(0, np.int8)})
    assert "invalid" in ids(model)


def test_control_codes_in_a_name_do_not_reach_the_terminal() -> None:
    model = graph("y = Det(x)", writes="float[batch,32] y")
    model.graph.node[0].name = "\x1b[2Jevil\nname"
    text = "\n".join(as_text(lint(model)))
    assert "\x1b" not in text and "?[2Jevil?name" in text


# the command

def test_the_exit_code_is_1_for_errors_0_without_and_2_for_no_model(tmp_path: Path, capsys) -> None:
    for name, model in (("bad", CASES["zero-point"].broken), ("warned", CASES["fusion-relu"].broken), ("good", GOOD)):
        onnx.save(model, tmp_path / f"{name}.onnx")
    (tmp_path / "none.onnx").write_bytes(b"none")
    assert [main(["lint", str(tmp_path / f"{n}.onnx")]) for n in ("bad", "warned", "good", "none")] == [1, 0, 0, 2]
    assert capsys.readouterr().err.splitlines()[-1].startswith("mien: expected an ONNX file, found")


def test_json_is_one_object_that_counts(tmp_path: Path, capsys) -> None:
    onnx.save(CASES["zero-point"].broken, tmp_path / "x.onnx")
    main(["lint", str(tmp_path / "x.onnx"), "--json", "--target", "jetson-orin"])
    said = json.loads(capsys.readouterr().out)
    assert said["target"] == "jetson-orin" and said["counts"]["error"] == len(said["findings"]) == 2
    assert {"rule", "severity", "node", "found", "fix", "source", "confirmed"} == set(said["findings"][0])


def test_text_has_a_line_a_place_below_its_rule(tmp_path: Path, capsys) -> None:
    onnx.save(CASES["zero-point"].broken, tmp_path / "x.onnx")
    main(["lint", str(tmp_path / "x.onnx")])
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and lines[0].startswith("error  zero-point: ")
    assert lines[1] == "    QuantizeLinear_0: zero-point 3: asymmetric quantization"
    assert lines[-1] == "2 errors, 0 warnings, 0 notes"


def test_a_rule_that_is_broken_everywhere_is_not_listed_everywhere() -> None:
    names = [f"a{i}" for i in range(30)]
    model = graph("\n".join(f"{n} = Det(x)" for n in names) + "\ny = Relu(x)")
    text = as_text(lint(model))
    assert len(text) < 15 and any("… and 22 more" in line for line in text)


def test_lint_without_a_graph_says_what_to_give(capsys) -> None:
    assert main(["lint"]) == 2 and "mien lint graph.onnx" in capsys.readouterr().err


def test_the_command_offers_every_target() -> None:
    for target in TARGETS:
        assert make_parser().parse_args(["lint", "x.onnx", "--target", target]).target == target


def test_the_documents_table_is_the_one_the_code_prints(capsys) -> None:
    assert main(["lint", "--rules"]) == 0
    table = capsys.readouterr().out
    assert table == as_markdown(RULES) and table in (ROOT / "docs/lint.md").read_text(encoding="utf-8")
