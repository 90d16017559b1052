"""What a record must show to verify a row, and that one forged or missing piece is enough to keep it from that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from calibration.integer_oracle.sample import DRAWS as ORACLES_DRAWS
from export.board.evidence import DRAWS, row_of, shortfalls, verified_by
from export.board.record import BoardRecord
from runtime.card import Model

Change = Callable[[BoardRecord], BoardRecord]


def first(record: BoardRecord, field: str, **changes: Any) -> BoardRecord:
    """Return a record whose first row of a field is another."""
    head, *others = getattr(record, field)
    return dataclasses.replace(record, **{field: (dataclasses.replace(head, **changes), *others)})


def with_facts(record: BoardRecord, **facts: str) -> BoardRecord:
    return dataclasses.replace(record, facts=record.facts | facts)


def without_part(record: BoardRecord, name: str, field: str) -> BoardRecord:
    parts = tuple(dataclasses.replace(p, status="failed", why="it broke") if p.name == name else p
                  for p in record.parts)
    return dataclasses.replace(record, parts=parts, **{field: getattr(record, field)})


def test_a_complete_record_verifies_its_jetpack(complete: BoardRecord, small_model: Model) -> None:
    assert shortfalls(complete, small_model.card) == ()
    row = row_of(complete)
    assert row is not None and row.platform == "JetPack 6.2, 6.2.1"


CHANGES: list[tuple[Change, str]] = [
    (lambda r: dataclasses.replace(r, target="cpu"), "CPU"),
    (lambda r: dataclasses.replace(r, commit=r.commit + "+"), "commit"),
    (lambda r: dataclasses.replace(r, commit="not a checkout"), "commit"),
    (lambda r: with_facts(r, l4t="99.1.0"), "no row"),
    (lambda r: with_facts(r, l4t="36.4.9"), "no row"),  # a release beside those that are named
    (lambda r: first(r, "builds", compiler="10.7.0"), "no row"),
    (lambda r: first(r, "builds", gpus=("sm89",)), "no row"),
    (lambda r: first(r, "builds", gpus=("sm87", "sm89")), "no row"),
    (lambda r: first(r, "builds", target="tensorrt-rtx"), "no row"),
    (lambda r: dataclasses.replace(r, target="tensorrt-rtx"), "no row"),
    (lambda r: dataclasses.replace(r, builds=r.builds[1:]), "fp32: no engine"),
    (lambda r: first(r, "builds", graph_sha256="0" * 64), "fp32: no engine"),
    (lambda r: dataclasses.replace(r, layers=r.layers[1:]), "fp32: no layers"),
    (lambda r: first(r, "layers", graph_sha256="0" * 64), "fp32: no layers"),
    (lambda r: first(r, "layers", not_as_asked=1), "not as asked"),
    (lambda r: first(r, "layers", as_asked=0, opaque=0), "no layer was told"),
    (lambda r: dataclasses.replace(r, numerics=r.numerics[1:]), "fp32: no golden"),
    (lambda r: first(r, "numerics", graph_sha256="0" * 64), "fp32: no golden"),
    (lambda r: first(r, "numerics", worst=1.0, bound=2.0), "from PyTorch"),  # its own bound counts for nothing
    (lambda r: first(r, "numerics", faces=0), "no golden face"),
    (lambda r: dataclasses.replace(r, bench=tuple(t for t in r.bench if t.precision != "int8")), "int8: not timed"),
    (lambda r: dataclasses.replace(r, gpu_tests=dataclasses.replace(r.gpu_tests, failed=1)), "1 GPU tests failed"),
    (lambda r: dataclasses.replace(r, gpu_tests=dataclasses.replace(r.gpu_tests, passed=0)), "0 passed"),
    (lambda r: dataclasses.replace(r, oracle=dataclasses.replace(r.oracle, draws=DRAWS - 1)), "legal backends"),
    (lambda r: dataclasses.replace(r, oracle=dataclasses.replace(r.oracle, from_exact=9.0)), "from the exact"),
    (lambda r: dataclasses.replace(r, oracle=dataclasses.replace(r.oracle, illegal=1)), "from the exact"),
    (lambda r: dataclasses.replace(r, oracle=dataclasses.replace(r.oracle, graph_sha256="0" * 64)), "another graph"),
    *((lambda r, n=name, f=field: without_part(r, n, f), f"{name}: failed") for name, field in (
        ("gpu tests", "gpu_tests"), ("builds", "builds"), ("inspector", "layers"), ("numerics", "numerics"),
        ("oracle", "oracle"), ("bench", "bench"))),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_one_piece_that_is_missing_or_forged_verifies_nothing(change: Change, words: str, complete: BoardRecord,
                                                              small_model: Model) -> None:
    lacking = shortfalls(change(complete), small_model.card)
    assert any(words in line for line in lacking), lacking
    assert verified_by({"r.json": change(complete)}, small_model.card) == {}


def test_compiling_ahead_of_time_is_asked_of_no_board(complete: BoardRecord, small_model: Model) -> None:
    assert shortfalls(dataclasses.replace(without_part(complete, "ahead of time", "ahead_of_time"), ahead_of_time=()),
                      small_model.card) == ()


def test_another_models_record_verifies_nothing(complete: BoardRecord, shipped: Model) -> None:
    assert any("of the graph that ships" in line for line in shortfalls(complete, shipped.card))


def test_the_newest_record_is_the_one_that_is_named(complete: BoardRecord, small_model: Model) -> None:
    older = dataclasses.replace(complete, made="2025-01-01")
    assert verified_by({"a.json": complete, "b.json": older}, small_model.card) == {"JetPack 6.2, 6.2.1": "a.json"}


def test_a_desktop_is_known_by_its_library(complete: BoardRecord, small_model: Model) -> None:
    facts = {name: fact for name, fact in complete.facts.items() if name != "l4t"}
    builds = tuple(dataclasses.replace(b, target="tensorrt-rtx", compiler="1.7.1.116", gpus=("sm120",))
                   for b in complete.builds)
    desktop = dataclasses.replace(complete, target="tensorrt-rtx", facts=facts, builds=builds)
    row = row_of(desktop)
    assert row is not None and row.platform.startswith("x86-64 desktop")
    assert shortfalls(desktop, small_model.card) == ()


def test_draws_are_the_oracles() -> None:
    assert DRAWS == ORACLES_DRAWS
