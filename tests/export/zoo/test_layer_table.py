"""The page of an engine's layers: well-formed, alone, every layer and every doubt on it."""

from __future__ import annotations

import pytest
from html_reader import Page
from inspector_samples import engine, faithful_layers, layer

from calibration.onnx_graph import parse_model
from export.engine_from_onnx import judge_inspected
from export.zoo.layer_table import layer_page
from runtime.card import Model
from runtime.engines.inspector import EngineLayer
from runtime.engines.layer_verdicts import JudgedLayer

EVIL = "<script>alert(1)</script>&amp;'\""


@pytest.fixture(scope="module")
def judged(shipped: Model) -> tuple[JudgedLayer, ...]:
    layers = faithful_layers(parse_model(shipped.read_graph("fp16"), "fp16"), "fp16")
    layers[3] = layer("node_Conv_158", "CaskConvolution", "float", "half", ("node_Conv_158",))
    layers.append(layer("{ForeignNode[a...b]}", "Myelin", "half", "half"))
    return judge_inspected(shipped, "fp16", "tensorrt", engine(layers), "f")


def test_every_layer_is_on_the_page_with_its_verdict(judged: tuple[JudgedLayer, ...]) -> None:
    page = Page(layer_page("mien-light", judged, {"engine": "x.engine"}))
    assert all(one.layer.name in page.words for one in judged)
    assert page.words.count("as asked") == sum(one.verdict == "as asked" for one in judged) + 1  # and in the legend
    assert "x.engine" in page.words and page.addresses == []


def test_what_is_not_proven_comes_first_with_why(judged: tuple[JudgedLayer, ...]) -> None:
    words = Page(layer_page("mien-light", judged, {})).words
    order = ["Not proven", "node_Conv_158", "{ForeignNode[a...b]}", "Every layer"]
    assert sorted(order, key=words.index) == order
    assert {one.why for one in judged if one.why} <= set(words)


def test_an_engine_without_doubt_has_no_such_heading(judged: tuple[JudgedLayer, ...]) -> None:
    sound = [one for one in judged if one.verdict == "as asked"]
    assert "Not proven" not in layer_page("mien-light", sound, {})


def test_names_from_a_hostile_file_are_text() -> None:
    hostile = JudgedLayer(EngineLayer(EVIL, EVIL, ("half",), ("",), "", EVIL), "opaque", EVIL, (EVIL,))
    page = Page(layer_page(EVIL, [hostile], {EVIL: EVIL}))
    assert "script" not in page.tags and EVIL in page.words and "?" in page.words
