"""The inspector's JSON, read: both schemas, names only, and files that are something else. Samples, not a device's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspector_samples import LAYOUTS, Schema, engine, layer

from runtime.engines.inspector import EngineLayer, parse_layers
from runtime.errors import BadInput

both_schemas = pytest.mark.parametrize("schema", [10, 11])


@both_schemas
@pytest.mark.parametrize("type_", LAYOUTS)
def test_every_type_is_read_from_its_layout(schema: Schema, type_: str) -> None:
    (read,) = parse_layers(engine([layer("a", "Reformat", type_, type_, schema=schema)], schema), "f")
    assert read.reads == read.writes == (type_,)


@both_schemas
def test_a_layer_tells_its_kind_kernel_weights_and_nodes(schema: Schema) -> None:
    told = layer("c + r", "CaskConvolution", "int8", "half", ("conv[0]", "relu"), schema, TacticName="sm80_xmma",
                 ParameterType="Convolution", Weights={"Type": "Int8", "Count": 9})
    assert parse_layers(engine([told], schema), "f") == (EngineLayer(
        "c + r", "CaskConvolution", ("int8",), ("half",), "int8", "sm80_xmma", "Convolution", ("conv[0]", "relu")),)


@pytest.mark.parametrize(("words", "type_"), [
    ("Half", "half"), ("Float", "float"), ("BFloat16", "bf16"), ("Half(64,1:8,512)", "half"),
    ("Row major INT8 format where column stride % 64 == 0", "int8"),
    ("Row major linear Int64 format", "int64"), ("N/A due to dynamic shapes", ""), ("Unknown format", ""), ("", "")])
def test_types_are_found_among_the_inspectors_words(words: str, type_: str) -> None:
    told = layer("a", "kgen", "half", "half")
    told["Inputs"][0]["Format/Datatype"] = words
    assert parse_layers(engine([told]), "f")[0].reads == (type_,)


@pytest.mark.parametrize("key", ["DataType", "Datatype"])  # the documentation spells it both ways
def test_tensorrt_11s_own_field_for_the_type_is_read(key: str) -> None:
    told = layer("a", "kgen", "half", "half", schema=11)
    told["Inputs"] = [{"Name": "x", "Format": "Row major linear (kLINEAR)", key: "Int8"}]
    assert parse_layers(engine([told], 11), "f")[0].reads == ("int8",)


@pytest.mark.parametrize("joint", ["", " ", "\x1e", "\x1f"])
def test_nodes_are_read_however_the_version_joins_them(joint: str) -> None:
    told = layer("a", "kgen", "half", "half") | {"Metadata": joint.join(["[ONNX Layer: a/b]", "[ONNX Layer: c]"])}
    assert parse_layers(engine([told]), "f")[0].onnx_nodes == ("a/b", "c")


def test_names_without_details_are_layers_without_types() -> None:
    assert parse_layers(engine(["conv + relu"]), "f") == (EngineLayer("conv + relu", ""),)


def test_a_bare_list_of_layers_is_read() -> None:
    assert parse_layers(json.dumps([layer("a", "kgen", "half", "half")]), "f")[0].name == "a"


@pytest.mark.parametrize("text", ["", "{", "null", "3", "[]", '{"Layers": []}', '{"layers": [1]}', '{"Layers": [3]}',
                                  '{"Layers": {"a": 1}}', '{"Layers": [{"LayerType": "x"}]}', "[" * 100_000,
                                  '{"Layers": [{"Name": "a", "Inputs": [3]}]}',
                                  '{"Layers": [{"Name": "a", "Inputs": 3}]}'])
def test_another_file_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput, match=r"layers\.json, found") as caught:
        parse_layers(text, "layers.json")
    assert "\n" not in str(caught.value)


KEYS = st.sampled_from(["Layers", "Name", "Inputs", "Outputs", "Weights", "Metadata", "Type", "Format/Datatype"])
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(JSON)
def test_any_json_is_layers_or_bad_input(values: object) -> None:
    try:
        assert all(isinstance(found, EngineLayer) for found in parse_layers(json.dumps(values), "f"))
    except BadInput as error:
        assert "found" in str(error)
