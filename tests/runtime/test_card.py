"""A model directory: every byte is bound by the card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper
from tiny_model import LABELS, TinyNetwork, write_tiny_card, write_tiny_model

from runtime.card import card_hash, load_model, save_card
from runtime.engines import open_engine
from runtime.errors import BadInput, BadModel


def edit_card(directory: Path, **changes: object) -> None:
    values = json.loads((directory / "card.json").read_text())
    values |= changes
    (directory / "card.json").write_text(json.dumps(values | {"card_sha256": card_hash(values)}))


def test_a_sound_model_loads(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    assert model.card.labels == LABELS
    assert model.read_graph("fp32") == (tiny_model / "fp32.onnx").read_bytes()
    assert model.read_golden().logits.shape == (4, 7)


def test_a_card_survives_being_written_and_read(tiny_model: Path) -> None:
    card = load_model(tiny_model).card
    save_card(tiny_model, card)
    assert load_model(tiny_model).card == card


@pytest.mark.parametrize("file", ["fp32.onnx", "golden.npz"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_is_refused_by_file_name(tiny_model: Path, file: str, place: float) -> None:
    content = bytearray((tiny_model / file).read_bytes())
    content[int(place * len(content))] ^= 1
    (tiny_model / file).write_bytes(content)
    model = load_model(tiny_model)
    with pytest.raises(BadModel, match=file):
        model.read_graph("fp32") if file.endswith("onnx") else model.read_golden()


def test_a_truncated_graph_is_refused(tiny_model: Path) -> None:
    content = (tiny_model / "fp32.onnx").read_bytes()
    (tiny_model / "fp32.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadModel, match=r"fp32\.onnx"):
        load_model(tiny_model).read_graph("fp32")


def test_a_missing_graph_file_is_named(tiny_model: Path) -> None:
    (tiny_model / "fp32.onnx").unlink()
    with pytest.raises(BadModel, match=r"fp32\.onnx.*No such file"):
        load_model(tiny_model).read_graph("fp32")


def test_nan_weights_are_refused_though_the_hash_fits(tiny_model: Path) -> None:
    network = TinyNetwork.random()
    network.weights[3, 3] = np.nan
    (tiny_model / "fp32.onnx").write_bytes(network.graph().SerializeToString())
    write_tiny_card(tiny_model)
    with pytest.raises(BadModel, match="finite weights"):
        load_model(tiny_model).read_graph("fp32")


def test_external_data_is_refused_though_the_hash_fits(tiny_model: Path) -> None:
    graph = TinyNetwork.random().graph()
    from onnx.external_data_helper import set_external_data

    outside = numpy_helper.from_array(np.ones(2, np.float32), "outside")
    set_external_data(outside, "weights.bin")
    graph.graph.initializer.append(outside)
    (tiny_model / "fp32.onnx").write_bytes(graph.SerializeToString())
    write_tiny_card(tiny_model)
    with pytest.raises(BadModel, match="external data"):
        load_model(tiny_model).read_graph("fp32")


def test_a_label_too_many_is_refused_by_the_golden_vectors(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "m", labels=(*LABELS, "contempt"))
    with pytest.raises(BadModel, match="label count"):
        load_model(directory).read_golden()


def test_a_label_too_many_is_refused_by_the_engine(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "m", labels=(*LABELS, "contempt"))
    with pytest.raises(BadModel, match="label count"):
        open_engine(load_model(directory), "fp32", "cpu")


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_an_unknown_schema_version_is_refused(tiny_model: Path, schema: object) -> None:
    edit_card(tiny_model, schema=schema)
    with pytest.raises(BadModel, match="schema 1"):
        load_model(tiny_model)


def test_an_unknown_key_is_refused(tiny_model: Path) -> None:
    edit_card(tiny_model, temperatur=2.0)
    with pytest.raises(BadModel, match="did you mean temperature"):
        load_model(tiny_model)


@pytest.mark.parametrize("changes", [{"labels": ["a", "a"]}, {"labels": []}, {"temperature": 0}, {"temperature": -1.0},
                                     {"labels": "angry"}, {"graphs": {"fp64": {"file": "a", "sha256": "", "bytes": 1}}},
                                     {"input": {"height": 0, "width": 48}}, {"task": "music"}, {"schema": True}])
def test_a_card_that_says_nonsense_is_refused(tiny_model: Path, changes: dict[str, object]) -> None:
    edit_card(tiny_model, **changes)
    with pytest.raises(BadModel):
        load_model(tiny_model)


def test_a_path_out_of_the_directory_is_refused(tiny_model: Path) -> None:
    edit_card(tiny_model, graphs={"fp32": {"file": "../fp32.onnx", "sha256": "0", "bytes": 1}})
    with pytest.raises(BadModel, match="plain file name"):
        load_model(tiny_model).read_graph("fp32")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "null", '{"schema": NaN}'])
def test_a_card_that_is_no_card_is_refused(tiny_model: Path, text: str) -> None:
    (tiny_model / "card.json").write_text(text)
    with pytest.raises(BadModel):
        load_model(tiny_model)


def test_a_graph_the_model_lacks_names_the_verb_that_makes_it(tiny_model: Path) -> None:
    with pytest.raises(BadModel, match="mien calibrate"):
        load_model(tiny_model).read_graph("int8")


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"card\.json"):
        load_model(tmp_path)


def test_golden_vectors_never_unpickle(tiny_model: Path) -> None:
    np.savez(tiny_model / "golden.npz", faces=np.array([{}], object), logits=np.zeros((1, 7), np.float32))
    write_tiny_card(tiny_model)
    with pytest.raises(BadModel, match="faces and logits"):
        load_model(tiny_model).read_golden()


@pytest.mark.parametrize("content", [b"PK\x03\x04 and no more", b""])
def test_golden_vectors_that_are_no_zip_are_refused(tiny_model: Path, content: bytes) -> None:
    (tiny_model / "golden.npz").write_bytes(content)
    write_tiny_card(tiny_model)
    with pytest.raises(BadModel, match="faces and logits"):
        load_model(tiny_model).read_golden()


def test_one_changed_character_in_the_card_is_refused(tiny_model: Path) -> None:
    file = tiny_model / "card.json"
    text = file.read_text()
    label = LABELS[0]
    file.write_text(text.replace(f'"{label}"', f'"{label[::-1]}"', 1))
    with pytest.raises(BadModel, match="card whose hash"):
        load_model(tiny_model)
