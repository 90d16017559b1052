"""A record as a stranger sends it: read whole, or refused in one line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.board.record import BoardRecord, read_record, record_name, save_record
from runtime.errors import BadInput


@pytest.fixture
def values(complete: BoardRecord) -> dict[str, Any]:
    """A record as JSON has it."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(complete)))
    return plain


def refuse(path: Path, content: str | bytes) -> str:
    """Read what is no record; returns its one line."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput) as caught:
        read_record(path)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 600 and line.startswith("expected")
    return line


def test_a_record_reads_back_as_it_was_written(complete: BoardRecord, tmp_path: Path) -> None:
    path = save_record(tmp_path, complete)
    assert read_record(path) == complete and [p.name for p in tmp_path.glob("*.json")] == [path.name]
    assert path.stat().st_size < 16 << 10


def test_a_record_is_named_by_its_board_release_target_and_compiler(complete: BoardRecord) -> None:
    assert record_name(complete) == "nvidia-jetson-orin-nano-developer-kit-l4t-36.4.3-tensorrt-10.3.0.30.json"
    cpu = dataclasses.replace(complete, target="cpu")
    assert "orin" not in record_name(cpu) and "-cpu-" in record_name(cpu)


CHANGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda v: v.update(verified=True), "verified"),
    (lambda v: v.pop("commit"), "commit"),
    (lambda v: v.update(schema=2), "schema"),
    (lambda v: v.update(schema=True), "schema"),
    (lambda v: v.update(target="tpu"), "target"),
    (lambda v: v.update(made="yesterday"), "a day"),
    (lambda v: v.update(made=20261122), "made"),
    (lambda v: v["facts"].update(hostname="kiosk"), "hostname"),
    (lambda v: v["facts"].update(processor="<script>alert(1)</script>"), "plain words"),
    (lambda v: v["facts"].update(gpu="a | b"), "plain words"),
    (lambda v: v["facts"].update(gpu="x" * 401), "400"),
    (lambda v: v["targets"].update(tpu=True), "tpu"),
    (lambda v: v["parts"].pop(), "parts"),
    (lambda v: v["parts"].reverse(), "parts"),
    (lambda v: v["parts"][0].update(status="fine"), "status"),
    (lambda v: v["parts"][0].update(why="but"), "gpu tests"),
    (lambda v: v["parts"][0].update(status="failed"), "says why not"),
    (lambda v: v["parts"][0].update(status="failed", why="in /home/anna/mien"), "without paths"),
    (lambda v: v["parts"][1].update(status="not possible here", why="no GPU"), "without"),
    (lambda v: v.update(builds=[]), "builds done"),
    (lambda v: v.update(oracle=None), "oracle done"),
    (lambda v: v.update(builds=v["builds"] * 30), "64"),
    (lambda v: v["builds"][0].update(graph_sha256="0"), "SHA-256"),
    (lambda v: v["builds"][0].update(compiler="[x](javascript:alert)"), "compiler"),
    (lambda v: v["builds"][0].update(engine_bytes=-1), "engine_bytes"),
    (lambda v: v["builds"][0].update(engine_bytes=1.5), "engine_bytes"),
    (lambda v: v["numerics"][0].update(worst="0"), "worst"),
    (lambda v: v["numerics"][0].update(worst=1e300), "worst"),
    (lambda v: v["numerics"][0].update(labels_kept=True), "labels_kept"),
    (lambda v: v["bench"][0].update(p50=None), "p50"),
    (lambda v: v["bench"][0].update(samples_ms=[1.0]), "samples_ms"),
    (lambda v: v.update({"\x1b[2J\n" + "k" * 5000: 1}), "known key"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_one_wrong_value_is_refused_by_name(change: Callable[[dict[str, Any]], object], words: str,
                                            values: dict[str, Any], tmp_path: Path) -> None:
    change(values)
    assert words in refuse(tmp_path / "r.json", json.dumps(values))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_what_is_no_finite_number_is_refused(number: str, values: dict[str, Any], tmp_path: Path) -> None:
    values["numerics"][0]["worst"] = "HERE"
    refuse(tmp_path / "r.json", json.dumps(values).replace('"HERE"', number))


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"schema": 1, "schema": 1}', '{"schema": [1]}', '"text"',
                                     b"\xff\xfe", "[" * 20_000, " " * 70_000])
def test_other_files_are_refused(content: str | bytes, tmp_path: Path) -> None:
    refuse(tmp_path / "r.json", content)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(BadInput, match="board record"):
            read_record(path)
